"""What ALKDNet gains over BSRN, image by image."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from alkdnet import markdown
from alkdnet.paper.published import OURS
from alkdnet.reporting.figures.style import ACCENT, COLOURS, INK, FigurePlan, new_figure
from alkdnet.reporting.study import Study, StudyRow

BASELINE = "BSRN"
# Height of the panel in diameters of a dot: dots nearer than one are set beside each other.
_DIAMETERS = 34
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
        caption="Each dot is an image, the line the mean of the set; after the name of the set the number of "
        f"its images. Images on which {OURS} is below {BASELINE}: {markdown.escape(behind)}.",
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
    """Draw the gains, a swarm of dots for each set."""
    figure = new_figure(max(4.0, 1.0 + 1.7 * len(gains)), 3.8)
    axes = figure.subplots()
    span = float(np.ptp(np.concatenate([[0.0], *gains.values()]))) or 1.0
    for place, gain in enumerate(gains.values()):
        x = place + swarm(gain.to_numpy(), span / _DIAMETERS)
        colours = [ACCENT if value >= 0 else COLOURS[1] for value in gain]
        axes.scatter(x, gain, s=26, c=colours, linewidths=0, zorder=3)
        axes.plot([place - 0.42, place + 0.42], [gain.mean()] * 2, color=INK, linewidth=1.4, zorder=2)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlim(-0.5, len(gains) - 0.5)
    axes.set_xticks(range(len(gains)), [f"{labels[name]} ({len(gain)})" for name, gain in gains.items()])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.08)
    axes.set_ylabel(f"PSNR of {OURS} minus that of {BASELINE} at ×{scale}, dB")
    return figure


def swarm(values: np.ndarray, diameter: float, *, step: float = 0.075) -> np.ndarray:
    """Return offsets that keep dots at these values apart, the same for the same values.

    Dots are set in the order of their values, each as near to the middle as no dot within one diameter in
    value stands already. A swarm that would be wider than its place is pressed together.
    """
    offsets = np.zeros(len(values))
    placed: list[int] = []
    for index in np.argsort(values, kind="stable"):
        near = [offsets[other] for other in placed if abs(values[other] - values[index]) < diameter]
        candidates = ((turn + 1) // 2 * step * (-1 if turn % 2 else 1) for turn in range(2 * len(values) + 2))
        offsets[index] = next(
            each for each in candidates if all(abs(each - other) > 0.99 * step for other in near)
        )
        placed.append(int(index))
    widest = float(np.abs(offsets).max(initial=0.0))
    return offsets * min(1.0, 0.44 / widest) if widest else offsets
