"""Write reports/audit.md, the audit of the paper's numbers."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "reports"
sys.path.insert(0, str(ROOT / "src"))

from alkdnet.analysis.statistics import Comparison
from alkdnet.config.loading import load_pipeline
from alkdnet.config.paths import Paths
from alkdnet.paper.audit import write_audit
from alkdnet.reporting.comparisons import compare
from alkdnet.reporting.study import Study


def against_lkdn(root: Path) -> Iterator[tuple[int, Comparison]]:
    """Yield by scale the comparisons of ALKDNet with LKDN that the pipeline `field` has measured."""
    study = Study.read(load_pipeline("field", root), Paths("field", root))
    for scale in (2, 4):
        pairs = study.of([f"alkdnet_x{scale}", f"lkdn_x{scale}"])
        for each in compare(study, [(pairs[0], pairs[1])]):
            yield scale, replace(each, set=study.set_label(each.set))


if __name__ == "__main__":
    table4 = REPORTS / "released" / "tables" / "table4.csv"
    write_audit(REPORTS / "audit.md", table4, list(against_lkdn(ROOT)))
