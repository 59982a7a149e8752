"""The file that `dvc plots` shows: curves.csv."""

from pathlib import Path

import pandas as pd

from alkdnet.files import atomic_path
from alkdnet.reporting.study import Study

CURVES = ["run", "iteration", "loss", "learning_rate", "psnr"]


def write_curves(path: Path, study: Study) -> None:
    """Write all histories: columns CURVES, psnr in dB and empty where it was not taken."""
    with atomic_path(path) as temporary:
        curves_frame(study).to_csv(temporary, index=False, lineterminator="\n")


def curves_frame(study: Study) -> pd.DataFrame:
    """Return the histories as `write_curves` writes them."""
    parts = [pd.DataFrame(row.history).assign(run=row.name) for row in study.trained if row.history]
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CURVES)
    return frame.rename(columns={"validation_psnr": "psnr"})[CURVES]
