"""Accuracy against cost: PSNR over Multi-Adds, with areas that stand for parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from alkdnet.reporting.figures.style import ACCENT, INK, MUTED, PAPER, new_figure

# Area in square points of a network with a thousand parameters.
AREA_PER_K = 0.35
# A published and a measured point of one network that are nearer than this, in points, share a label.
SAME_PLACE_PT = 24.0
# Offsets of a label in points, nearest first, with how the text is anchored.
_PLACES = (
    *((9, 0, "left", "center"), (-9, 0, "right", "center"), (0, 10, "center", "bottom")),
    *((0, -10, "center", "top"), (9, 9, "left", "bottom"), (9, -9, "left", "top")),
    *((-9, 9, "right", "bottom"), (-9, -9, "right", "top"), (18, 18, "left", "bottom")),
    *((18, -18, "left", "top"), (-18, 18, "right", "bottom"), (-18, -18, "right", "top")),
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One network: Multi-Adds in 10^9, PSNR in dB, thousands of parameters; `ours` is drawn in colour."""

    label: str
    multi_adds_g: float
    psnr: float
    parameters_k: float
    measured: bool
    ours: bool


def cost_figure(panels: Sequence[tuple[str, Sequence[Point]]], *, output: str) -> Figure:
    """Draw a panel for each (title, points); published points are hollow, measured ones filled.

    `output` is the size in pixels of the image for which Multi-Adds are counted.
    """
    figure = new_figure(min(12.0, 1.0 + 4.6 * len(panels)), 4.3)
    axes_of = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, points) in zip(axes_of, panels, strict=True):
        _draw(axes, points)
        axes.set_title(title)
        axes.set_xlabel(f"Multi-Adds for {output} pixels, 10⁹ (log)")
    axes_of[0].set_ylabel("PSNR, dB")
    measured = {point.measured for _, points in panels for point in points}
    handles = [
        Line2D(
            [],
            [],
            marker="o",
            linestyle="",
            markersize=8,
            markeredgecolor=MUTED,
            markerfacecolor=fill,
            label=text,
        )
        for is_measured, fill, text in ((False, PAPER, "published"), (True, MUTED, "measured"))
        if is_measured in measured
    ]
    sizes = [
        Line2D(
            [],
            [],
            marker="o",
            linestyle="",
            markersize=float(np.sqrt(AREA_PER_K * thousands)),
            markeredgecolor=MUTED,
            markerfacecolor=PAPER,
            label=f"{thousands} K parameters",
        )
        for thousands in (200, 700)
    ]
    figure.legend(handles=[*handles, *sizes], loc="outside lower center", ncols=2 if len(panels) == 1 else 4)
    figure.draw_without_rendering()
    for axes, (_, points) in zip(axes_of, panels, strict=True):
        _label(axes, points)
    return figure


def _draw(axes: Axes, points: Sequence[Point]) -> None:
    axes.set_xscale("log")
    for point in points:
        colour = ACCENT if point.ours else INK
        for other in points:
            if point.measured and not other.measured and point.label == other.label:
                pair = ((point.multi_adds_g, other.multi_adds_g), (point.psnr, other.psnr))
                axes.plot(*pair, color=colour, linewidth=0.7, linestyle=":", zorder=2)
        axes.scatter(
            point.multi_adds_g,
            point.psnr,
            s=max(14.0, AREA_PER_K * point.parameters_k),
            facecolors=colour if point.measured else PAPER,
            edgecolors=colour,
            alpha=0.8 if point.measured else 1.0,
            linewidths=1.2,
            zorder=4 if point.ours else 3,
        )
    costs = [point.multi_adds_g for point in points]
    axes.set_xlim(min(costs) / 1.5, max(costs) * 1.5)
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label(axes: Axes, points: Sequence[Point]) -> None:
    """Write each name where it covers no other name and no point, if there is such a place."""
    inch = axes.figure.dpi / 72
    centres = {point: axes.transData.transform((point.multi_adds_g, point.psnr)) for point in points}
    taken = [
        _around(centres[point], 0.5 * np.sqrt(max(14.0, AREA_PER_K * point.parameters_k)) * inch)
        for point in points
    ]
    named: list[Point] = []
    inside = axes.get_window_extent()
    for point in sorted(points, key=lambda each: (not each.ours, -each.psnr)):
        if any(
            each.label == point.label and np.hypot(*(centres[each] - centres[point])) < SAME_PLACE_PT * inch
            for each in named
        ):
            continue
        named.append(point)
        style: dict[str, Any] = {
            "fontsize": 8,
            "color": ACCENT if point.ours else INK,
            "fontweight": "bold" if point.ours else "normal",
        }
        sample = axes.text(0, 0, point.label, transform=None, **style)
        size = sample.get_window_extent()
        sample.remove()
        places = [_placed(centres[point], size, place, inch) for place in _PLACES]
        covered = [_covered(box, taken, inside) for box in places]
        best = covered.index(min(covered))
        right, up, horizontal, vertical = _PLACES[best]
        axes.annotate(
            point.label,
            (point.multi_adds_g, point.psnr),
            xytext=(right, up),
            textcoords="offset points",
            ha=horizontal,
            va=vertical,
            zorder=5,
            **style,
        )
        taken.append(places[best])


def _placed(centre: np.ndarray, size: Bbox, place: tuple[int, int, str, str], inch: float) -> Bbox:
    """Return where a label of this size lies at one of the places around a point, in pixels."""
    right, up, horizontal, vertical = place
    left = centre[0] + right * inch - {"left": 0.0, "center": 0.5, "right": 1.0}[horizontal] * size.width
    bottom = centre[1] + up * inch - {"bottom": 0.0, "center": 0.5, "top": 1.0}[vertical] * size.height
    return Bbox.from_bounds(left, bottom, size.width, size.height)


def _covered(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """Return the area that a label shares with what is there already; all of it beyond the axes."""
    beyond = 0.0 if _inside(box, inside) else float(box.width * box.height)
    return beyond + sum(_overlap(box, other) for other in taken)


def _around(centre: np.ndarray, radius: float) -> Bbox:
    return Bbox.from_extents(centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)


def _overlap(first: Bbox, second: Bbox) -> float:
    common = Bbox.intersection(first, second)
    return 0.0 if common is None else float(common.width * common.height)


def _inside(box: Bbox, outer: Bbox) -> bool:
    return bool(box.x0 >= outer.x0 and box.x1 <= outer.x1 and box.y0 >= outer.y0 and box.y1 <= outer.y1)
