"""The gain of ALKDNet over BSRN by image."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from alkdnet import markdown
from alkdnet.paper.published import OURS
from alkdnet.reporting.figures.style import ACCENT, COLOURS, INK, FigurePlan, new_figure
from alkdnet.reporting.study import Study, StudyRow

BASELINE = "BSRN"
# Height of the panels, and the diameters of dots from which the first is taken whose swarms fit into the
# width, in points.
_HEIGHT, _WIDTH, _DIAMETERS = 225.0, 700.0, (5.0, 4.0, 3.0, 2.0)
_LEAST_WIDTH = 72.0
# A set with fewer images has a single dot, or none.
LEAST_IMAGES = 2


def gains_plan(study: Study, scale: int) -> FigurePlan | None:
    """Return the figure of one scale; None if the two have no test set with two images in common."""
    methods = dict(study.methods(scale))
    if OURS not in methods or BASELINE not in methods:
        return None
    gains = gains_by_set(methods[OURS], methods[BASELINE])
    if not gains:
        return None
    labels = {name: study.set_label(name) for name in gains}
    behind = "; ".join(
        f"{labels[name]} {int((gain < 0).sum())} of {len(gain)}" for name, gain in gains.items()
    )
    return FigurePlan(
        name=f"gains_x{scale}",
        title=f"Gain of {OURS} over {BASELINE} by image, ×{scale}",
        caption="Each dot is an image, the dashed line the mean of the set; after the name of the set its "
        f"number of images. Images on which {OURS} is below {BASELINE}: {markdown.escape(behind)}.",
        draw=lambda: gains_figure(gains, labels=labels, scale=scale),
    )


def gains_by_set(ours: StudyRow, baseline: StudyRow) -> dict[str, pd.Series]:
    """Return by set the PSNR of every image minus that of the baseline (dB), where both have two images."""
    if ours.images is None or baseline.images is None:
        return {}
    both = ours.images.merge(baseline.images, on=["set", "image"], suffixes=("", "_of_baseline"))
    both["gain"] = both["psnr"] - both["psnr_of_baseline"]
    sets = both.groupby("set", sort=False)
    return {str(name): rows.set_index("image")["gain"] for name, rows in sets if len(rows) >= LEAST_IMAGES}


def gains_figure(gains: Mapping[str, pd.Series], *, labels: Mapping[str, str], scale: int) -> Figure:
    """Draw the gains, a swarm of dots for each set; no two dots overlap."""
    span = 1.16 * (float(np.ptp(np.concatenate([[0.0], *gains.values()]))) or 1.0)
    for diameter in _DIAMETERS:
        offsets = [swarm(gain.to_numpy(), span * diameter / _HEIGHT) for gain in gains.values()]
        halves = [float(np.abs(each).max()) + 1.5 for each in offsets]
        widths = [max(2 * half * diameter, _LEAST_WIDTH) for half in halves]
        if sum(widths) <= _WIDTH:
            break
    figure = new_figure(0.9 + 1.1 * sum(widths) / 72, 3.8)
    panels = figure.subplots(1, len(gains), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, x, width, (name, gain) in zip(panels, offsets, widths, gains.items(), strict=True):
        colours = [ACCENT if value >= 0 else COLOURS[1] for value in gain]
        axes.scatter(x, gain, s=0.8 * diameter**2, c=colours, linewidths=0, zorder=3)
        axes.axhline(gain.mean(), color=INK, linewidth=1, linestyle="--", zorder=2)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_title(f"{labels[name]} ({len(gain)})")
        axes.set_xlim(-width / diameter / 2, width / diameter / 2)
        axes.set_xticks([])
        axes.margins(y=0.08)
    panels[0].set_ylabel(f"PSNR of {OURS} minus that of {BASELINE} at ×{scale}, dB")
    return figure


def swarm(values: np.ndarray, diameter: float) -> np.ndarray:
    """Return offsets, in diameters, that keep dots at these values apart; the same for the same values.

    Dots are set in the order of the values, each as near to the middle as the ones before it allow.
    """
    offsets = np.zeros(len(values))
    placed: list[int] = []
    for index in range(len(values)):
        heights = np.abs(values[placed] - values[index]) / diameter
        near = heights < 1
        sides, needed = offsets[placed][near], np.sqrt(1 - heights[near] ** 2)
        candidates = np.concatenate([[0.0], sides + needed, sides - needed])
        clear = (np.abs(candidates[:, None] - sides) >= needed - 1e-9).all(axis=1)
        offsets[index] = min(candidates[clear], key=abs)
        placed.append(index)
    return offsets
