"""Patches per second: augmented, plain slices, and a loader that decodes a PNG for every patch, in one run.

    PYTHONPATH=src:. OMP_NUM_THREADS=1 python benchmarks/patches.py [--images 100]

prints a Markdown table for docs/data.md. The packs are made of synthetic 2K images in a temporary folder and
lie in the page cache. One thread; batches of 64 LR patches of 48x48 with their HR patches, as uint8.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from alkdnet.data.images import read_rgb, write_png
from alkdnet.data.packs import Pack, PackedImages
from alkdnet.data.sampler import PatchSampler, crop_patches, draw
from alkdnet.device import keep_freed_memory
from benchmarks.resize import photograph

BATCH, PATCH = 64, 48
HEIGHT, WIDTH = 1356, 2040


def synthetic(folder: Path, images: int, scale: int) -> PackedImages:
    """Packs of random bytes: the content makes no difference to cropping."""
    random = np.random.default_rng(0)

    def pack(name: str, height: int, width: int) -> Pack:
        path = folder / f"{name}.bin"
        with path.open("wb") as file:
            for _ in range(images):
                file.write(random.bytes(height * width * 3))
        flat = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        starts = np.arange(images, dtype=np.int64) * height * width * 3
        return Pack(path, flat, np.full(images, height), np.full(images, width), starts)

    lr, hr = pack(f"x{scale}", HEIGHT // scale, WIDTH // scale), pack("hr", HEIGHT, WIDTH)
    return PackedImages(scale=scale, digest="", names=tuple(map(str, range(images))), lr=lr, hr=hr)


def rates(calls: dict[str, Callable[[int], object]], batches: int, rounds: int = 5) -> dict[str, float]:
    """Return patches per second of processor time, medians over rounds in which the calls take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name, call in calls.items():
            start = time.thread_time()
            for i in range(batches):
                call(number * batches + i)
            seconds[name].append(time.thread_time() - start)
    return {name: batches * BATCH / median(values) for name, values in seconds.items()}


def measure(packed: PackedImages) -> dict[str, float]:
    """Time one scale."""
    lr_images, hr_images, scale = packed.lr.images(), packed.hr.images(), packed.scale
    for images in (lr_images, hr_images):  # every page once
        for image in images:
            image[:, ::1365].sum()
    sampler = PatchSampler(
        packed, seed=0, batch_size=BATCH, patch_size=PATCH, device=torch.device("cpu"), resident=False
    )

    def plain(iteration: int) -> None:
        drawn = draw(packed, seed=0, iteration=iteration, patch_size=PATCH, count=BATCH)
        lr = np.empty((BATCH, PATCH, PATCH, 3), np.uint8)
        hr = np.empty((BATCH, PATCH * scale, PATCH * scale, 3), np.uint8)
        for k in range(BATCH):
            i, y, x = drawn.image[k], drawn.row[k], drawn.column[k]
            lr[k] = lr_images[i][y : y + PATCH, x : x + PATCH]
            y, x = y * scale, x * scale
            hr[k] = hr_images[i][y : y + PATCH * scale, x : x + PATCH * scale]

    def augmented(iteration: int) -> None:
        drawn = draw(packed, seed=0, iteration=iteration, patch_size=PATCH, count=BATCH)
        crop_patches(lr_images, drawn, patch_size=PATCH)
        crop_patches(hr_images, drawn, patch_size=PATCH, scale=scale)

    return rates({"plain": plain, "augmented": augmented, "float32": sampler.batch}, batches=20)


def decoding(folder: Path) -> float:
    """Patches per second of a loader that decodes a 2K image for each."""
    write_png(folder / "image.png", photograph(HEIGHT, WIDTH))
    start = time.thread_time()
    for _ in range(10):
        read_rgb(folder / "image.png")[100:196, 100:196].copy()
    return 10 / (time.thread_time() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    images = parser.parse_args().images
    torch.set_num_threads(1)
    keep_freed_memory()  # as a training on a CPU does
    with tempfile.TemporaryDirectory() as name:
        decoded = decoding(Path(name))
        print(
            f"{images} images of {WIDTH}x{HEIGHT}; decoding a PNG for each patch: {decoded:.1f} patches/s\n"
        )
        print("| scale | plain slices, 1/s | augmented, 1/s | of plain | of decoding | as float32, 1/s |")
        print("|---|---|---|---|---|---|")
        for scale in (2, 3, 4):
            r = measure(synthetic(Path(name), images, scale))
            print(
                f"| x{scale} | {r['plain']:,.0f} | {r['augmented']:,.0f} | {r['augmented'] / r['plain']:.2f} "
                f"| {r['augmented'] / decoded:,.0f} | {r['float32']:,.0f} |"
            )


if __name__ == "__main__":
    main()
