"""MATLAB's `imresize(uint8, 1/s, 'bicubic')` and `imresize(uint8, s, 'bicubic')`, value for value.

The rule: the cubic kernel with a = -0.5, stretched by s when the image shrinks (antialiasing); rows first,
then columns; after each of the two passes round half up and clip to uint8.

Why this code equals MATLAB's double precision: every weight is a whole number divided by one D, so that a
pass is a sum of whole numbers S, followed by floor(S / D + 1/2). Here S is computed exactly, by a
floating-point type in which all partial sums are representable. MATLAB's S / D carries an error of about
1e-13. The two can round apart only where S / D + 1/2 is a whole number. For odd s, D is odd and that never
happens; for s = 2, 4, 8, ... D is a power of two and MATLAB's doubles are exact as well. So the results agree
for these s. For the other even s (6, 10, ...) this code rounds the exact value half up, where MATLAB's
rounding of such a tie is not known.

How it is fast. One output position needs 4s inputs, and its neighbour the same ones moved by s: a block of
outputs is a small banded matrix times a block of inputs, so both passes are matrix products, block of rows by
block of rows, in a working memory that does not grow with the height of the image.
"""

from dataclasses import dataclass
from math import gcd
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

Border = Literal["replicate", "symmetric"]
Image = npt.NDArray[np.uint8]

BORDERS: tuple[Border, ...] = ("replicate", "symmetric")
# Larger blocks waste time on the zeros of the band, smaller ones on calls; strips of two blocks stay in the
# cache of a core. Measured on 2K images.
_BLOCK = 8
_STRIP = 2 * _BLOCK
# Up to here float64 holds all sums and rounds their quotients rightly (see `_divide`): that of scale 512,
# and of odd scales up to 699.
_LARGEST_DIVISOR = 2**40


