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

from alkdnet.paper.published import OURS, SCALES, corrected_table4
from alkdnet.reporting.figures.style import ACCENT, INK, MUTED, PAPER, RULE, FigurePlan, new_figure
from alkdnet.reporting.study import Study

# Published methods are drawn if they have at least this share of the best one's gain over bicubic, and at
# most this many times the cost of ALKDNet: older ones would squeeze the others together.
NEAR_BEST = 0.8
COST_FACTOR = 4.0
_PUBLISHED_CAPTION = (
    " Diamonds: as published (published costs follow several conventions, see the [audit](../audit.md)); "
    f"discs: measured here. Published methods with less than {NEAR_BEST:.0%} of the best one's gain over "
    f"bicubic, or with more than {COST_FACTOR:.0f} times the Multi-Adds of ALKDNet, are left out; HSNet's "
    "misprinted 33.22 is drawn at 32.22."
)
# Sets in the order in which they separate methods best.
COST_SETS = ("Urban100", "BSD100", "Set14", "Set5", "Manga109")
PUBLISHED, MEASURED = "D", "o"
# Areas in square points of the largest network of a figure, and of the smallest that can be seen.
LARGEST_AREA, LEAST_AREA = 250.0, 14.0
# A published and a measured point of one network that are nearer than this, in points, share a label.
SAME_PLACE_PT = 24.0
# Positions of a label: distances from the edge of its point in points, and directions in degrees, the most
# readable first.
_PLACES = np.array(
    [
        (distance, angle)
        for distance in (3, 9, 16, 25, 36, 48)
        for angle in (0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202, 67, 293, 113, 247)
    ],
    dtype=float,
)
# From this distance on a line leads from the label to its point.
_LEADER_PT = 8
# Costs beside the area that a label covers, in square pixels at 72 dpi: a point of distance, a label that is
# nearer to another point, a line that crosses another point.
_DISTANCE_COST, _AMBIGUITY_COST, _CROSSING_COST = 3.0, 150.0, 120.0


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """One network: Multi-Adds in 10^9, PSNR in dB, thousands of parameters; `ours` is drawn in colour."""

    label: str
    multi_adds_g: float
    psnr: float
    parameters_k: float
    measured: bool
    ours: bool


Panel = tuple[str, Sequence[CostPoint]]


def cost_plan(study: Study) -> FigurePlan | None:
    """Return the figure; None if no scale has two points, one of them measured."""
    panels = [panel for scale in SCALES if (panel := cost_panel(study, scale)) is not None]
    if not panels:
        return None
    size = f"{study.params.complexity.width}×{study.params.complexity.height}"
    return FigurePlan(
        name="cost",
        title="Accuracy against cost",
        caption=f"PSNR against Multi-Adds for an output of {size} pixels; the area of a point stands for the "
        "parameters." + (_PUBLISHED_CAPTION if study.columns else ""),
        draw=lambda: cost_figure(panels, output=size),
    )


def cost_panel(study: Study, scale: int) -> Panel | None:
    """Return title and points of one scale, on the test set that separates the methods best."""
    ordered = sorted(
        study.sets,
        key=lambda name: COST_SETS.index(study.columns[name]) if name in study.columns else len(COST_SETS),
    )
    for name in ordered:
        measured = [
            CostPoint(
                label=row.short_label,
                multi_adds_g=row.cost.multi_adds / 1e9,
                psnr=row.scores[name].psnr,
                parameters_k=row.cost.parameters / 1e3,
                measured=True,
                ours=method == OURS,
            )
            for method, row in study.methods(scale)
            if row.cost is not None and row.cost.multi_adds
            if name in row.scores and row.scores[name].complete
        ]
        points = [*_published_points(study.columns.get(name), scale), *measured]
        if measured and len(points) > 1:
            return f"{study.set_label(name)} ×{scale}", points
    return None


