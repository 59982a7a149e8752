"""An image in strips of rows, so that what one layer writes is still in the cache when the next reads it.

Shape letters: P pixels of a strip (its rows times W), C and D channels, H and W the size of the image.
A strip is a contiguous matrix PC; the same memory is a channels-last image of one batch entry.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

# Bounds of the length of a strip: shorter ones spend their time on starting operations, some 30 microseconds
# each; in longer ones nothing is faster (measured on an Intel Xeon with a last-level cache of 480 MB).
LEAST_PIXELS, MOST_PIXELS = 20_000, 60_000
# Of 64 channels in float32, of which a handful of strips are in use at once.
BYTES_PER_PIXEL = 6 * 256
LAST_LEVEL_CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
# Pixels that PyTorch adds up one after the other: 64 channels are 1 MB, and the rounding error is 1e-6.
SUMMED_PIXELS = 4096


def best_strip_pixels() -> int:
    """Return the length of a strip that is aimed at: a handful of them fills the last-level cache."""
    try:
        cache = 1024 * int(LAST_LEVEL_CACHE.read_text().removesuffix("K\n"))
    except (OSError, ValueError):  # not Linux, or a CPU without one
        return LEAST_PIXELS
    return min(max(cache // BYTES_PER_PIXEL, LEAST_PIXELS), MOST_PIXELS)


class Grid:
    """The division of an image into strips of whole rows, of heights that differ by at most one row.

    Args:
        height: H of the image.
        width: W of the image.
        pixels: the length of a strip that is aimed at.
        halo: the least number of rows of a strip, unless the image is one strip.
    """

    def __init__(self, height: int, width: int, *, pixels: int, halo: int) -> None:
        self.height, self.width = height, width
        count = max(1, min(round(height * width / pixels), height // max(halo, 1)))
        self.rows = list(pairwise(height * i // count for i in range(count + 1)))

    def split(self, image_PC: Tensor) -> list[Tensor]:
        """Return the strips of an image as views."""
        return [image_PC[start * self.width : end * self.width] for start, end in self.rows]

    def features(self, strip_PC: Tensor) -> Tensor:
        """Return a view of a strip (or of any rows of the image) as x_1CHW, channels-last."""
        return strip_PC.view(1, -1, self.width, strip_PC.shape[1]).permute(0, 3, 1, 2)

    def strip(self, x_1CHW: Tensor) -> Tensor:
        """Return features as a strip: a view of them if they are channels-last, else a copy."""
        return x_1CHW.permute(0, 2, 3, 1).reshape(-1, x_1CHW.shape[1])

    def windows(
        self, strips: Iterable[Tensor], halo: int, weight_CD: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every strip with its window: its 1x1 convolution between `halo` rows of its neighbours'.

        Outside the image are zeros. One strip more than was yielded has been pulled from `strips`.

        Args:
            strips: strips PC from the first to the last.
            halo: rows on each side, at most the rows of a strip (unless there is only one).
            weight_CD: of the 1x1 convolution; None for the identity.

        Yields:
            (strip PC, window QD), Q = (rows + 2 halo) W.
        """
        edge = halo * self.width
        before: tuple[Tensor, Tensor] | None = None
        for strip_PC in strips:
            channels = strip_PC.shape[1] if weight_CD is None else weight_CD.shape[1]
            window_QD = strip_PC.new_empty(len(strip_PC) + 2 * edge, channels)
            inner_PD = window_QD[edge : len(window_QD) - edge]
            if weight_CD is None:
                inner_PD.copy_(strip_PC)
            else:
                torch.mm(strip_PC, weight_CD, out=inner_PD)
            if before is None:
                window_QD[:edge].zero_()
            else:
                above_QD = before[1]
                above_QD[len(above_QD) - edge :] = inner_PD[:edge]
                window_QD[:edge] = above_QD[len(above_QD) - 2 * edge : len(above_QD) - edge]
                yield before
            before = strip_PC, window_QD
        if before is not None:
            before[1][len(before[1]) - edge :].zero_()
            yield before


def moments(strips: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the (population) standard deviation and the mean of every channel over all strips.

    `torch.std_mean` over the pixels takes ten times as long.
    """
    parts = [part_PC for strip_PC in strips for part_PC in torch.split(strip_PC, SUMMED_PIXELS)]
    counts = [len(part_PC) for part_PC in parts]
    # The statistics of a batch normalisation, in its training; there are no running ones for a momentum.
    means, variances = zip(*(torch.batch_norm_update_stats(p, None, None, 0.0) for p in parts), strict=True)
    return pooled(counts, means, [var_C * n for var_C, n in zip(variances, counts, strict=True)])


def pooled(
    counts: Sequence[int], means: Sequence[Tensor], squares: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the (population) standard deviation and the mean of all parts of a whole, from those of each.

    Squares are summed around each part's own mean and then combined (Chan, Golub and LeVeque 1979): the plain
    sum of squares would cancel in float32.

    Args:
        counts: pixels of each part.
        means: of each part, tensors of one shape.
        squares: sums of the squared deviations from the part's mean, of the same shape.
    """
    total = sum(counts)
    means_S = torch.stack(list(means))
    share_S = torch.tensor(counts, dtype=torch.float32, device=means_S.device) / total
    share_S = share_S.view(-1, *[1] * (means_S.ndim - 1))
    mean = (share_S * means_S).sum(0)
    variance = torch.stack(list(squares)).sum(0) / total + (share_S * (means_S - mean).square()).sum(0)
    return variance.sqrt(), mean