def crop_to_multiple(image_HWC: Image, scale: int) -> Image:
    """Return a view without the rows at the bottom and the columns at the right beyond a multiple of `scale`.

    Raises ValueError if the image is smaller than `scale` in a direction, for nothing would remain.
    """
    height, width = (length // scale * scale for length in image_HWC.shape[:2])
    if not height or not width:
        raise ValueError(f"an image of {_size(image_HWC)} pixels is smaller than the scale {scale}")
    return image_HWC[:height, :width]


def downscale(image_HWC: Image, scale: int, *, border: Border = "replicate") -> Image:
    """Shrink an HR image to 1/scale of its size as `imresize(image, 1/scale, 'bicubic')` does.

    `border` is what lies beyond the image: `replicate` repeats the edge pixel (MATLAB before about 2015, the
    published LR files), `symmetric` mirrors the image, edge pixel included (later MATLAB). C is 1 or more.
    Raises ValueError if height or width is no multiple of `scale`: see `crop_to_multiple`.
    """
    _check(image_HWC, scale, border)
    if image_HWC.shape[0] % scale or image_HWC.shape[1] % scale:
        raise ValueError(
            f"height and width must be multiples of the scale {scale}, not {_size(image_HWC)}: "
            "crop the image with crop_to_multiple first"
        )
    return _resample(image_HWC, _shrinking(scale), border)


def upscale(image_HWC: Image, scale: int, *, border: Border = "replicate") -> Image:
    """Enlarge an LR image to `scale` times its size as `imresize(image, scale, 'bicubic')` does.

    `border` as in `downscale`.
    """
    _check(image_HWC, scale, border)
    return _resample(image_HWC, _enlarging(scale), border)


@dataclass(frozen=True)
class _Filter:
    """One direction's interpolation, which repeats after `step` inputs and `phases` outputs.

    Output `phases * i + p` is the sum of `weights[p, k] / divisor` times input `step * i + first + k`.
    """

    step: int
    phases: int
    first: int
    weights: npt.NDArray[np.int64]
    divisor: int

    @property
    def dtype(self) -> torch.dtype:
        """The faster floating-point type that sums exactly and divides well enough: see `_divide`."""
        largest = int(np.abs(self.weights).sum(axis=1).max()) * 255
        return torch.float32 if largest < 2**24 and self.divisor <= 2**12 else torch.float64

    def band(self, block: int) -> npt.NDArray[np.int64]:
        """Return the matrix from the inputs around `block` periods to the outputs in them.

        Its shape is (block * phases, (block - 1) * step + taps).
        """
        phases, taps = self.weights.shape
        matrix = np.zeros((block * phases, (block - 1) * self.step + taps), dtype=np.int64)
        for i in range(block):
            matrix[i * phases : (i + 1) * phases, i * self.step : i * self.step + taps] = self.weights
        return matrix


def _shrinking(scale: int) -> _Filter:
    # The centre of output i is s * i + (s - 1) / 2; distances are counted in units of 1 / (2s).
    first = -(3 * scale // 2)
    taps = 5 * scale // 2 - first
    distances = 2 * (first + np.arange(taps, dtype=np.int64)) - (scale - 1)
    return _filter(scale, 1, first, distances[None, :], 2 * scale)


def _enlarging(scale: int) -> _Filter:
    # Output s * i + p lies at input i + (2p + 1 - s) / (2s), so within half a pixel of i.
    phases = 2 * np.arange(scale, dtype=np.int64)[:, None] + 1 - scale
    distances = 2 * scale * np.arange(-2, 3, dtype=np.int64)[None, :] - phases
    return _filter(1, scale, -2, distances, 2 * scale)


def _filter(step: int, phases: int, first: int, distances: npt.NDArray[np.int64], unit: int) -> _Filter:
    """Reduce the cubic kernel at `distances / unit` to whole numbers with one divisor."""
    m = np.abs(distances).astype(object)  # Python's integers: unit ** 3 outgrows 64 bits at large scales
    near = 3 * m**3 - 5 * m**2 * unit + 2 * unit**3
    far = -(m**3) + 5 * m**2 * unit - 8 * m * unit**2 + 4 * unit**3
    numerators = np.where(m <= unit, near, np.where(m <= 2 * unit, far, 0))
    common = gcd(*numerators.ravel())
    # The kernel's samples at distance 1 / step sum to a constant, so that every phase has the same divisor:
    # the sum by which MATLAB normalises.
    divisor = sum(numerators[0]) // common
    if divisor > _LARGEST_DIVISOR:
        raise ValueError(f"a scale of {max(step, phases)} is too large to be computed exactly")
    weights = (numerators // common).astype(np.int64)
    return _Filter(step, phases, first, weights, divisor)


def _resample(image_HWC: Image, kernel: _Filter, border: Border) -> Image:
    """Apply `kernel` to the rows, block by block, and to the columns of each block at once."""
    height, width, channels = image_HWC.shape
    image = image_HWC.reshape(height, width * channels)
    periods = height // kernel.step
    out_width = width // kernel.step * kernel.phases
    out = np.empty((periods * kernel.phases, out_width * channels), dtype=np.uint8)

    block, strip = min(_BLOCK, periods), min(_STRIP, periods)
    band = torch.from_numpy(kernel.band(block)).to(kernel.dtype)
    inputs = torch.empty((strip - block) * kernel.step + band.shape[1], width * channels, dtype=kernel.dtype)
    columns = _ColumnPass(kernel, border, strip * kernel.phases, width, channels)
    for start in _starts(periods, strip):
        np.copyto(inputs.numpy(), _rows(image, start * kernel.step + kernel.first, len(inputs), border))
        for inner in _starts(strip, block):
            torch.mm(
                band,
                inputs[inner * kernel.step :][: band.shape[1]],
                out=columns.rows[inner * kernel.phases :][: len(band)],
            )
        _divide(columns.rows, kernel.divisor).floor_()
        columns.write(out[start * kernel.phases : (start + strip) * kernel.phases])
    return out.reshape(len(out), out_width, channels)


def _starts(length: int, block: int) -> list[int]:
    """Return where blocks start that cover `length`; the last overlaps its neighbour, to be no smaller."""
    return [*range(0, length - block, block), length - block]


def _rows(image: Image, first: int, count: int, border: Border) -> Image:
    """Return the rows first, first + 1, ... (`count` of them), also beyond the image; a view if inside it."""
    if first >= 0 and first + count <= len(image):
        return image[first : first + count]
    return image[_inside(first, count, len(image), border)]


class _ColumnPass:
    """The pass over the columns of a block of rows, with its matrices and its working memory.

    The padded rows are cut into groups of `_BLOCK` periods. A group's outputs need its own inputs and the
    first few of the next group: two products with views of one buffer, so that the overlap is not copied.

    `rows`, shape (rows, width * channels), is where the caller puts the interleaved pixels.
    """

    def __init__(self, kernel: _Filter, border: Border, rows: int, width: int, channels: int) -> None:
        groups = -(-width // kernel.step // _BLOCK)
        overlap = kernel.weights.shape[1] - kernel.step  # 3s or 4 inputs: less than a group
        per_group = _BLOCK * kernel.step * channels
        matrix = np.kron(kernel.band(_BLOCK).T, np.eye(channels, dtype=np.int64))
        band = torch.from_numpy(matrix).to(kernel.dtype)
        self._own, self._next = band[:per_group], band[per_group:]
        self._divisor = kernel.divisor
        # Behind a row's last group lies an empty one: every group has a next, and its output is dropped.
        self._padded = torch.zeros(rows, (groups + 1) * per_group, dtype=kernel.dtype)
        self._groups = self._padded.view(-1, per_group)
        self._sums = torch.empty(len(self._groups), band.shape[1], dtype=kernel.dtype)

        left = -kernel.first * channels
        self.rows = self._padded[:, left : left + width * channels]
        pixels = _inside(kernel.first, width + overlap, width, border)
        sources = torch.from_numpy((pixels[:, None] * channels + np.arange(channels)).reshape(-1) + left)
        outside = torch.cat((torch.arange(left), torch.arange(left + width * channels, len(sources))))
        self._outside, self._outside_from = outside, sources[outside]

    def write(self, out: Image) -> None:
        """Resample `rows` into `out`, shape (rows, width of the output * channels)."""
        self._padded[:, self._outside] = self._padded[:, self._outside_from]
        sums = torch.mm(self._groups[:-1], self._own, out=self._sums[:-1])
        _divide(sums.addmm_(self._groups[1:, : len(self._next)], self._next), self._divisor)
        # The conversion drops the fraction: it is the rounding down.
        np.copyto(out, self._sums.view(len(out), -1).numpy()[:, : out.shape[1]], casting="unsafe")


def _divide(sums: torch.Tensor, divisor: int) -> torch.Tensor:
    """Divide whole numbers by `divisor`, add a half and clip to 0..255, in place; floor then rounds half up.

    The quotient plus a half is a multiple of 1 / (2 divisor), and a quarter of 1 / divisor is added to it, so
    that no error below that quarter moves it over a whole number. In float32 the error up to 255 is below
    4.6e-5 (a rounded reciprocal, product and sum), the quarter at least 6.1e-5, for the divisor is at most
    2 ** 12; in float64 the divisor may reach 2 ** 40.
    """
    half = torch.tensor(0.5 + 0.25 / divisor, dtype=sums.dtype)
    return torch.add(half, sums, alpha=1 / divisor, out=sums).clamp_(0.0, 255.0)


def _inside(first: int, count: int, length: int, border: Border) -> npt.NDArray[np.int64]:
    """Map the positions first, first + 1, ... (`count` of them) to positions in 0..length-1."""
    positions = np.arange(first, first + count, dtype=np.int64)
    if border == "replicate":
        return positions.clip(0, length - 1)
    folded = positions % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded)


def _check(image_HWC: Image, scale: int, border: Border) -> None:
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or 0 in image_HWC.shape:
        raise ValueError(
            f"expected a non-empty uint8 image of shape HWC, not {image_HWC.dtype} {image_HWC.shape}"
        )
    if scale < 1:
        raise ValueError(f"scale must be a positive integer, not {scale}")
    if border not in BORDERS:
        raise ValueError(f"border must be one of {', '.join(BORDERS)}, not {border!r}")


def _size(image_HWC: Image) -> str:
    return f"{image_HWC.shape[1]}x{image_HWC.shape[0]}"
