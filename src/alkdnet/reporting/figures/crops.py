"""Figures 7 and 8: a crop of an image, in the original and as every network restores it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from alkdnet import markdown
from alkdnet.arrays import ImageHWC
from alkdnet.paper.published import OURS
from alkdnet.reporting.cells import ranks
from alkdnet.reporting.figures.files import read_image, short_name
from alkdnet.reporting.figures.style import ACCENT, INK, MUTED, FigurePlan, image_axes, new_figure
from alkdnet.reporting.study import Study, StudyRow
from alkdnet.results.features import CropImage

CAPTION = (
    "On the left the whole image with the crop's box. Below each crop the PSNR and SSIM of its whole image; "
    "in colour where one method has the best of both. Positions and images are parameters (`features.crops`)."
)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A crop as one method shows it: uint8, HWC, RGB.

    PSNR (dB) and SSIM are those of the whole image; None for the original.
    """

    label: str
    image: ImageHWC
    psnr: float | None = None
    ssim: float | None = None
    ours: bool = False


@dataclass(frozen=True, kw_only=True)
class CropRow:
    """The tiles of one crop, the original first, and the position of the crop.

    `whole`: the whole original, reduced. `box`: left, top, width and height of the crop in its pixels.
    """

    title: str
    tiles: tuple[Tile, ...]
    whole: ImageHWC
    box: tuple[float, float, float, float]


def crops_plans(study: Study) -> list[FigurePlan]:
    """Return a figure for each crop, for one file of all would be megabytes large."""
    return [
        FigurePlan(
            name=f"crop_{number}",
            title=f"{row.title}: crop (as in Figures 7 and 8)",
            caption=f"{CAPTION} {_behind(row)}".rstrip(),
            draw=partial(crop_figure, row),
            lines=False,
        )
        for number, row in enumerate(crop_rows(study), start=1)
    ]


def crop_rows(study: Study) -> list[CropRow]:
    """Return the crops of which there is an original, as the methods of Table 4 show them.

    A crop of a scale that the pipeline does not have is left out, as absent rows are from a table.
    """
    found = []
    crops = study.params.features.crops
    for crop in (crop for crop in crops if crop.scale in study.params.downscale.scales):
        place = (crop.set, crop.image, crop.top, crop.left, crop.height, crop.width)
        shown = [
            (method, row, image)
            for method, row in study.methods(crop.scale)
            if (image := _crop_of(row, place)) is not None
        ]
        interpolation = study.rows[f"bicubic_x{crop.scale}"]
        image = _crop_of(interpolation, place)
        if image is not None and image.original is not None and image.whole is not None and shown:
            original = read_image(interpolation.features_folder / image.original)
            whole = read_image(interpolation.features_folder / image.whole)
            ratio = whole.shape[1] / image.image_width
            box = tuple(side * ratio for side in (image.left, image.top, image.width, image.height))
            tiles = [_tile(method, row, image) for method, row, image in shown]
            found.append(
                CropRow(
                    title=f"{short_name(crop.image)} ({study.set_label(crop.set)}), ×{crop.scale}",
                    tiles=(Tile(label="Original", image=original), *tiles),
                    whole=whole,
                    box=box,
                )
            )
    return found


def crop_figure(row: CropRow) -> Figure:
    """Draw the whole image with the crop's box, and beside it the tiles in one or two lines.

    A tile that has the best PSNR and SSIM is in bold colour.
    """
    columns = _columns(row)
    lines = -(-len(row.tiles) // columns)
    tile = 10.0 / (columns + 2)
    figure = new_figure(tile * (columns + 2), lines * (tile * _aspect(row) + 0.5))
    grid = figure.add_gridspec(lines, columns + 2)
    whole = figure.add_subplot(grid[:, :2])
    whole.imshow(row.whole)
    left, top, width, height = row.box
    whole.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor="red", linewidth=1.5))
    image_axes(whole)
    whole.set_xlabel(row.title, fontsize=8, color=MUTED)
    _draw_tiles([figure.add_subplot(grid[i // columns, 2 + i % columns]) for i in range(len(row.tiles))], row)
    return figure


def _columns(row: CropRow) -> int:
    """Return the tiles in a line: up to five in one line, more in two."""
    return len(row.tiles) if len(row.tiles) <= 5 else -(-len(row.tiles) // 2)


def _aspect(row: CropRow) -> float:
    height, width, _ = row.tiles[0].image.shape
    return float(height / width)


def _draw_tiles(places: Sequence[Axes], row: CropRow) -> None:
    best_psnr = ranks([None if each.psnr is None else round(each.psnr, 2) for each in row.tiles])
    best_ssim = ranks([None if each.ssim is None else round(each.ssim, 4) for each in row.tiles])
    for axes, each, *best in zip(places, row.tiles, best_psnr, best_ssim, strict=True):
        axes.imshow(each.image)
        image_axes(axes)
        axes.set_title(each.label, loc="center", fontsize=8.5, pad=3)
        if each.ssim is None:
            continue
        is_best = best == ["best", "best"]
        axes.set_xlabel(
            f"{'∞' if each.psnr is None else f'{each.psnr:.2f}'} dB / {each.ssim:.4f}",
            fontsize=7.5,
            color=ACCENT if is_best else INK,
            fontweight="bold" if is_best else "normal",
        )


def _behind(row: CropRow) -> str:
    """Return a sentence if another method has a better PSNR than ALKDNet."""
    ours = next((each.psnr for each in row.tiles if each.ours), None)
    if ours is None:
        return ""
    better = [each.label for each in row.tiles if each.psnr is not None and round(each.psnr - ours, 2) > 0]
    rivals = markdown.escape(", ".join(better))
    return f"On {markdown.escape(row.title)}, {OURS} is below {rivals}." if better else ""


def _crop_of(row: StudyRow, place: tuple[str, str, int, int, int, int]) -> CropImage | None:
    crops = row.features.crops if row.features else ()
    for each in crops:
        if (each.set, each.image, each.top, each.left, each.height, each.width) == place:
            return each
    return None


def _tile(method: str, row: StudyRow, crop: CropImage) -> Tile:
    image = read_image(row.features_folder / crop.file)
    return Tile(label=row.short_label, image=image, psnr=crop.psnr, ssim=crop.ssim, ours=method == OURS)
