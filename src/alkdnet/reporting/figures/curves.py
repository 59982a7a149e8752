"""Figure 6: validation PSNR against the iteration for the cumulative variants."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from alkdnet.reporting.figures.style import INK, MUTED, colour_of, new_figure
from alkdnet.results.tree import RunResults


def validation_curve(run: RunResults) -> pd.DataFrame:
    """Return the iterations at which a run was validated: columns iteration, validation_psnr (dB)."""
    columns = ["iteration", "validation_psnr"]
    return pd.DataFrame(columns=columns) if run.history is None else run.history[columns].dropna()


def drawable(runs: Sequence[RunResults]) -> list[RunResults]:
    """Return the runs that were validated at least twice."""
    return [run for run in runs if len(validation_curve(run)) >= 2]


def curves_figure(runs: Sequence[RunResults], *, validation_set: str) -> Figure:
    """Draw the curves of `drawable` runs, and beside them their distance to the first one."""
    figure = new_figure(9.6, 3.9)
    whole, differences = figure.subplots(1, 2, width_ratios=(1, 1))
    reference = validation_curve(runs[0])
    for index, run in enumerate(runs):
        curve = validation_curve(run)
        colour = INK if index == 0 else colour_of(index - 1)
        whole.plot(curve["iteration"], curve["validation_psnr"], color=colour, label=run.label)
        both = curve.merge(reference, on="iteration", suffixes=("", "_of_reference"))
        if index and len(both):
            distance = both["validation_psnr"] - both["validation_psnr_of_reference"]
            differences.plot(both["iteration"], distance, color=colour)
    # The first steps climb by many dB, and would press everything else to the top.
    settled = np.concatenate([_settled(validation_curve(run)) for run in runs])
    span = float(np.ptp(settled)) or 1.0
    whole.set_ylim(settled.min() - 0.15 * span, settled.max() + 0.1 * span)
    whole.set_title("Validation PSNR")
    whole.set_ylabel(f"PSNR on {validation_set}, dB")
    differences.axhline(0, color=INK)
    differences.set_title(f"Distance to {runs[0].label}")
    differences.set_ylabel("dB at the same iteration")
    for axes in (whole, differences):
        axes.set_xlabel("iteration", color=MUTED)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.margins(x=0.02)
    figure.legend(*whole.get_legend_handles_labels(), loc="outside lower center", ncols=len(runs))
    return figure


def _settled(curve: pd.DataFrame) -> NDArray[np.float64]:
    """Return the PSNRs after the first tenth of the training."""
    late = curve["iteration"] >= 0.1 * curve["iteration"].max()
    return np.asarray(curve["validation_psnr"][late], dtype=np.float64)
