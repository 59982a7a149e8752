"""Exact bicubic resizing against a plain NumPy version of the rule and against Pillow, in one run.

    PYTHONPATH=src OMP_NUM_THREADS=1 python benchmarks/resize.py

prints Markdown tables for docs/data.md. The three are called in turn, and medians of the thread's processor
time are taken, so that a busy machine disturbs little, and all alike. The plain version is also what tests
compare with.
"""

import io
import time
from collections.abc import Callable
from functools import partial
from math import ceil
from statistics import median

import numpy as np
import numpy.typing as npt
import PIL
import torch
from PIL import Image
from skimage import data

from alkdnet.data.resize import Border, downscale, upscale
from alkdnet.process import peak_memory_mib

Pixels = npt.NDArray[np.uint8]


def imresize(image_HWC: Pixels, scale: float, *, border: Border) -> Pixels:
    """Return what MATLAB's `imresize` makes of a uint8 image, written as MATLAB's own `contributions`."""
    rows = _resize_first_axis(image_HWC, scale, border)
    return _resize_first_axis(rows.swapaxes(0, 1), scale, border).swapaxes(0, 1)


def _resize_first_axis(image: Pixels, scale: float, border: Border) -> Pixels:
    length = image.shape[0]
    shrink = min(scale, 1.0)
    width = 4 / shrink
    # 1e-9: 1 / (1 / s) may exceed s in the last bit.
    centre = np.arange(1, ceil(length * scale - 1e-9) + 1) / scale + 0.5 * (1 - 1 / scale)
    positions = np.floor(centre - width / 2)[:, None] + np.arange(ceil(width) + 2)
    distance = np.abs(shrink * (centre[:, None] - positions))
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance <= 1, near, np.where(distance <= 2, far, 0.0))
    weights /= weights.sum(axis=1, keepdims=True)
    zero_based = positions.astype(int) - 1
    if border == "replicate":
        indices = zero_based.clip(0, length - 1)
    else:
        indices = np.concatenate([np.arange(length), np.arange(length)[::-1]])[zero_based % (2 * length)]
    sums = (weights[:, :, None, None] * image[indices]).sum(axis=1)
    resized: Pixels = np.floor(sums + 0.5).clip(0, 255).astype(np.uint8)
    return resized


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Call everything in turn, `rounds` times after a warm-up, and return the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            if number:
                seconds[name].append(time.thread_time() - start)
    return {name: median(values) for name, values in seconds.items()}


def photograph(height: int, width: int) -> Pixels:
    """A picture of the wanted size made of a photograph that comes with scikit-image."""
    astronaut_HWC: Pixels = data.astronaut()  # type: ignore[no-untyped-call]
    return np.asarray(Image.fromarray(astronaut_HWC).resize((width, height), Image.Resampling.LANCZOS))


def _resizing(height: int, width: int) -> None:
    print(f"\n| {width}x{height} | plain NumPy, ms | Pillow BICUBIC, ms | this, ms | of plain | of Pillow |")
    print("|---|---|---|---|---|---|")
    hr = photograph(height, width)
    for scale in (2, 3, 4):
        pillow_hr, lr = Image.fromarray(hr), downscale(hr, scale)
        pillow_lr = Image.fromarray(lr)
        small, large = (width // scale, height // scale), (width, height)
        bicubic = Image.Resampling.BICUBIC
        comparisons: dict[str, dict[str, Callable[[], object]]] = {
            f"x1/{scale}": {
                "plain": partial(imresize, hr, 1 / scale, border="replicate"),
                "Pillow": partial(pillow_hr.resize, small, bicubic),
                "this": partial(downscale, hr, scale),
            },
            f"x{scale}": {
                "plain": partial(imresize, lr, scale, border="replicate"),
                "Pillow": partial(pillow_lr.resize, large, bicubic),
                "this": partial(upscale, lr, scale),
            },
        }
        for name, calls in comparisons.items():
            t = interleaved(calls, 7)
            plain, pillow, ours = t["plain"] * 1e3, t["Pillow"] * 1e3, t["this"] * 1e3
            print(
                f"| {name} | {plain:.0f} | {pillow:.1f} | {ours:.1f} "
                f"| {plain / ours:.0f} times as fast | {pillow / ours:.2f} times as fast |"
            )


def _encoding() -> None:
    print("\n| zlib level | encode, ms/Mpixel | bytes/pixel |")
    print("|---|---|---|")
    image = Image.fromarray(downscale(photograph(1356, 2040), 2))
    megapixels = image.width * image.height / 1e6
    for level in (1, 3, 6, 9):
        buffer = io.BytesIO()
        start = time.thread_time()
        image.save(buffer, "PNG", compress_level=level)
        elapsed = time.thread_time() - start
        print(f"| {level} | {elapsed * 1e3 / megapixels:.0f} | {buffer.tell() / megapixels / 1e6:.2f} |")


def _memory() -> None:
    image = np.zeros((10_000, 10_000, 3), np.uint8)
    image[::7] = 200
    before = peak_memory_mib() or 0.0
    downscale(image, 2)
    peak = (peak_memory_mib() or 0.0) - before
    print(f"\n100 megapixels, x1/2: {peak:.0f} MiB on top of the image, of which 72 are the result")


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, Pillow {PIL.__version__}, NumPy {np.__version__}, one thread")
    _memory()
    _resizing(1356, 2040)
    _encoding()
