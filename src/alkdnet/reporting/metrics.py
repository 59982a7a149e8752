"""The files that DVC shows: metrics.json (`dvc metrics`, `dvc exp show`) and curves.csv (`dvc plots`)."""

from pathlib import Path

import pandas as pd

from alkdnet.files import atomic_path, write_json
from alkdnet.results.tree import Results


def write_metrics(path: Path, results: Results) -> None:
    """Write {run: {parameters, multi_adds, <set>: {psnr, ssim}}}, leaving out what is not there.

    PSNR is rounded to 4 and SSIM to 6 decimals, finer than anything printed, so that `dvc metrics diff`
    shows no difference of the last bit between machines.
    """
    content: dict[str, dict[str, object]] = {}
    for run in results.runs.values():
        figures: dict[str, object] = {}
        if run.cost is not None:
            figures |= {"parameters": run.cost.parameters, "multi_adds": run.cost.multi_adds}
        for name, score in run.scores.items():
            figures[name] = {"psnr": round(score.psnr, 4), "ssim": round(score.ssim, 6)}
        content[run.name] = figures
    write_json(path, content)


def curves_frame(results: Results) -> pd.DataFrame:
    """Return all histories: columns run, iteration, loss, learning_rate, psnr (dB, NaN where not taken)."""
    parts = [
        run.history.rename(columns={"validation_psnr": "psnr"}).assign(run=run.name)
        for run in results.runs.values()
        if run.history is not None
    ]
    columns = ["run", "iteration", "loss", "learning_rate", "psnr"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def write_curves(path: Path, results: Results) -> None:
    """Write `curves_frame` as CSV."""
    with atomic_path(path) as temporary:
        curves_frame(results).to_csv(temporary, index=False, lineterminator="\n")
