"""One look for all figures, and how they are written."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 160
INK, MUTED, RULE, PAPER = "#222222", "#6b6b6b", "#d9d9d9", "#ffffff"
# Okabe and Ito's colours, which colour-blind readers can tell apart, in an order of falling weight.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#444444")
ACCENT = COLOURS[0]

# The background is white and opaque, so that a figure reads the same on a dark page. DejaVu comes with
# matplotlib: no font of the machine can change the bytes. Labels are the user's: no mathematics in them.
_SETTINGS: dict[Any, Any] = {
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "alkdnet",
    "image.interpolation": "nearest",
}


@dataclass(frozen=True, kw_only=True)
class FigurePlan:
    """A figure of the report.

    Attributes:
        name: of its files, without ending.
        title: its heading.
        caption: what it shows, in Markdown.
        draw: makes it.
        lines: whether it is line art, which is written as SVG too.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]
    lines: bool = True


def write_figure(folder: Path, plan: FigurePlan) -> None:
    """Write a figure as PNG, and as SVG if it is line art; the same bytes for the same numbers."""
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever matplotlibrc this machine has
        mpl.rcParams.update(_SETTINGS)
        figure = plan.draw()
        # Without these the files would name the version of matplotlib and the time.
        figure.savefig(folder / f"{plan.name}.png", dpi=DPI, metadata={"Software": None})
        if plan.lines:
            figure.savefig(io.BytesIO(), format="svg")
            _round_positions(figure)
            metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            figure.savefig(folder / f"{plan.name}.svg", metadata=metadata)


def _round_positions(figure: Figure) -> None:
    """Fix the axes: the last bits of their layout vary from run to run, and ids in an SVG depend on them."""
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(each, 9) for each in axes.get_position(original=True).bounds)
        axes.set_position((left, bottom, width, height))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches, whose parts make room for each other."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def image_axes(axes: Axes) -> None:
    """Make axes hold an image: no ticks, no grid, a thin frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(RULE)


def colour_of(index: int) -> str:
    """Return the colour of the n-th series; they repeat after eight."""
    return COLOURS[index % len(COLOURS)]