def cost_figure(panels: Sequence[Panel], *, output: str) -> Figure:
    """Draw the panels; `output` is the size in pixels of the image for which Multi-Adds are counted."""
    figure = new_figure(min(12.0, 1.0 + 4.6 * len(panels)), 4.3)
    everything = [point for _, points in panels for point in points]
    per_k = LARGEST_AREA / max(point.parameters_k for point in everything)
    axes_of = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, points) in zip(axes_of, panels, strict=True):
        _draw(axes, points, per_k)
        axes.set_title(title)
        axes.set_xlabel(f"Multi-Adds for {output} pixels, 10⁹ (log)")
    axes_of[0].set_ylabel("PSNR, dB")
    figure.legend(
        handles=_legend(everything, per_k), loc="outside lower center", ncols=2 if len(panels) == 1 else 4
    )
    figure.draw_without_rendering()
    for axes, (_, points) in zip(axes_of, panels, strict=True):
        _label(axes, points, per_k)
    return figure


def legend_sizes(parameters_k: Sequence[float]) -> list[float]:
    """Return one or two round numbers of parameters, in thousands, that span those of the points."""
    return sorted({_round_number(min(parameters_k)), _round_number(max(parameters_k))})


def _published_points(column: str | None, scale: int) -> list[CostPoint]:
    cells = corrected_table4()
    cells = cells[(cells["scale"] == scale) & (cells["set"] == column)]
    gain = cells["psnr"] - cells.loc[cells["method"] == "Bicubic", "psnr"].max()
    cells = cells[gain >= NEAR_BEST * gain.max()].dropna(subset="multi_adds_g")
    cells = cells[
        cells["multi_adds_g"] <= COST_FACTOR * cells.loc[cells["method"] == OURS, "multi_adds_g"].max()
    ]
    return [
        CostPoint(
            label=str(row["method"]),
            multi_adds_g=float(row["multi_adds_g"]),
            psnr=float(row["psnr"]),
            parameters_k=float(row["parameters_k"]),
            measured=False,
            ours=row["method"] == OURS,
        )
        for _, row in cells.iterrows()
    ]


def _legend(points: Sequence[CostPoint], per_k: float) -> list[Line2D]:
    """Return the marks of published and measured points, and two sizes in a mark of neither."""
    style: dict[str, Any] = {"linestyle": "", "markeredgecolor": MUTED}
    handles = [
        Line2D([], [], marker=marker, markersize=8, markerfacecolor=fill, label=text, **style)
        for is_measured, marker, fill, text in (
            (False, PUBLISHED, PAPER, "published"),
            (True, MEASURED, MUTED, "measured"),
        )
        if is_measured in {point.measured for point in points}
    ]
    for thousands in legend_sizes([point.parameters_k for point in points]):
        size = float(np.sqrt(max(LEAST_AREA, per_k * thousands)))
        text = f"{thousands:g} K parameters"
        style = {"linestyle": "", "markeredgewidth": 0}
        handles.append(Line2D([], [], marker="h", markersize=size, markerfacecolor=RULE, label=text, **style))
    return handles


def _round_number(value: float) -> float:
    """Return the nearest of 1, 2, 3, 5, 7 times a power of 10."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(min((digit * power for digit in (1, 2, 3, 5, 7, 10)), key=lambda each: abs(each - value)))


def _radius(point: CostPoint, per_k: float) -> float:
    """Return the radius of a point's circle in points."""
    return float(np.sqrt(max(LEAST_AREA, per_k * point.parameters_k)) / 2)


def _draw(axes: Axes, points: Sequence[CostPoint], per_k: float) -> None:
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
            s=(2 * _radius(point, per_k)) ** 2 * (1.0 if point.measured else 0.7),
            marker=MEASURED if point.measured else PUBLISHED,
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


