"""ncnn's pairs of files: .param, a text of layers, and beside it .bin, their numbers one after the other.

A convolution's weights are float16 after the tag 0x01306B47, padded to 4 bytes, or float32 after a 0; its
bias and a normalisation's scale and shift are float32 without a tag.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alkdnet.weights.formats.binary import Cursor

TEXT = "7767517"
HALF, SINGLE = 0x01306B47, 0
CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
# Keys of a convolution in the text.
OUT, KERNEL_WIDTH, BIAS, SIZE, KERNEL_HEIGHT = 0, 1, 5, 6, 11
# Keys of a layer normalisation.
CHANNELS, AFFINE = 0, 2


def read(path: Path) -> dict[str, Tensor]:
    """Return `<layer>.weight` and `<layer>.bias` of all convolutions and normalisations, in their order.

    Args:
        path: the .param file.
    """
    magic, _, *lines = path.read_text(encoding="ascii").splitlines()
    if magic != TEXT:
        raise ValueError(f"starts with {magic[:20]!r}, not {TEXT}")
    cursor = Cursor(path.with_suffix(".bin").read_bytes())
    tensors: dict[str, Tensor] = {}
    for line in lines:
        kind, name, inputs, outputs, *rest = line.split()
        settings = dict(item.split("=", 1) for item in rest[int(inputs) + int(outputs) :])
        numbers = {int(key): int(value) for key, value in settings.items() if value.isdecimal()}
        if kind in CONVOLUTIONS:
            tensors[f"{name}.weight"] = _convolution(cursor, numbers)
            if numbers.get(BIAS, 0):
                tensors[f"{name}.bias"] = _single(cursor, numbers[OUT])
        elif kind == "LayerNorm" and numbers.get(AFFINE, 1):
            tensors[f"{name}.weight"] = _single(cursor, numbers[CHANNELS])
            tensors[f"{name}.bias"] = _single(cursor, numbers[CHANNELS])
    if not cursor.at_end:
        raise ValueError("the .bin file has more numbers than the .param file has layers for")
    return tensors


def _convolution(cursor: Cursor, numbers: dict[int, int]) -> Tensor:
    out, width = numbers[OUT], numbers[KERNEL_WIDTH]
    height = numbers.get(KERNEL_HEIGHT, width)
    count = numbers[SIZE]
    (tag,) = cursor.values("I")
    if tag == HALF:
        data = np.frombuffer(cursor.take(2 * count), dtype="<f2")
        cursor.take(-2 * count % 4)
        weight = torch.from_numpy(data.astype(np.float32))
    elif tag == SINGLE:
        weight = _single(cursor, count)
    else:
        raise ValueError(f"weights coded as {tag:#x}; known are {HALF:#x} and {SINGLE}")
    return weight.reshape(out, -1, height, width)


def _single(cursor: Cursor, count: int) -> Tensor:
    return torch.from_numpy(np.frombuffer(cursor.take(4 * count), dtype="<f4").copy())
