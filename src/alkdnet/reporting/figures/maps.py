"""Figure 5 and the effective receptive fields: pictures of what happens inside a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from alkdnet.reporting.figures.style import PAPER, image_axes, new_figure

MapHW = NDArray[np.floating]

MAP_TITLES: Mapping[str, str] = {
    "before_fsrl": "before FSRL",
    "after_fsrl": "after FSRL",
    "before_abrl": "before ABRL",
    "after_abrl": "after ABRL",
}
# A field is drawn down to this share of its greatest value.
FIELD_FLOOR = 1e-4


@dataclass(frozen=True, kw_only=True)
class Field:
    """The effective receptive field of a network: `values` of shape HW, LR pixels, H and W odd.

    `radii` says by share of the sum of `values` the radius r of the central square of 2 r + 1 pixels a side
    that holds it.
    """

    label: str
    values: MapHW
    radii: Mapping[float, int]


def maps_figure(maps: Mapping[str, MapHW]) -> Figure:
    """Draw channel means of features, shape HW, by the names in MAP_TITLES, each in its own range."""
    names = [name for name in MAP_TITLES if name in maps]
    height, width = maps[names[0]].shape
    figure = new_figure(2.6 * len(names), 2.6 * height / width + 0.62)
    for letter, axes, name in zip("abcd", np.atleast_1d(figure.subplots(1, len(names))), names, strict=False):
        low, high = np.percentile(maps[name], (0.5, 99.5))
        picture = axes.imshow(maps[name], cmap="viridis", vmin=low, vmax=high)
        image_axes(axes)
        axes.set_title(f"({letter}) {MAP_TITLES[name]}")
        bar = figure.colorbar(picture, ax=axes, location="bottom", shrink=0.9, pad=0.03, aspect=30)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2)
        bar.ax.xaxis.set_major_locator(MaxNLocator(3))
    return figure


def fields_figure(fields: Sequence[Field]) -> Figure:
    """Draw receptive fields on one logarithmic scale, each with its squares, as far as they reach."""
    columns = min(len(fields), 3)
    rows = -(-len(fields) // columns)
    figure = new_figure(2.5 * columns + 0.9, 3.3 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(fields) :]:
        axes.set_axis_off()
    # One window for all, so that they can be compared: twice the largest square.
    reach = 2 * max(radius for each in fields for radius in each.radii.values()) + 0.5
    picture = None
    for axes, each in zip(grid, fields, strict=False):
        height, width = each.values.shape
        relative = np.log10(np.maximum(each.values / each.values.max(), FIELD_FLOOR))
        extent = (-width / 2, width / 2, height / 2, -height / 2)
        picture = axes.imshow(relative, cmap="magma", vmin=np.log10(FIELD_FLOOR), vmax=0, extent=extent)
        axes.set_xlim(-min(reach, width / 2), min(reach, width / 2))
        axes.set_ylim(min(reach, height / 2), -min(reach, height / 2))
        image_axes(axes)
        lines = []
        for style, (share, radius) in zip(("-", "--", ":"), each.radii.items(), strict=False):
            side = 2 * radius + 1
            corner = (-side / 2, -side / 2)
            axes.add_patch(
                Rectangle(corner, side, side, fill=False, edgecolor=PAPER, linewidth=1, linestyle=style)
            )
            lines.append(f"{share:.0%} within {side}×{side}")
        axes.set_title(each.label)
        axes.set_xlabel("\n".join(lines), fontsize=8)
    assert picture is not None
    bar = figure.colorbar(picture, ax=list(grid), shrink=0.75, pad=0.02, aspect=30)
    bar.set_ticks([-4, -3, -2, -1, 0], labels=["10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "1"])
    bar.set_label("share of the greatest influence on the centre", fontsize=8)
    bar.outline.set_visible(False)
    return figure
