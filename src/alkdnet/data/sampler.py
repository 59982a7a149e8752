"""Batches of training patches: pure functions of the seed and the iteration.

The sampling distribution is the paper's (section 4.2): an image uniformly, a position in it uniformly, then a
horizontal flip with probability 1/2 and a rotation by 0, 90, 180 or 270 degrees, which together are one of
the 8 symmetries of the square uniformly.

Sample k of iteration i takes its numbers from words 4k..4k+3 of the Philox stream with the seed as its key
and i as its counter. So it is the same whatever the size of the batch, the number of processes that share it,
and the batches that were drawn before.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from alkdnet.data.augmentation import FLIP_COLUMNS, FLIP_ROWS, TRANSPOSE, augment
from alkdnet.data.packs import Pack, PackedImages
from alkdnet.errors import UserError

Pixels = npt.NDArray[np.uint8]

# Batches prepared in advance when they are copied to a device.
_AHEAD = 2
# Bytes of a cache line.
_LINE = 64
# Bytes of a pack that are copied to a device at once.
_PIECE = 2**26
# The packs are copied to the device if they take no more than this part of its free memory.
_RESIDENT_PART = 0.5


@dataclass(frozen=True, eq=False)
class Draw:
    """What to crop, an element for each sample: image, top left LR pixel, and bits of the augmentation."""

    image: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    augmentation: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.image)


def draw(
    packed: PackedImages, *, seed: int, iteration: int, patch_size: int, first: int = 0, count: int
) -> Draw:
    """Draw the samples first, ..., first + count - 1 of an iteration; `patch_size` in LR pixels."""
    stream = np.random.Philox(key=seed, counter=[0, 0, iteration, 0])
    words = stream.random_raw(4 * (first + count)).reshape(-1, 4)[first:]
    # 53 bits, so that a uniform choice among n is off by n / 2 ** 53 at most.
    unit = (words >> np.uint64(11)) * 2.0**-53
    image = (unit[:, 0] * len(packed)).astype(np.int64)
    rows = packed.lr.heights[image] - patch_size + 1
    columns = packed.lr.widths[image] - patch_size + 1
    return Draw(
        image=image,
        row=(unit[:, 1] * rows).astype(np.int64),
        column=(unit[:, 2] * columns).astype(np.int64),
        augmentation=(words[:, 3] >> np.uint64(61)).astype(np.int64),
    )


def crop_patches(images: Sequence[Pixels], drawn: Draw, *, patch_size: int, scale: int = 1) -> Pixels:
    """Crop and augment patches, shape (len(drawn), P, P, 3) with P = patch_size * scale.

    `images`: the views `Pack.images()`; `scale`: that of the images to the LR images `drawn` refers to.

    The result is that of `augment`. NumPy copies rows fast; to move single pixels it needs a pass for each of
    the three channels, or words of four bytes: a pixel and the next byte. A patch whose pixels change places
    is therefore copied to a buffer that stays in the cache, from there in the new order to a buffer of words,
    and from that to its place, where each word overwrites the extra byte of the previous one. Two copies,
    since NumPy is fast with overlapping words only if the other operand is contiguous. The tests check that
    it stores them in ascending order, which its documentation does not promise.
    """
    size = patch_size * scale
    line = 3 * size
    # The last word of a patch reaches into the next one, which is written after it, or into the extra byte.
    out_and_extra = _aligned(len(drawn) * size * line + 1)
    out = out_and_extra[:-1].reshape(len(drawn), size, size, 3)
    places = np.ndarray((len(drawn), size, size), np.uint32, out_and_extra, strides=(size * line, line, 3))
    copy_and_extra = _aligned(size * line + 1)
    copy = copy_and_extra[:-1].reshape(size, size, 3)
    pixels = np.ndarray((size, size), np.uint32, copy_and_extra, strides=(line, 3))
    reordered = [augment(pixels, bits) for bits in range(8)]
    words = _aligned(4 * size * size).view(np.uint32).reshape(size, size)
    for k, image, row, column, bits in zip(
        range(len(drawn)),
        drawn.image.tolist(),
        (drawn.row * scale).tolist(),
        (drawn.column * scale).tolist(),
        drawn.augmentation.tolist(),
        strict=True,
    ):
        source = images[image][row : row + size, column : column + size]
        if bits & (FLIP_COLUMNS | TRANSPOSE):
            copy[...] = source
            words[...] = reordered[bits]
            places[k] = words
        else:
            out[k] = augment(source, bits)
    return out


def _aligned(count: int) -> Pixels:
    """Return uninitialised bytes that begin at a cache line.

    NumPy's memory mostly does not, and copying rows of whole cache lines is then 0.7 times as fast.
    """
    memory = np.empty(count + _LINE, dtype=np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + count]


def steps(pack: Pack, drawn: Draw, *, patch_size: int, scale: int = 1) -> npt.NDArray[np.int64]:
    """Return the strides of patches in a pack's bytes, shape (3, len(drawn)).

    Pixel (i, j) of augmented patch k starts at byte steps[0, k] + i * steps[1, k] + j * steps[2, k].
    """
    line = 3 * pack.widths[drawn.image]
    start = pack.starts[drawn.image] + (drawn.row * line + drawn.column * 3) * scale
    return _walk(start, line, drawn.augmentation, size=patch_size * scale)


def _walk(
    start: npt.NDArray[np.int64],
    line: npt.NDArray[np.int64],
    augmentation: npt.NDArray[np.int64],
    *,
    size: int,
) -> npt.NDArray[np.int64]:
    """Return `steps` for patches that start at bytes `start` of images with `line` bytes to a line."""
    flip_rows = augmentation & FLIP_ROWS != 0
    flip_columns = augmentation & FLIP_COLUMNS != 0
    transpose = augmentation & TRANSPOSE != 0
    start = start + np.where(flip_rows, (size - 1) * line, 0) + np.where(flip_columns, (size - 1) * 3, 0)
    down = np.where(flip_rows, -line, line)
    right = np.where(flip_columns, -3, 3)
    return np.stack((start, np.where(transpose, right, down), np.where(transpose, down, right)))


def gather(flat: torch.Tensor, steps: torch.Tensor, *, size: int) -> torch.Tensor:
    """Crop and augment on the device that has a pack: `flat` its bytes, `steps` from the function above.

    Returns the same bytes as `crop_patches`, shape (samples, size, size, 3).
    """
    start, down, right = steps[:, :, None, None, None]
    along = torch.arange(size, device=flat.device)
    channel = torch.arange(3, device=flat.device)
    return flat[start + down * along[:, None, None] + right * along[:, None] + channel]


def augment_batch(x_BHWC: torch.Tensor, augmentation: npt.NDArray[np.int64]) -> torch.Tensor:
    """Augment square patches on their device: the same bytes as `augment`."""
    batch, size = x_BHWC.shape[:2]
    start = np.arange(batch, dtype=np.int64) * size * size * 3
    walk = _walk(start, np.full(batch, 3 * size), augmentation, size=size)
    return gather(x_BHWC.reshape(-1), _sent(walk, x_BHWC.device), size=size)


class PatchSampler:
    """Batches on a device, as float32 in [0, 1], of the share of one process.

    On a GPU the packs are copied to it if they fit well (`resident`; None decides by its free memory), and
    the patches are cropped there. Otherwise a thread prepares the next batches while the device computes,
    which are copied from pinned memory and augmented on the device. On a CPU they are cropped on request.

    Raises:
        UserError: images are smaller than a patch, or the batch cannot be shared evenly.
    """

    def __init__(
        self,
        packed: PackedImages,
        *,
        seed: int,
        batch_size: int,
        patch_size: int,
        device: torch.device,
        resident: bool | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _check(packed, batch_size, patch_size, world_size)
        self._packed = packed
        self._seed = seed
        self._patch_size = patch_size
        self._device = device
        self._count = batch_size // world_size
        self._first = self._count * rank
        self.resident = _fits(packed, device) if resident is None else resident
        self._flat: list[torch.Tensor] = []
        self._images: list[list[Pixels]] = []
        if self.resident:
            self._flat = [_load(pack, device) for pack in (packed.lr, packed.hr)]
        else:
            self._images = [packed.lr.images(), packed.hr.images()]
        self._ahead: dict[int, Future[tuple[torch.Tensor, torch.Tensor]]] = {}
        self._thread = ThreadPoolExecutor(1) if device.type == "cuda" and not self.resident else None

    def batch(self, iteration: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (lr_BCHW, hr_BCHW) of an iteration: float32 in [0, 1], channels-last, on the device."""
        lr_BHWC, hr_BHWC = self._resident(iteration) if self.resident else self._copied(iteration)
        return _to_float(lr_BHWC), _to_float(hr_BHWC)

    def _draw(self, iteration: int) -> Draw:
        return draw(
            self._packed,
            seed=self._seed,
            iteration=iteration,
            patch_size=self._patch_size,
            first=self._first,
            count=self._count,
        )

    def _resident(self, iteration: int) -> tuple[torch.Tensor, torch.Tensor]:
        drawn, size, scale = self._draw(iteration), self._patch_size, self._packed.scale
        walks = np.stack(
            (
                steps(self._packed.lr, drawn, patch_size=size),
                steps(self._packed.hr, drawn, patch_size=size, scale=scale),
            )
        )
        lr_steps, hr_steps = _sent(walks, self._device)
        return gather(self._flat[0], lr_steps, size=size), gather(self._flat[1], hr_steps, size=size * scale)

    def _copied(self, iteration: int) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = self._draw(iteration)
        if self._thread is None:
            return self._crop(drawn)
        for i in range(iteration, iteration + _AHEAD + 1):
            if i not in self._ahead:
                self._ahead[i] = self._thread.submit(self._pinned, i)
        lr_BHWC, hr_BHWC = self._ahead[iteration].result()
        self._ahead = {i: future for i, future in self._ahead.items() if i > iteration}
        # The allocator of pinned memory keeps these buffers from reuse until the copies have been made.
        return (
            augment_batch(lr_BHWC.to(self._device, non_blocking=True), drawn.augmentation),
            augment_batch(hr_BHWC.to(self._device, non_blocking=True), drawn.augmentation),
        )

    def _crop(self, drawn: Draw) -> tuple[torch.Tensor, torch.Tensor]:
        lr_BHWC = crop_patches(self._images[0], drawn, patch_size=self._patch_size)
        hr_BHWC = crop_patches(self._images[1], drawn, patch_size=self._patch_size, scale=self._packed.scale)
        return torch.from_numpy(lr_BHWC), torch.from_numpy(hr_BHWC)

    def _pinned(self, iteration: int) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = self._draw(iteration)
        plain = replace(drawn, augmentation=np.zeros_like(drawn.augmentation))
        lr_BHWC, hr_BHWC = self._crop(plain)
        return lr_BHWC.pin_memory(), hr_BHWC.pin_memory()


