"""Inference in overlapping tiles, for images whose features do not fit into memory.

Tiles are not equal to the whole image: the channel attention takes its statistics from the tile, and the
spatial attention lays its coarse grid over the tile. docs/inference.md says by how much on real images.

Shape letters: B batch, H and W the LR size, s the scale.
"""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

# ALKDNet's spatial attention works on a grid of every sixth pixel (a convolution of stride 2, a pool of
# stride 3): tiles start at multiples of 6, so that the grid of a tile lies on that of its neighbours.
GRID = 6
OVERLAP = 24


class Tiled:
    """A network applied tile by tile; where tiles overlap, their outputs are blended linearly.

    Args:
        network: (B, 3, H, W) -> (B, 3, Hs, Ws).
        tile: side of a tile in LR pixels; it is rounded down to a multiple of 6.
        overlap: LR pixels that neighbouring tiles share at least; a multiple of 6.

    Raises:
        ValueError: the tile is not larger than the overlap.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], *, tile: int, overlap: int = OVERLAP) -> None:
        if overlap % GRID:
            raise ValueError(f"overlap must be a multiple of {GRID}, not {overlap}")
        self._network = network
        self._tile = tile - tile % GRID
        self._overlap = overlap
        if self._tile <= overlap:
            raise ValueError(f"a tile must be at least {overlap + GRID}, not {tile}")

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Return the whole image's output."""
        rows, columns = (self._spans(size) for size in x_BCHW.shape[2:])
        y_BCHW: Tensor | None = None
        for (top, bottom), (left, right) in product(rows, columns):
            out_BCHW = self._network(x_BCHW[:, :, top:bottom, left:right])
            s = out_BCHW.shape[2] // (bottom - top)
            if y_BCHW is None:
                y_BCHW = out_BCHW.new_zeros(*out_BCHW.shape[:2], x_BCHW.shape[2] * s, x_BCHW.shape[3] * s)
                weights_H, weights_W = (_weights(spans, s, self._overlap) for spans in (rows, columns))
            weights_HW = weights_H[top, bottom][:, None] * weights_W[left, right]
            y_BCHW[:, :, top * s : bottom * s, left * s : right * s] += out_BCHW * weights_HW.to(out_BCHW)
        assert y_BCHW is not None
        return y_BCHW

    def _spans(self, size: int) -> list[tuple[int, int]]:
        """Return start and end of the tiles along one side: as few as possible, spread evenly."""
        if size <= self._tile:
            return [(0, size)]
        step = self._tile - self._overlap
        count = -(-(size - self._tile) // step) + 1
        last = -(-(size - self._tile) // GRID)  # in cells of the grid
        starts = [last * i // (count - 1) * GRID for i in range(count)]
        return [(start, min(start + self._tile, size)) for start in starts]


def _weights(spans: list[tuple[int, int]], scale: int, overlap: int) -> dict[tuple[int, int], Tensor]:
    """Return the weights of every tile at its output pixels along one side; those of all tiles add up to one.

    They fall linearly towards the ends that lie inside the image.
    """
    size = spans[-1][1]
    total = torch.zeros(size * scale)
    weights = {}
    for start, end in spans:
        length = (end - start) * scale
        distance = torch.arange(length) + 0.5
        before = distance if start > 0 else torch.full_like(distance, torch.inf)
        after = distance.flip(0) if end < size else torch.full_like(distance, torch.inf)
        weights[start, end] = torch.minimum(before, after).clamp_(max=max(overlap, 1) * scale)
        total[start * scale : end * scale] += weights[start, end]
    return {
        (start, end): weight / total[start * scale : end * scale] for (start, end), weight in weights.items()
    }