def _label(axes: Axes, points: Sequence[CostPoint], per_k: float) -> None:
    """Write each name where it covers least, near its point, with a line to it where it is not beside it."""
    inch = axes.figure.dpi / 72
    centres = {point: axes.transData.transform((point.multi_adds_g, point.psnr)) for point in points}
    radii = {point: _radius(point, per_k) for point in points}
    taken = [np.array([*(xy - radii[p] * inch), *(xy + radii[p] * inch)]) for p, xy in centres.items()]
    named: list[CostPoint] = []
    for point in sorted(points, key=lambda each: (not each.ours, -each.psnr)):
        centre = centres[point]
        if any(
            each.label == point.label and np.hypot(*(centres[each] - centre)) < SAME_PLACE_PT * inch
            for each in named
        ):
            continue
        named.append(point)
        style: dict[str, Any] = {"fontsize": 8, "color": INK}
        if point.ours:
            style |= {"color": ACCENT, "fontweight": "bold"}
        sample = axes.text(0, 0, point.label, transform=None, **style)
        size = sample.get_window_extent()
        sample.remove()
        boxes_N4 = _candidates(centre, (size.width, size.height), radii[point], inch)
        others = [centres[each] for each in points if each.label != point.label]
        costs_N = _costs(boxes_N4, centre, np.array(taken), others, axes.get_window_extent(), inch)
        best = int(np.argmin(costs_N))
        leader = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": radii[point]}
        axes.annotate(
            point.label,
            (point.multi_adds_g, point.psnr),
            xytext=(boxes_N4[best, :2] - centre) / inch,
            textcoords="offset points",
            ha="left",
            va="bottom",
            zorder=5,
            arrowprops=leader if _PLACES[best, 0] >= _LEADER_PT else None,
            **style,
        )
        taken.append(boxes_N4[best])


def _candidates(centre: np.ndarray, size: tuple[float, float], radius: float, inch: float) -> np.ndarray:
    """Return the boxes (left, bottom, right, top), in pixels, of a label at all places around a point."""
    distances_N, angles_N = _PLACES.T
    towards_N2 = np.stack([np.cos(np.radians(angles_N)), np.sin(np.radians(angles_N))], axis=1)
    edge_N2 = centre + (radius + distances_N[:, None]) * inch * towards_N2
    # The side of the label that looks to its point touches the end of the distance.
    corner_N2 = edge_N2 - np.array(size) * (1 - np.clip(towards_N2 / 0.7, -1, 1)) / 2
    return np.concatenate([corner_N2, corner_N2 + size], axis=1)


def _costs(
    boxes_N4: np.ndarray,
    centre: np.ndarray,
    taken_M4: np.ndarray,
    others: Sequence[np.ndarray],
    axes_box: Bbox,
    inch: float,
) -> np.ndarray:
    """Return the cost of each label position, in square pixels."""
    low_N2, high_N2 = boxes_N4[:, :2], boxes_N4[:, 2:]
    common = np.minimum(high_N2[:, None], taken_M4[:, 2:]) - np.maximum(low_N2[:, None], taken_M4[:, :2])
    costs_N: np.ndarray = np.maximum(common, 0).prod(2).sum(1)
    outside_N = (low_N2 < axes_box.min).any(1) | (high_N2 > axes_box.max).any(1)
    costs_N += 100 * outside_N * (high_N2 - low_N2).prod(1)
    costs_N += _DISTANCE_COST * inch**2 * _PLACES[:, 0]
    own_N = _gaps(boxes_N4, centre)
    along_N2 = (low_N2 + high_N2) / 2 - centre
    for other in others:
        nearer_N = (_gaps(boxes_N4, other) < own_N + 4 * inch) & (_PLACES[:, 0] < _LEADER_PT)
        share_N = np.clip((along_N2 @ (other - centre)) / (along_N2**2).sum(1), 0, 1)
        crossed_N = np.hypot(*(centre + share_N[:, None] * along_N2 - other).T) < 6 * inch
        costs_N += inch**2 * (_AMBIGUITY_COST * nearer_N + _CROSSING_COST * crossed_N)
    return costs_N


def _gaps(boxes_N4: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return the distances in pixels from a point to the boxes; 0 inside."""
    outside_N2 = np.maximum(0, np.maximum(boxes_N4[:, :2] - point, point - boxes_N4[:, 2:]))
    gaps_N: np.ndarray = np.hypot(outside_N2[:, 0], outside_N2[:, 1])
    return gaps_N
