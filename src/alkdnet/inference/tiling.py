"""Inference in overlapping tiles, for images whose features do not fit into memory.

What makes tiles differ from the whole image are the attentions. The channel attention takes its statistics
from the tile: so a network that has some sees all tiles twice, the second time with the statistics of the
image that the first sweep found. The spatial attention stretches its coarse grid over the tile: here it is
laid as it lies over the image. What remains is below 0.01 dB on average:
docs/inference.md.

Shape letters: B batch, C channels, H and W the LR size, s the scale.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

import torch
from torch import Tensor, nn

from alkdnet.kernels.cpu.strips import pooled
from alkdnet.layers.attention import CCA, ESA, Resize

# ALKDNet's spatial attention works on a grid of every sixth pixel (a convolution of stride 2, a pool of
# stride 3): tiles start at multiples of 6, so that the grid of a tile lies on that of its neighbours.
GRID = 6
# The coarse grid sees some 30 pixels around: with half of this, some images differ by 0.01 dB or more.
OVERLAP = 48

Span = tuple[int, int]


@dataclass
class _Sweep:
    """One pass over the tiles of an image: what the attentions have to know, and what they meet.

    `size`: H and W of the image. `taken`: by channel attention, what its weights are computed from; empty in
    the first sweep, when every tile takes its own. `counts`: the pixels of every tile's core. `means`,
    `squares`: by channel attention, those of every core. `start`: first row and column of the tile at work.
    `core`: the part of it that counts.
    """

    size: tuple[int, int]
    taken: dict[int, Tensor]
    counts: list[int] = field(default_factory=list)
    means: dict[int, list[Tensor]] = field(default_factory=dict)
    squares: dict[int, list[Tensor]] = field(default_factory=dict)
    start: tuple[int, int] = (0, 0)
    core: tuple[slice, slice] = (slice(None), slice(None))

    def meet(self, attention: int, x_BCHW: Tensor) -> None:
        """Note the statistics of what an attention sees of a tile."""
        core_BCHW = x_BCHW[..., self.core[0], self.core[1]].float()  # squares overflow in float16
        mean_BC11 = core_BCHW.mean((2, 3), keepdim=True)
        self.means.setdefault(attention, []).append(mean_BC11)
        self.squares.setdefault(attention, []).append(
            (core_BCHW - mean_BC11).square().sum((2, 3), keepdim=True)
        )

    def met(self) -> dict[int, Tensor]:
        """Return, by channel attention, deviation plus mean over the whole image."""
        return {
            number: torch.add(*pooled(self.counts, means, self.squares[number]))
            for number, means in self.means.items()
        }


def attentions_of(network: nn.Module) -> list[CCA | ESA]:
    """Return the attentions of a network that can see a tile as a part of the image."""
    return [module for module in network.modules() if isinstance(module, CCA | ESA)]


class Tiled:
    """A network applied tile by tile; where tiles overlap, their outputs are blended linearly.

    Several threads may call it at once.

    Args:
        network: (B, 3, H, W) -> (B, 3, Hs, Ws).
        tile: side of a tile in LR pixels; it is rounded down to a multiple of 6.
        overlap: LR pixels that neighbouring tiles share at least; a multiple of 6.
        attentions: those that shall see a tile as a part of the image, usually `attentions_of` the network.
            They get a hook, which does nothing when the network is called otherwise.

    Raises:
        ValueError: the tile is not larger than the overlap.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        *,
        tile: int,
        overlap: int = OVERLAP,
        attentions: Sequence[CCA | ESA] = (),
    ) -> None:
        if overlap % GRID:
            raise ValueError(f"overlap must be a multiple of {GRID}, not {overlap}")
        self._network = network
        self._tile = tile - tile % GRID
        self._overlap = overlap
        if self._tile <= overlap:
            raise ValueError(f"a tile must be at least {overlap + GRID}, not {tile}")
        self._needs_statistics = any(isinstance(attention, CCA) for attention in attentions)
        self._of_thread = threading.local()
        for number, attention in enumerate(attentions):
            if isinstance(attention, CCA):
                attention.register_forward_hook(self._weighting(number))
            else:
                attention.resize.register_forward_hook(self._laying(attention))

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Return the whole image's output."""
        y_BCHW: Tensor | None = None
        top = 0
        for band_BCHW in self.bands(x_BCHW):
            if y_BCHW is None:
                s = band_BCHW.shape[3] // x_BCHW.shape[3]
                y_BCHW = band_BCHW.new_empty(*band_BCHW.shape[:2], x_BCHW.shape[2] * s, x_BCHW.shape[3] * s)
            y_BCHW[:, :, top : top + band_BCHW.shape[2]] = band_BCHW
            top += band_BCHW.shape[2]
        assert y_BCHW is not None
        return y_BCHW

    def bands(self, x_BCHW: Tensor, on_tile: Callable[[float], None] = lambda _: None) -> Iterator[Tensor]:
        """Yield the output from top to bottom in float32, as many rows at a time as are finished.

        No more than a row of tiles is held. `on_tile` is called after every tile with its share of the work.
        """
        rows, columns = (self._spans(size) for size in x_BCHW.shape[2:])
        size = x_BCHW.shape[2], x_BCHW.shape[3]
        sweeps = 2 if self._needs_statistics and len(rows) * len(columns) > 1 else 1
        share = 1 / (sweeps * len(rows) * len(columns))
        sweep = _Sweep(size, {})
        if sweeps == 2:
            for _ in self._outputs(x_BCHW, rows, columns, sweep):
                on_tile(share)
            sweep = _Sweep(size, sweep.met())
        band_BCHW: Tensor | None = None
        for (top, bottom), (left, right), out_BCHW in self._outputs(x_BCHW, rows, columns, sweep):
            s = out_BCHW.shape[2] // (bottom - top)
            if band_BCHW is None:
                weights_H, weights_W = (_weights(spans, s, self._overlap) for spans in (rows, columns))
                band_BCHW, band_top = _empty(out_BCHW, 0, size[1] * s), 0
            if left == 0:  # a new row of tiles: what is above it is finished
                finished = (top - band_top) * s
                if finished:
                    yield band_BCHW[:, :, :finished]
                rest_BCHW = band_BCHW[:, :, finished:]
                band_BCHW, band_top = _empty(out_BCHW, (bottom - top) * s, size[1] * s), top
                band_BCHW[:, :, : rest_BCHW.shape[2]] = rest_BCHW
            weights_HW = weights_H[top, bottom][:, None] * weights_W[left, right]
            band_BCHW[:, :, :, left * s : right * s] += out_BCHW * weights_HW.to(out_BCHW.device)
            on_tile(share)
        assert band_BCHW is not None
        yield band_BCHW

    def _outputs(
        self, x_BCHW: Tensor, rows: list[Span], columns: list[Span], sweep: _Sweep
    ) -> Iterator[tuple[Span, Span, Tensor]]:
        """Yield the rows, the columns and the output of every tile."""
        cores = _cores(rows), _cores(columns)
        for (top, bottom), (left, right) in product(rows, columns):
            sweep.start = top, left
            sweep.core = cores[0][top, bottom], cores[1][left, right]
            height, width = (core.stop - core.start for core in sweep.core)
            sweep.counts.append(height * width)
            self._of_thread.sweep = sweep
            try:
                out_BCHW = self._network(x_BCHW[:, :, top:bottom, left:right])
            finally:
                self._of_thread.sweep = None
            yield (top, bottom), (left, right), out_BCHW

    def _weighting(self, number: int) -> Callable[[CCA, tuple[Tensor], Tensor], Tensor | None]:
        """Return the hook of a channel attention, which exchanges its output."""

        def hook(attention: CCA, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
            sweep: _Sweep | None = getattr(self._of_thread, "sweep", None)
            if sweep is None:
                return None
            (x_BCHW,) = inputs
            if not sweep.taken:
                sweep.meet(number, x_BCHW)
                return None
            weighted_BCHW: Tensor = x_BCHW * attention.excite(sweep.taken[number].to(x_BCHW))
            return weighted_BCHW

        return hook

    def _laying(
        self, attention: ESA
    ) -> Callable[[Resize, tuple[Tensor, Sequence[int]], Tensor], Tensor | None]:
        """Return the hook that exchanges the resized context of a spatial attention."""

        def hook(resize: Resize, inputs: tuple[Tensor, Sequence[int]], output: Tensor) -> Tensor | None:
            sweep: _Sweep | None = getattr(self._of_thread, "sweep", None)
            if sweep is None:
                return None
            context_BCHW, shape = inputs
            for axis, start, size, pixels in zip((2, 3), sweep.start, sweep.size, shape, strict=True):
                # A network pads an image that is too small for its attention: then the tile is larger.
                context_BCHW = _resized(attention, context_BCHW, axis, start, pixels, max(size, pixels))
            return context_BCHW

        return hook

    def _spans(self, size: int) -> list[Span]:
        """Return start and end of the tiles along one side: as few as possible, spread evenly."""
        if size <= self._tile:
            return [(0, size)]
        step = self._tile - self._overlap
        count = -(-(size - self._tile) // step) + 1
        last = -(-(size - self._tile) // GRID)  # in cells of the grid
        starts = [last * i // (count - 1) * GRID for i in range(count)]
        return [(start, min(start + self._tile, size)) for start in starts]


def _empty(like: Tensor, height: int, width: int) -> Tensor:
    """Return zeros in float32 for sums of tiles that are weighted."""
    return torch.zeros(*like.shape[:2], height, width, device=like.device)


def _resized(esa: ESA, context: Tensor, axis: int, start: int, pixels: int, size: int) -> Tensor:
    """Resize a tile's context along an axis as `F.interpolate` resizes that of the whole image there.

    Args:
        esa: the attention.
        context: on the tile's coarse grid.
        axis: 2 or 3.
        start: the tile's first pixel, a multiple of 6.
        pixels: the tile's length.
        size: the image's length.
    """
    cells = esa.cells(size)
    position = ((torch.arange(start, start + pixels) + 0.5) * (cells / size) - 0.5).clamp_(min=0)
    below = position.floor()
    # The image's last cell, then the tile's first and last: its neighbours know the cells beyond.
    first, second = (
        (cell.clamp(max=cells - 1) - start // GRID)
        .clamp_(0, context.shape[axis] - 1)
        .long()
        .to(context.device)
        for cell in (below, below + 1)
    )
    share = (position - below).to(context).view(-1, *[1] * (3 - axis))
    return context.index_select(axis, first) * (1 - share) + context.index_select(axis, second) * share


def _cores(spans: list[Span]) -> dict[Span, slice]:
    """Return the part of every tile, counted from its start, that is nearer to it than to its neighbours.

    The parts of all tiles are the whole image, once.
    """
    ends = [(end + start) // 2 for (_, end), (start, _) in pairwise(spans)]
    borders = pairwise([spans[0][0], *ends, spans[-1][1]])
    return {
        span: slice(first - span[0], last - span[0])
        for span, (first, last) in zip(spans, borders, strict=True)
    }


def _weights(spans: list[Span], scale: int, overlap: int) -> dict[Span, Tensor]:
    """Return the weights of every tile at its output pixels along one side; those of all tiles add up to one.

    They fall linearly over the middle half of an overlap: the outer quarter at each of a tile's ends inside
    the image knows too little of what is beyond.
    """
    size = spans[-1][1]
    margin, ramp = overlap // 4 * scale, max(overlap - 2 * (overlap // 4), 1) * scale
    total = torch.zeros(size * scale)
    weights = {}
    for start, end in spans:
        length = (end - start) * scale
        distance = torch.arange(length) + 0.5
        before = distance if start > 0 else torch.full_like(distance, torch.inf)
        after = distance.flip(0) if end < size else torch.full_like(distance, torch.inf)
        weights[start, end] = (torch.minimum(before, after) - margin).clamp_(0, ramp)
        total[start * scale : end * scale] += weights[start, end]
    return {
        (start, end): weight / total[start * scale : end * scale] for (start, end), weight in weights.items()
    }