def _sent(numbers: npt.NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """Return numbers on a device without waiting for its pending work."""
    tensor = torch.from_numpy(numbers)
    if device.type != "cuda":
        return tensor.to(device)
    # The allocator of pinned memory keeps the buffer from reuse until the copy has been made.
    return tensor.pin_memory().to(device, non_blocking=True)


def _to_float(x_BHWC: torch.Tensor) -> torch.Tensor:
    # CUDA multiplies by the reciprocal of a plain number, a last bit away from the division on a CPU.
    white = torch.full((), 255.0, device=x_BHWC.device)
    # Interleaved pixels are what channels-last means: the permutation moves nothing.
    return x_BHWC.to(torch.float32).div_(white).permute(0, 3, 1, 2)


def _load(pack: Pack, device: torch.device) -> torch.Tensor:
    """Copy a pack to a device, piece by piece: the host's memory need not hold it."""
    flat = torch.empty(pack.flat.size, dtype=torch.uint8, device=device)
    for start in range(0, pack.flat.size, _PIECE):
        flat[start : start + _PIECE] = torch.from_numpy(pack.flat[start : start + _PIECE].copy())
    return flat


def _fits(packed: PackedImages, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return packed.bytes <= free * _RESIDENT_PART


def _check(packed: PackedImages, batch_size: int, patch_size: int, world_size: int) -> None:
    if batch_size % world_size:
        raise UserError(f"a batch of {batch_size} patches cannot be shared evenly by {world_size} processes")
    smaller = np.flatnonzero(np.minimum(packed.lr.heights, packed.lr.widths) < patch_size)
    if smaller.size:
        sizes = (
            f"{packed.names[i]} ({packed.lr.widths[i]}x{packed.lr.heights[i]})" for i in smaller.tolist()
        )
        raise UserError(
            f"{smaller.size} LR images of x{packed.scale} are smaller than a patch of "
            f"{patch_size}x{patch_size} pixels: {', '.join(sizes)}; leave them out or make patch_size smaller"
        )
