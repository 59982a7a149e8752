"""Figures 7 and 8: a detail of an image, in the original and as every network restores it."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from alkdnet.arrays import ImageHWC
from alkdnet.reporting.figures.style import ACCENT, INK, MUTED, image_axes, new_figure
from alkdnet.reporting.marks import ranks


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A detail as one method shows it: uint8, HWC, RGB.

    PSNR (dB) and SSIM are those of the whole image; None for the original.
    """

    label: str
    image: ImageHWC
    psnr: float | None
    ssim: float | None


@dataclass(frozen=True, kw_only=True)
class CropRow:
    """The tiles of one detail, the original first."""

    title: str
    tiles: tuple[Tile, ...]


def crops_figure(rows: Sequence[CropRow]) -> Figure:
    """Draw a line of tiles for each detail; one that has the best PSNR and SSIM is in bold colour."""
    columns = max(len(row.tiles) for row in rows)
    shape = [row.tiles[0].image.shape for row in rows]
    tile = 10.0 / max(columns, 4)
    heights = [tile * height / width + 0.55 for height, width, _ in shape]
    figure = new_figure(tile * columns + 0.3, sum(heights))
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for line, row in zip(grid, rows, strict=True):
        best_psnr = ranks([None if each.psnr is None else round(each.psnr, 2) for each in row.tiles])
        best_ssim = ranks([None if each.ssim is None else round(each.ssim, 4) for each in row.tiles])
        for axes in line[len(row.tiles) :]:
            axes.set_axis_off()
        for index, each in enumerate(row.tiles):
            axes = line[index]
            axes.imshow(each.image)
            image_axes(axes)
            axes.set_title(each.label, loc="center", fontsize=8.5, pad=3)
            if each.psnr is None or each.ssim is None:
                axes.set_xlabel(row.title, fontsize=7.5, color=MUTED)
                continue
            best = best_psnr[index] == "best", best_ssim[index] == "best"
            axes.set_xlabel(
                f"{each.psnr:.2f} dB / {each.ssim:.4f}",
                fontsize=8,
                color=ACCENT if all(best) else INK,
                fontweight="bold" if all(best) else "normal",
            )
    return figure
