"""How many columns, strips and rows a program takes, by the shape of the features alone.

There is no tuning at run time: another choice in the next process would be another order of summation, and
so other bits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Rows that a strip can have. Of the least, most of what is loaded are the rows around it.
ROWS = (48, 32, 24, 16, 12, 8, 6, 4, 2)
# Fewer only where the image has no more.
LEAST_ROWS = 8
# Rows below the image that are computed for nothing, in parts of its height.
WASTE = 0.125
WARP = 32
# A tile is at most that many strips wide.
MOST_STRIPS = 16
# Of an H100 and an H200; on other GPUs the results are as right and the programs less evenly spread.
MULTIPROCESSORS = 132
# Arguments that are numbers when the kernel runs: images of all sizes share one compiled kernel.
SIZES = ("H", "W", "out_height", "out_width", "pad_above", "pad_left", "bands", "rows")
# What the kernels compute with; float64 stays with PyTorch.
SUPPORTED = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Tiling:
    """The launch of a kernel that walks down strips of columns; see elementary.py."""

    constants: dict[str, int]
    """What the compiler must know: channels C, CP padded to a power of two, columns P, strips G."""
    rows: int
    """Of a strip."""
    bands: int
    """Strips above one another in an image."""
    grid: tuple[int, int]
    warps: int


def tiling(
    batch: int,
    height: int,
    width: int,
    channels: int,
    *,
    columns: int,
    per_thread: int,
    programs: int = 768,
    warps: int = 4,
) -> Tiling:
    """Return the launch for an output of this size.

    The numbers that the kernels pass were the fastest on an H200 at batch 64 of 48 x 48.

    Args:
        batch: B.
        height: H.
        width: W.
        channels: C.
        columns: P.
        per_thread: channels that a thread should have; with P it decides how many registers are needed.
        programs: as many as fit on the multiprocessors at once, or twice that; strips are shortened for it.
        warps: of a program, if the image is wide enough.
    """
    padded = power_of_two(channels)
    strips = min(warps * WARP * per_thread // padded, MOST_STRIPS, power_of_two(-(-width // columns)))
    strips = max(strips, 1)
    beside = -(-width // (columns * strips))
    long = [rows for rows in ROWS if rows >= min(height, LEAST_ROWS)]
    fitting = [rows for rows in long if -height % rows <= height * WASTE] or long
    enough = [rows for rows in fitting if batch * beside * -(-height // rows) >= programs]
    rows = max(enough, default=min(fitting))
    bands = -(-height // rows)
    return Tiling(
        constants={"C": channels, "CP": padded, "P": columns, "G": strips},
        rows=rows,
        bands=bands,
        grid=(batch * bands, beside),
        warps=min(max(strips * padded // (WARP * per_thread), 1), 16),
    )


def tiles_per_program(tiles: int, resident: int) -> int:
    """Return how many tiles one program takes, one after the other, for all programs to run at once.

    A second, half empty round of programs would take as long as the first, and every program loads the
    weights and stores its sums.

    Args:
        tiles: of all programs together.
        resident: programs that one multiprocessor holds, which their registers decide.
    """
    return max(-(-tiles // (MULTIPROCESSORS * resident)), 1)


def pixel_stride(x_BHWC: Tensor) -> int:
    """Return the number of values from one pixel of channels-last features to the next.

    All pixels must have that distance; an axis of length 1 can have any stride.
    """
    return next((x_BHWC.stride(axis) for axis in (2, 1, 0) if x_BHWC.shape[axis] > 1), x_BHWC.shape[3])


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()


def laid_out_as(flat: Tensor, parameter: Tensor) -> Tensor:
    """Return a gradient in the parameter's shape and strides, without a copy.

    A depthwise weight (C, 1, h, w) and that of a 1x1 convolution (O, I, 1, 1) have one order in memory in
    both layouts, but other strides along axes of length 1, and DistributedDataParallel warns and copies where
    they differ.
    """
    if parameter.dim() == 4:
        outputs, inputs, height, width = parameter.shape
        channels_last = flat.view(outputs, height, width, inputs).permute(0, 3, 1, 2)
        if channels_last.stride() == parameter.stride():
            return channels_last
    return flat.view(parameter.shape)
