"""Accuracy against cost: PSNR over Multi-Adds, with areas that stand for parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from alkdnet.reporting.figures.style import ACCENT, INK, MUTED, PAPER, new_figure

# Area in square points of a network with a thousand parameters.
AREA_PER_K = 0.35
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
    figure.legend(handles=[*handles, *sizes], loc="outside lower center", ncols=4)
    figure.draw_without_rendering()
    for axes, (_, points) in zip(axes_of, panels, strict=True):
        _label(axes, points)
    return figure


def _draw(axes: Axes, points: Sequence[Point]) -> None:
    axes.set_xscale("log")
    for point in points:
        colour = ACCENT if point.ours else INK
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
    """Write each name where it covers no other name and no point, once for a published and measured pair."""
    inch = axes.figure.dpi / 72
    centres = {point: axes.transData.transform((point.multi_adds_g, point.psnr)) for point in points}
    taken = [
        _around(centres[point], 0.5 * np.sqrt(max(14.0, AREA_PER_K * point.parameters_k)) * inch)
        for point in points
    ]
    named: set[str] = set()
    for point in sorted(points, key=lambda each: (not each.ours, -each.psnr)):
        if point.label in named:
            continue
        named.add(point.label)
        best = None
        for right, up, horizontal, vertical in _PLACES:
            text = axes.annotate(
                point.label,
                (point.multi_adds_g, point.psnr),
                xytext=(right, up),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=8,
                color=ACCENT if point.ours else INK,
                fontweight="bold" if point.ours else "normal",
                zorder=5,
            )
            box = text.get_window_extent()
            covered = sum(_overlap(box, other) for other in taken)
            covered += 0 if _inside(box, axes.get_window_extent()) else box.width * box.height
            if best is None or covered < best[0]:
                if best is not None:
                    best[1].remove()
                best = (covered, text, box)
            else:
                text.remove()
            if covered == 0:
                break
        assert best is not None
        taken.append(best[2])


def _around(centre: np.ndarray, radius: float) -> Bbox:
    return Bbox.from_extents(centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)


def _overlap(first: Bbox, second: Bbox) -> float:
    common = Bbox.intersection(first, second)
    return 0.0 if common is None else float(common.width * common.height)


def _inside(box: Bbox, outer: Bbox) -> bool:
    return bool(box.x0 >= outer.x0 and box.x1 <= outer.x1 and box.y0 >= outer.y0 and box.y1 <= outer.y1)
