"""Whether an image fits into memory as a whole, or has to be computed in tiles."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from alkdnet.data.disk import size
from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.networks.bsrn import BSRN

# Bytes per pixel of the LR image for FastALKDNet, and what its strips in use take of an image of any size;
# measured (docs/inference.md). The latter is kept free for all networks.
_FAST, _STRIPS = 1_700, 2**29
# Bytes per pixel of the large image (3 as computed, 4 to be written) and of the LR image (12 as float32);
# measured together (docs/inference.md): 8.7 per pixel of the large image.
_LARGE, _LR = 8, 20
# A row of tiles, and the network's memory for one tile.
_TILE_ROW, _ONE_TILE = 3 * 4 * 2, 2**29
_SAMPLE = 96
# No network takes so many bytes per LR pixel: images that fit by this bound are not measured.
_UPPER_BOUND = 100_000


def fits(
    model: nn.Module, height: int, width: int, scale: int, *, device: torch.device, dtype: torch.dtype
) -> bool:
    """Return whether the whole image can be computed in the memory that is free; True if that is unknown."""
    free = free_memory(device)
    if free is None or height * width * _UPPER_BOUND <= free:
        return True
    per_pixel = bytes_per_pixel(model, device, dtype) + scale**2 * _LARGE
    return height * width * per_pixel + _STRIPS <= free


def check_tiles(height: int, width: int, scale: int, *, tile: int) -> None:
    """Raise MemoryError if the large image does not fit into the computer's memory even in tiles."""
    free = free_memory(torch.device("cpu"))
    needed = height * width * (_LR + scale**2 * _LARGE) + tile * width * scale**2 * _TILE_ROW + _ONE_TILE
    if free is not None and needed > free:
        raise MemoryError(
            f"{width}x{height} pixels, {width * scale}x{height * scale} when enlarged, need about "
            f"{size(needed)} of memory even in tiles, {size(free)} are free; take a smaller scale, or a part"
        )


def bytes_per_pixel(model: nn.Module, device: torch.device, dtype: torch.dtype) -> int:
    """Return the peak bytes per LR pixel that a network takes for a whole image."""
    # Upscaler takes FastALKDNet then (tested).
    if isinstance(model, ALKDNet | BSRN) and device.type == "cpu" and dtype == torch.float32:
        return _FAST
    if not list(model.parameters()):  # an interpolation, which is done on the CPU
        return _UPPER_BOUND // 50
    sample = torch.empty(1, 3, _SAMPLE, _SAMPLE, device="meta", dtype=dtype)
    meta = _on_meta(model, dtype)
    with torch.inference_mode(), PeakBytes() as counted:
        meta(sample)
    peak: int = counted.peak
    return peak // _SAMPLE**2


def free_memory(device: torch.device) -> int | None:
    """Return the bytes of memory that a device has left; None where it does not say."""
    if device.type == "cuda":
        # PyTorch keeps what the pictures before took, for this one.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    try:
        free = 1024 * _entry(Path("/proc/meminfo"), "MemAvailable:")
    except (OSError, StopIteration, ValueError):
        return None
    return min([free, *_free_in_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _free_in_groups(membership: Path, root: Path) -> Iterator[int]:
    """Yield the free bytes under the limits of a container or job: control groups (v2) of this process."""
    try:
        group = root / membership.read_text().splitlines()[-1].partition("::")[2].lstrip("/")
    except (OSError, IndexError):
        return
    for folder in (group, *group.parents):
        with suppress(OSError, StopIteration, ValueError):  # no such group, or "max"
            limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
            yield limit - used + _entry(folder / "memory.stat", "inactive_file")


def _entry(file: Path, key: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.split()[0] == key)


def _on_meta(model: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return the network on the meta device, where operations allocate nothing."""
    tensors = {
        name: torch.empty_like(tensor, device="meta", dtype=dtype)
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    return lambda x_BCHW: torch.func.functional_call(model, tensors, (x_BCHW,))


class PeakBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the bytes of all live tensors; `peak` is the largest sum."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._live = 0
        self._views: Counter[int] = Counter()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._track(tensor)
        self.peak = max(self.peak, self._live)
        return result

    def _track(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if not self._views[storage._cdata]:
            self._live += storage.nbytes()
        self._views[storage._cdata] += 1
        weakref.finalize(tensor, self._untrack, storage._cdata, storage.nbytes())

    def _untrack(self, storage: int, count: int) -> None:
        self._views[storage] -= 1
        if not self._views[storage]:
            self._live -= count
