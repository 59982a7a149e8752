"""Many pictures through one network: checked first, then upscaled one after another."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alkdnet.arrays import ImageHWC
from alkdnet.device import Precision as Arithmetic
from alkdnet.device import arithmetic
from alkdnet.errors import UserError, in_words
from alkdnet.inference.upscaler import Upscaler
from alkdnet.progress import Progress
from alkdnet.upscaling.memory import check_tiles, fits
from alkdnet.upscaling.models import Model
from alkdnet.upscaling.pictures import Written, upscale_file
from alkdnet.upscaling.sources import Job, is_finished, large_size
from alkdnet.upscaling.targets import check_target

Precision: TypeAlias = Literal["float32", "tf32", "float16", "bfloat16"]
_DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
# Side of the tiles for images that do not fit into memory; docs/inference.md has their effect.
TILE = 192


class PendingJob(NamedTuple):
    """A picture that is not finished, and the pixels of its source."""

    job: Job
    pixels: int


@dataclass(frozen=True)
class Outcome:
    """The result of a job: the image was written, or there is a problem."""

    job: Job
    written: Written | None
    problem: str | None


class FiniteUpscaler(Upscaler):
    """An `Upscaler` that raises FloatingPointError instead of making NaN and infinity black or white."""

    def quantised(self, y_CHW: Tensor) -> npt.NDArray[np.uint8]:
        """Return the network's output as 8-bit pixels."""
        if not y_CHW.sum().isfinite():  # of a term that is not, no sum is finite
            raise FloatingPointError
        return super().quantised(y_CHW)


class Engine:
    """A network that upscales pictures of any size: in tiles where the whole does not fit into the memory.

    Args:
        model: the network.
        device: where to compute.
        precision: of weights and features; tf32: float32 with products in TF32.
        tile: side of tiles in pixels of the source, for all pictures; None: tiles only where they are needed.
    """

    def __init__(
        self, model: Model, *, device: torch.device, precision: Precision = "float32", tile: int | None = None
    ) -> None:
        self._model, self._device, self._tile = model, device, tile
        self._dtype = _DTYPES[precision]
        self._arithmetic: Arithmetic = "tf32" if precision == "tf32" else "float32"
        self._whole: FiniteUpscaler | None = None
        self._tiled: FiniteUpscaler | None = None

    @property
    def scale(self) -> int:
        """How many times as large images become."""
        return self._model.scale

    def __call__(self, lr_HWC: ImageHWC, *, on_tile: Callable[[float], None] = lambda _: None) -> ImageHWC:
        """Return the large image; `on_tile` is called after every tile with its share of the work.

        Raises:
            MemoryError: it does not fit into the memory, even in tiles.
            FloatingPointError: the network gives NaN or infinity.
        """
        with arithmetic(self._device, self._arithmetic, threads=torch.get_num_threads()):
            return self._upscaled(lr_HWC, on_tile)

    def _upscaled(self, lr_HWC: ImageHWC, on_tile: Callable[[float], None]) -> ImageHWC:
        height, width, _ = lr_HWC.shape
        module, scale = self._model.module, self._model.scale
        if self._tile is None and fits(module, height, width, scale, device=self._device, dtype=self._dtype):
            if self._whole is None:
                self._whole = self._upscaler(None)
            try:
                return self._whole(lr_HWC)
            except torch.OutOfMemoryError:  # of a GPU that others use too
                torch.cuda.empty_cache()
        tile = self._tile or TILE
        check_tiles(height, width, scale, tile=tile)
        if self._tiled is None:
            self._tiled = self._upscaler(tile)
        try:
            return self._tiled(lr_HWC, on_tile=on_tile)
        except torch.OutOfMemoryError:
            raise MemoryError(
                f"tiles of {tile} pixels do not fit into the memory of the device: --tile 96 or --device cpu"
            ) from None

    def _upscaler(self, tile: int | None) -> FiniteUpscaler:
        return FiniteUpscaler(
            self._model.module,
            device=self._device,
            dtype=None if self._dtype == torch.float32 else self._dtype,
            tile=tile,
        )


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise UserError for a reduced precision on a CPU.

    It gains little there, and large depthwise kernels (LKFMixer) take hundreds of times as long.
    """
    if device.type == "cpu" and precision != "float32":
        raise UserError(f"--precision {precision} needs a CUDA device; on the CPU use float32")


def check_jobs(
    jobs: Iterable[Job], scale: int, *, overwrite: bool
) -> tuple[list[PendingJob], int, list[str]]:
    """Return the pending jobs, the number of finished ones, and the problems of the others."""
    pending, problems, finished = [], [], 0
    for job in jobs:
        try:
            height, width = large_size(job.source, scale)
            if not overwrite and is_finished(job, (height, width)):
                finished += 1
                continue
            check_target(job.source, job.target, (height, width))
            pending.append(PendingJob(job, height * width // scale**2))
        except UserError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{job.target}: {in_words(error)}")
    return pending, finished, problems


def upscale_all(jobs: Sequence[PendingJob], engine: Engine) -> Iterator[Outcome]:
    """Upscale pictures one after another; a failed one does not stop the others."""
    total = sum(each.pixels for each in jobs)
    with Progress(total, description="upscale", unit="pixels") as shown:
        for number, each in enumerate(jobs, 1):
            note = each.job.source.name + (f" {number}/{len(jobs)}" if len(jobs) > 1 else "")
            meter = _Meter(shown, each.pixels, note)
            network = partial(engine, on_tile=meter.advance)
            try:
                yield Outcome(
                    each.job,
                    upscale_file(each.job.source, each.job.target, network, scale=engine.scale),
                    None,
                )
            except UserError as error:
                yield Outcome(each.job, None, str(error))
            except OSError as error:
                yield Outcome(each.job, None, f"{each.job.target}: {in_words(error)}")
            meter.advance(1.0)


class _Meter:
    """The progress of one picture, in pixels of its source."""

    def __init__(self, shown: Progress, pixels: int, note: str) -> None:
        self._shown, self._pixels, self._note, self._done = shown, pixels, note, 0.0

    def advance(self, share: float) -> None:
        """Move on by a share of the picture, but not beyond its end."""
        before = int(self._done * self._pixels)
        self._done = min(self._done + share, 1.0)
        self._shown.advance(int(self._done * self._pixels) - before, note=self._note)
