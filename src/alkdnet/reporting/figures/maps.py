"""Figure 5, feature maps, and the effective receptive fields."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from alkdnet import markdown
from alkdnet.reporting.figures.files import MapHW, read_map, short_name
from alkdnet.reporting.figures.style import PAPER, FigurePlan, image_axes, new_figure
from alkdnet.reporting.study import Study

MAP_TITLES: Mapping[str, str] = {
    "before_fsrl": "before FSRL",
    "after_fsrl": "after FSRL",
    "before_abrl": "before ABRL",
    "after_abrl": "after ABRL",
}
# A field is drawn down to this share of its greatest value.
FIELD_FLOOR = 1e-4

# (label, values, radius by share of the sum): the central square of 2 radius + 1 pixels a side holds it.
Field = tuple[str, MapHW, Mapping[str, int]]


def maps_plan(study: Study) -> FigurePlan | None:
    """Return the figure of feature maps; None if there are none."""
    row = study.rows[study.params.features.maps_run]
    record = row.features.maps if row.features else None
    if record is None or not set(record.files) & set(MAP_TITLES):
        return None
    maps = {
        name: read_map(row.features_folder / record.files[name])
        for name in MAP_TITLES
        if name in record.files
    }
    of = f"{row.label} on {short_name(record.image)} of {study.set_label(record.set)}"
    return FigurePlan(
        name="maps",
        title="Feature maps around the two residual connections (Figure 5)",
        caption=f"Means over the channels, of {markdown.escape(of)}. FSRL adds the shallow features, ABRL "
        "the colours of the LR image. Each panel has its own range of values.",
        draw=lambda: maps_figure(maps),
        lines=False,
    )


def fields_plan(study: Study) -> FigurePlan | None:
    """Return the figure of effective receptive fields; None if there are none."""
    fields, images = [], 0
    for row in study.of(study.params.features.field_runs):
        if row.features is not None and (field := row.features.field) is not None:
            fields.append((row.short_label, read_map(row.features_folder / field.file), field.radii))
            images = field.images
    if not fields:
        return None
    return FigurePlan(
        name="fields",
        title="Effective receptive fields",
        caption="How much each LR pixel matters to the centre of the output (Luo et al. 2016): absolute "
        f"gradients, mean of {images} image{'' if images == 1 else 's'}, logarithmic. The squares hold 50 %, "
        "90 % (dashed) and 99 % (dotted) of what lies within the window of `features.field_size` LR pixels; "
        "a field whose squares fill the window reaches beyond it.",
        draw=lambda: fields_figure(fields),
        lines=False,
    )


def maps_figure(maps: Mapping[str, MapHW]) -> Figure:
    """Draw channel means of features, shape HW, by names of MAP_TITLES, each in its own range."""
    height, width = next(iter(maps.values())).shape
    figure = new_figure(2.6 * len(maps), 2.6 * height / width + 0.62)
    grid = np.atleast_1d(figure.subplots(1, len(maps)))
    for letter, axes, (name, values) in zip("abcd", grid, maps.items(), strict=False):
        low, high = np.percentile(values, (0.5, 99.5))
        drawn = axes.imshow(values, cmap="viridis", vmin=low, vmax=high)
        image_axes(axes)
        axes.set_title(f"({letter}) {MAP_TITLES[name]}")
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.9, pad=0.03, aspect=30)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2)
        bar.ax.xaxis.set_major_locator(MaxNLocator(3))
    return figure


def fields_figure(fields: Sequence[Field]) -> Figure:
    """Draw receptive fields on one logarithmic scale, each with its squares."""
    columns = min(len(fields), 3)
    rows = -(-len(fields) // columns)
    figure = new_figure(2.5 * columns + 0.9, 3.3 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(fields) :]:
        axes.set_axis_off()
    # One window for all, so that they can be compared: twice the largest square.
    reach = 2 * max(radius for _, _, radii in fields for radius in radii.values()) + 0.5
    for axes, (label, values, radii) in zip(grid, fields, strict=False):
        height, width = values.shape
        relative = np.log10(np.maximum(values / values.max(), FIELD_FLOOR))
        extent = (-width / 2, width / 2, height / 2, -height / 2)
        drawn = axes.imshow(relative, cmap="magma", vmin=np.log10(FIELD_FLOOR), vmax=0, extent=extent)
        axes.set_xlim(-min(reach, width / 2), min(reach, width / 2))
        axes.set_ylim(min(reach, height / 2), -min(reach, height / 2))
        image_axes(axes)
        lines = []
        for style, (share, radius) in zip(("-", "--", ":"), radii.items(), strict=False):
            side = 2 * radius + 1
            corner = (-side / 2, -side / 2)
            axes.add_patch(
                Rectangle(corner, side, side, fill=False, edgecolor=PAPER, linewidth=1, linestyle=style)
            )
            lines.append(f"{float(share):.0%} within {side}×{side}")
        axes.set_title(label)
        axes.set_xlabel("\n".join(lines), fontsize=8)
    bar = figure.colorbar(drawn, ax=list(grid), shrink=0.75, pad=0.02, aspect=30)
    bar.set_ticks([-4, -3, -2, -1, 0], labels=["10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "1"])
    bar.set_label("share of the greatest influence on the centre", fontsize=8)
    bar.outline.set_visible(False)
    return figure
