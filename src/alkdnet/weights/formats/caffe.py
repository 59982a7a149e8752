"""Caffe's .caffemodel files: a protocol buffer of layers, each with its blobs.

The fields that count here, from caffe.proto: NetParameter.layer = 100; LayerParameter.name = 1, .blobs = 7;
BlobProto.data = 5 (packed float), .shape = 7; BlobShape.dim = 1 (packed varint).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alkdnet.weights.formats.binary import Cursor

LAYER, NAME, BLOBS, DATA, SHAPE, DIM = 100, 1, 7, 5, 7, 1
PARTS = ("weight", "bias")


def read(path: Path) -> dict[str, Tensor]:
    """Return the first two blobs of every layer as `<layer>.weight` and `<layer>.bias`."""
    tensors = {}
    for layer in _fields(path.read_bytes(), LAYER):
        (name,) = _fields(layer, NAME)
        for part, blob in zip(PARTS, _fields(layer, BLOBS), strict=False):
            tensors[f"{str(name, 'utf-8')}.{part}"] = _tensor(blob)
    return tensors


def _tensor(blob: bytes | memoryview) -> Tensor:
    (data,) = _fields(blob, DATA)
    (shape,) = _fields(blob, SHAPE)
    sizes: list[int] = []
    for packed in _fields(shape, DIM):
        cursor = Cursor(bytes(packed))
        while not cursor.at_end:
            sizes.append(_varint(cursor))
    return torch.from_numpy(np.frombuffer(data, dtype="<f4").reshape(sizes).copy())


def _fields(message: bytes | memoryview, number: int) -> Iterator[memoryview]:
    """Yield the values of one field of length-delimited kind; skip all others."""
    cursor = Cursor(bytes(message))
    while not cursor.at_end:
        field, kind = divmod(_varint(cursor), 8)
        if kind == 0:
            _varint(cursor)
        elif kind == 1:
            cursor.take(8)
        elif kind == 2:
            value = cursor.take(_varint(cursor))
            if field == number:
                yield value
        elif kind == 5:
            cursor.take(4)
        else:
            raise ValueError(f"no protocol buffer: a field of kind {kind}")


def _varint(cursor: Cursor) -> int:
    value = shift = 0
    while shift < 64:
        byte = cursor.take(1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7
    raise ValueError("no protocol buffer: a number of more than 64 bits")
