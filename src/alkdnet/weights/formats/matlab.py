"""MATLAB's .mat files of versions 5 to 7, little-endian: numbers, alone or in structures and cells.

Not by SciPy, whose reader may end the process on a damaged file. Layout: "MAT-File Format", MathWorks.
A file is a header and elements; an element is u32 type, u32 size and data padded to 8 bytes, or, if it has at
most 4 bytes, u16 type, u16 size and data padded to 4. An array is an element of elements: flags, sizes, name,
then its numbers or the arrays that it holds.
"""

import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alkdnet.weights.formats.binary import Cursor

HEADER, VERSION = 128, b"\x00\x01IM"
MATRIX, COMPRESSED = 14, 15
# NumPy's types by those of stored numbers, and by the classes of arrays that these stand for.
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CELL, STRUCTURE = 1, 2
NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


def read(path: Path) -> dict[str, Tensor]:
    """Return the numeric arrays with MATLAB's axes; the members of structures and cells as `a.b.0`."""
    cursor = Cursor(path.read_bytes())
    version = bytes(cursor.take(HEADER)[-4:])
    if version != VERSION:
        raise ValueError(f"version {version!r}, not {VERSION!r}")
    tensors = {}
    while not cursor.at_end:
        kind, content = _element(cursor)
        if kind == COMPRESSED:
            kind, content = _element(Cursor(zlib.decompress(content)))
        if kind == MATRIX:
            tensors.update({name: torch.from_numpy(array) for name, array in _arrays(Cursor(content))})
    return tensors


def _arrays(cursor: Cursor, prefix: str | None = None) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Yield the numeric arrays in an array, named after it, or after `prefix` where it has no name."""
    if cursor.at_end:  # an empty member
        return
    array_class = int(_numbers(cursor)[0]) & 0xFF
    sizes = [int(size) for size in _numbers(cursor)]
    own_name = _numbers(cursor).tobytes().decode("ascii")
    name = own_name if prefix is None else prefix
    if array_class in NUMBERS:
        stored = _numbers(cursor)
        yield name, np.ascontiguousarray(stored.reshape(sizes, order="F").astype(NUMBERS[array_class]))
        return
    if array_class == CELL:
        members = [""]
    elif array_class == STRUCTURE:
        length = int(_numbers(cursor)[0])
        text = _numbers(cursor).tobytes().decode("ascii")
        members = [f".{text[i : i + length].rstrip(chr(0))}" for i in range(0, len(text), length)]
    else:
        raise ValueError(f"{name} is an array of class {array_class}, not of numbers")
    count = prod(sizes)
    for number in range(count):
        for member in members:
            kind, content = _element(cursor)
            if kind != MATRIX:
                raise ValueError(f"{name} holds an element of type {kind}, not an array")
            index = "" if count == 1 else f".{number}"
            yield from _arrays(Cursor(content), f"{name}{index}{member}")


def _numbers(cursor: Cursor) -> NDArray[np.generic]:
    kind, content = _element(cursor)
    if kind not in STORED:
        raise ValueError(f"an element of type {kind} instead of numbers")
    return np.frombuffer(content, dtype=f"<{STORED[kind]}")


def _element(cursor: Cursor) -> tuple[int, bytes]:
    """Return type and data of the next element."""
    (start,) = cursor.values("I")
    size, kind = divmod(start, 1 << 16)
    if size:
        return kind, bytes(cursor.take(4)[:size])
    (size,) = cursor.values("I")
    content = bytes(cursor.take(size))
    if kind != COMPRESSED and not cursor.at_end:
        cursor.take(-size % 8)
    return kind, content
