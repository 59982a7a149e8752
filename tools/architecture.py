"""Draw Figures 1 to 4 of the paper from the modules, as SVG in docs/images/."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from alkdnet.diagrams.figures import diagrams

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images", help="where to write")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for diagram in diagrams():
        (folder / f"{diagram.name}.svg").write_text(diagram.draw(), encoding="utf-8")
