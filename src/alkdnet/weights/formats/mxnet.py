"""MXNet's .params files of dense float32 arrays.

Layout (little-endian): u64 0x112, u64 reserved, u64 number of arrays; each array: u32 0xF993FAC9, i32 storage
(0: dense), u32 rank, i64 sizes, i32 and i32 device, i32 type (0: float32), data; then u64 number of names;
each name: u64 length, text, as `arg:<name>` or `aux:<name>`.
"""

from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alkdnet.weights.formats.binary import Cursor

FILE, ARRAY = 0x112, 0xF993FAC9
DENSE, FLOAT32 = 0, 0


def read(path: Path) -> dict[str, Tensor]:
    """Return the arrays."""
    cursor = Cursor(path.read_bytes())
    magic, _, count = cursor.values("QQQ")
    if magic != FILE:
        raise ValueError(f"starts with {magic:#x}, not {FILE:#x}")
    arrays = [_array(cursor) for _ in range(count)]
    (names,) = cursor.values("Q")
    if names != count:
        raise ValueError(f"{names} names for {count} arrays")
    return {_text(cursor): array for array in arrays}


def _array(cursor: Cursor) -> Tensor:
    magic, storage, rank = cursor.values("IiI")
    if magic != ARRAY or storage != DENSE:
        raise ValueError(f"an array of kind {magic:#x}, storage {storage}; known is {ARRAY:#x}, {DENSE}")
    sizes = cursor.values(f"{rank}q")
    _, _, number_type = cursor.values("iii")
    if number_type != FLOAT32:
        raise ValueError(f"numbers of type {number_type}; known is {FLOAT32}, float32")
    data = cursor.take(4 * prod(sizes))
    return torch.from_numpy(np.frombuffer(data, dtype="<f4").reshape(sizes).copy())


def _text(cursor: Cursor) -> str:
    (length,) = cursor.values("Q")
    return str(cursor.take(length), "utf-8")
