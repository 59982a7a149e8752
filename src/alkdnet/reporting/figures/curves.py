"""Figure 6: validation PSNR against the iteration for the cumulative variants."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from alkdnet import markdown
from alkdnet.reporting.figures.style import INK, MUTED, FigurePlan, colour_of, new_figure
from alkdnet.reporting.study import Study, StudyRow


def curves_plan(study: Study) -> FigurePlan | None:
    """Return the figure; None if fewer than two of the rows in `report.curves` were validated twice."""
    rows = [row for row in study.of(study.params.report.curves) if len(validation_curve(row)) >= 2]
    if len(rows) < 2:
        return None
    sets = " and ".join(study.set_label(name) for name in study.params.history.validation_sets)
    return FigurePlan(
        name="curves",
        title="Validation during the training (Figure 6)",
        caption=f"Left: mean PSNR on {markdown.escape(sets)}; the first steps run out of the panel. Right: "
        f"the same minus that of {markdown.escape(rows[0].label)} at the same iteration.",
        draw=lambda: curves_figure(rows, validation_sets=sets),
    )


def validation_curve(row: StudyRow) -> pd.Series:
    """Return the validation PSNR (dB) by iteration."""
    points = {
        each.iteration: each.validation_psnr for each in row.history if each.validation_psnr is not None
    }
    return pd.Series(points, dtype=float)


def curves_figure(rows: Sequence[StudyRow], *, validation_sets: str) -> Figure:
    """Draw the curves, and beside them their distance to the first one."""
    figure = new_figure(9.6, 3.9)
    whole, differences = figure.subplots(1, 2)
    curves = [validation_curve(row) for row in rows]
    lines: list[Line2D] = []
    for index, curve in enumerate(curves):
        colour = INK if index == 0 else colour_of(index - 1)
        lines += whole.plot(curve.index, curve, color=colour)
        if index:
            distance = (curve - curves[0]).dropna()
            differences.plot(distance.index, distance, color=colour)
    # The first steps climb by many dB, and would press everything else to the top.
    settled = np.concatenate([curve[curve.index >= 0.1 * curve.index.max()] for curve in curves])
    span = float(np.ptp(settled)) or 1.0
    whole.set_ylim(settled.min() - 0.15 * span, settled.max() + 0.1 * span)
    whole.set_title("Validation PSNR")
    whole.set_ylabel(f"PSNR on {validation_sets}, dB")
    differences.axhline(0, color=INK)
    differences.set_title(f"Distance to {rows[0].short_label}")
    differences.set_ylabel("dB at the same iteration")
    for axes in (whole, differences):
        axes.set_xlabel("iteration", color=MUTED)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.margins(x=0.02)
    # One that begins with _ would be left out if it were the label of the line.
    figure.legend(
        lines, [row.short_label for row in rows], loc="outside lower center", ncols=min(len(rows), 4)
    )
    return figure
