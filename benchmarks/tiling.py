"""What inference in tiles changes and saves: PSNR, pixels, time and memory against the whole image.

    PYTHONPATH=src python -m benchmarks.tiling WEIGHTS IMAGES [IMAGES ...] --scale 4

prints Markdown tables for docs/inference.md. WEIGHTS is a file of trained weights (`alkdnet upscale` takes
the same ones); IMAGES are originals, from which LR images are made, or folders of them.
"""

import argparse
import copy
import itertools
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from alkdnet.arrays import ImageHWC
from alkdnet.data.images import list_images, read_rgb
from alkdnet.data.resize import crop_to_multiple, downscale
from alkdnet.evaluation.metrics import psnr
from alkdnet.evaluation.protocol import Protocol
from alkdnet.inference.tiling import OVERLAP, Tiled, attentions_of
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.process import peak_memory_mib
from alkdnet.upscaling.models import open_model

MEMORY_SIZES = ((180, 320), (540, 960), (1080, 1920))


class TiledUpscaler(Upscaler):
    """An upscaler whose overlap can be chosen, and whether attentions see a tile as a part of the image."""

    def __init__(self, model: nn.Module, *, tile: int, overlap: int, shared: bool) -> None:
        super().__init__(model)
        model = copy.deepcopy(model)  # it gets hooks
        self._forward = Tiled(
            model, tile=tile, overlap=overlap, attentions=attentions_of(model) if shared else []
        )


def originals(paths: list[Path], largest: int) -> Iterator[tuple[str, ImageHWC]]:
    """Yield name and pixels of every image, the middle of it if it is larger than `largest` pixels a side."""
    for path in paths:
        for file in list_images(path) if path.is_dir() else [path]:
            if not file.stem.endswith("_LR"):
                image_HWC = read_rgb(file)
                top, left = (max(size - largest, 0) // 2 for size in image_HWC.shape[:2])
                yield file.stem, image_HWC[top : top + largest, left : left + largest]


def compare(arguments: argparse.Namespace) -> None:
    """Print how PSNR and pixels change for every tile and overlap."""
    scale = arguments.scale
    model = open_model(arguments.weights, scale).module
    whole = Upscaler(model)
    variants = list(itertools.product(arguments.tiles, arguments.overlaps, (False, True)))
    change: dict[tuple[int, int, bool], list[float]] = {variant: [] for variant in variants}
    pixels: dict[tuple[int, int, bool], list[float]] = {variant: [] for variant in variants}
    for _, original_HWC in originals(arguments.images, arguments.largest):
        hr_HWC = crop_to_multiple(original_HWC, scale)
        lr_HWC = downscale(hr_HWC, scale)
        whole_HWC = whole(lr_HWC)
        reference = psnr(whole_HWC, hr_HWC, scale=scale, protocol=Protocol())
        for tile, overlap, shared in variants:
            if max(lr_HWC.shape[:2]) <= tile - tile % 6:
                continue
            upscaler = TiledUpscaler(model, tile=tile, overlap=overlap, shared=shared)
            tiled_HWC = upscaler(lr_HWC)
            tiled = psnr(tiled_HWC, hr_HWC, scale=scale, protocol=Protocol())
            change[tile, overlap, shared].append(tiled - reference)
            pixels[tile, overlap, shared].append(np.abs(tiled_HWC.astype(int) - whole_HWC).max())
    print("| tile | overlap | attentions see | images | mean change | largest change | largest of a pixel |")
    print("|---|---|---|---|---|---|---|")
    for tile, overlap, shared in variants:
        found = np.array(change[tile, overlap, shared])
        if len(found):
            seen = "the image" if shared else "the tile"
            print(
                f"| {tile} | {overlap} | {seen} | {len(found)} | {found.mean():+.4f} dB | "
                f"{found[np.abs(found).argmax()]:+.4f} dB | {max(pixels[tile, overlap, shared]):.0f} of 255 |"
            )


def _peak(
    size: tuple[int, int], scale: int, tile: int | None, plain: bool, queue: "multiprocessing.Queue[float]"
) -> None:
    torch.set_num_threads(2)
    model = ALKDNet(scale=scale).eval()
    upscaler = Upscaler(model, tile=tile)
    upscaler(np.zeros((32, 32, 3), np.uint8))
    lr_HWC = np.zeros((*size, 3), np.uint8)
    before = peak_memory_mib() or 0.0
    if plain:
        with torch.inference_mode():
            model(torch.zeros(1, 3, *size))
    else:
        upscaler(lr_HWC)
    queue.put(((peak_memory_mib() or 0.0) - before) / 2**10)


def memory(scale: int, tile: int) -> None:
    """Print the memory that an image takes beyond the program's own, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    print("\n| LR size | the network itself | whole image | tiles |")
    print("|---|---|---|---|")
    for height, width in MEMORY_SIZES:
        cells = []
        for plain, side in ((True, None), (False, None), (False, tile)):
            if plain and height > 600:
                cells.append("not run")
                continue
            queue: multiprocessing.Queue[float] = context.Queue()
            process = context.Process(target=_peak, args=((height, width), scale, side, plain, queue))
            process.start()
            cells.append(f"{queue.get():.2f} GiB")
            process.join()
        print(f"| {height} x {width} | {' | '.join(cells)} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--tiles", type=int, nargs="+", default=[96, 192])
    parser.add_argument("--overlaps", type=int, nargs="+", default=[OVERLAP])
    parser.add_argument(
        "--largest", type=int, default=1200, help="side of the originals' middle that is taken"
    )
    parser.add_argument("--memory", type=int, help="tile for a table of memory, too")
    arguments = parser.parse_args()
    compare(arguments)
    if arguments.memory:
        memory(arguments.scale, arguments.memory)


if __name__ == "__main__":
    main()
