"""Measure an upscaler on benchmark sets: every image scored, everything that could not be scored named."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd

from alkdnet.data.images import Alpha, list_images, read_rgb
from alkdnet.data.resize import crop_to_multiple
from alkdnet.errors import UserError
from alkdnet.evaluation.metrics import ImageHWC, score
from alkdnet.evaluation.protocol import Protocol
from alkdnet.files import atomic_directory, write_json
from alkdnet.progress import Progress

COLUMNS = ["set", "image", "height", "width", "psnr", "ssim"]
NOT_AVAILABLE = "NOT_AVAILABLE.txt"
# Pairs read ahead of the network and results that wait for their score: what bounds the memory.
AHEAD = 2

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class BenchmarkSet:
    """A set of test images.

    Attributes:
        name: as it stands in the tables.
        hr_folder: the original images.
        lr_folder: their low-resolution counterparts of one scale, with the same names (endings may differ).
        expected: how many images the set has; None: as many as there are.
    """

    name: str
    hr_folder: Path
    lr_folder: Path
    expected: int | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result: scores per image, and by set what is missing from them.

    Attributes:
        images: one row per image: set, image (name without ending), height and width (HR pixels, cropped to a
            multiple of the scale), psnr (dB), ssim.
        missing: in words, what of a set could not be scored; such a set may still have rows in `images`.
    """

    images: pd.DataFrame
    missing: Mapping[str, str]

    def means(self) -> dict[str, dict[str, float | int]]:
        """Return by set the number of images and the means of PSNR and SSIM over them (protocol, point 6)."""
        return {
            str(name): {
                "images": len(rows),
                "psnr": math.fsum(rows["psnr"]) / len(rows),
                "ssim": math.fsum(rows["ssim"]) / len(rows),
            }
            for name, rows in self.images.groupby("set", sort=False)
        }

    def write(self, folder: Path) -> None:
        """Write `sets.json` (means and what is missing) and `images.csv`, both with all digits."""
        with atomic_directory(folder) as temporary:
            write_json(temporary / "sets.json", {"sets": self.means(), "missing": dict(self.missing)})
            self.images.to_csv(temporary / "images.csv", index=False, lineterminator="\n")


@dataclass(frozen=True)
class _Pair:
    set: str
    image: str
    hr: Path
    lr: Path


def evaluate(
    upscale: Callable[[ImageHWC], ImageHWC],
    sets: Sequence[BenchmarkSet],
    *,
    scale: int,
    protocol: Protocol,
    alpha: Alpha = "refuse",
    description: str = "evaluate",
) -> Evaluation:
    """Upscale every low-resolution image and compare it with its original.

    Reading and scoring run in threads beside the network. At most `2 * AHEAD + 2` pairs are held at a time.
    Files that cannot be read, pairs that are incomplete or do not fit and images without a finite PSNR are
    left out and named in the result.

    Args:
        upscale: takes an LR image (uint8, HWC, RGB) and returns the HR image of `scale` times its size.
        sets: measured in this order; within a set, images go by name.
        scale: the super-resolution factor.
        protocol: how two images are compared; its `self_ensemble` is the affair of `upscale`.
        alpha: what becomes of transparent originals, as when their LR images were made.
        description: what the progress display says.
    """
    pairs, problems = _find_pairs(sets)

    def read(pair: _Pair) -> tuple[ImageHWC, ImageHWC]:
        hr_HWC = read_rgb(pair.hr, alpha=alpha)
        lr_HWC = read_rgb(pair.lr)
        height, width = hr_HWC.shape[0] // scale, hr_HWC.shape[1] // scale
        if lr_HWC.shape[:2] != (height, width):
            raise UserError(
                f"the LR image has {lr_HWC.shape[1]}x{lr_HWC.shape[0]} pixels; at x{scale} the original asks "
                f"for {width}x{height}"
            )
        return lr_HWC, crop_to_multiple(hr_HWC, scale)

    def measure(pair: _Pair, sr_HWC: ImageHWC, hr_HWC: ImageHWC) -> list[object]:
        psnr, ssim = score(sr_HWC, hr_HWC, scale=scale, protocol=protocol)
        if not math.isfinite(psnr):
            raise UserError("equal to the original: its PSNR is infinite and has no place in a mean")
        return [pair.set, pair.image, hr_HWC.shape[0], hr_HWC.shape[1], psnr, ssim]

    rows: list[list[object]] = []
    waiting: deque[tuple[_Pair, Future[list[object]]]] = deque()

    def collect() -> None:
        pair, result = waiting.popleft()
        try:
            rows.append(result.result())
        except UserError as error:
            problems[pair.set].append(_problem(pair, error))
        shown.advance()

    with (
        Progress(len(pairs), description=description, unit="images") as shown,
        ThreadPoolExecutor(1, "read") as reader,
        ThreadPoolExecutor(1, "score") as scorer,
    ):
        for pair, loading in _ahead(reader, read, pairs):
            try:
                lr_HWC, hr_HWC = loading.result()
            except UserError as error:
                problems[pair.set].append(_problem(pair, error))
                shown.advance()
                continue
            waiting.append((pair, scorer.submit(measure, pair, upscale(lr_HWC), hr_HWC)))
            if len(waiting) > AHEAD:
                collect()
        while waiting:
            collect()
    return Evaluation(
        images=pd.DataFrame(rows, columns=COLUMNS),
        missing={name: "; ".join(found) for name, found in problems.items() if found},
    )


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Sequence[T]
) -> Iterator[tuple[T, Future[R]]]:
    """Yield each item with the future of `function(item)`, started `AHEAD` items before it is yielded."""
    started: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        started.append((item, pool.submit(function, item)))
        if len(started) > AHEAD:
            yield started.popleft()
    yield from started


def _find_pairs(sets: Sequence[BenchmarkSet]) -> tuple[list[_Pair], dict[str, list[str]]]:
    """Return the pairs of all sets, and by set what is known to be missing before any image is read."""
    pairs: list[_Pair] = []
    problems: dict[str, list[str]] = {}
    for test_set in sets:
        found, missing = _pairs_of(test_set)
        pairs += found
        problems[test_set.name] = missing
    return pairs, problems


def _pairs_of(test_set: BenchmarkSet) -> tuple[list[_Pair], list[str]]:
    if (test_set.hr_folder / NOT_AVAILABLE).is_file():
        return [], ["not available"]
    if not test_set.hr_folder.is_dir():
        return [], ["the folder of its images is missing"]
    problems: list[str] = []
    originals = _by_name(test_set.hr_folder, problems)
    small = _by_name(test_set.lr_folder, problems) if test_set.lr_folder.is_dir() else {}
    if test_set.expected is not None and len(originals) != test_set.expected:
        problems.append(f"{len(originals)} of {test_set.expected} images")
    elif not originals:
        problems.append("no images")
    problems += [f"{name}: no LR image" for name in sorted(originals.keys() - small.keys())]
    problems += [f"{name}: no original" for name in sorted(small.keys() - originals.keys())]
    pairs = [
        _Pair(test_set.name, name, originals[name], small[name])
        for name in sorted(originals.keys() & small.keys())
    ]
    return pairs, problems


def _by_name(folder: Path, problems: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in list_images(folder):
        if path.stem in files:
            problems.append(f"{path.name} is left out: {files[path.stem].name} has the same name")
        else:
            files[path.stem] = path
    return files


def _problem(pair: _Pair, error: UserError) -> str:
    """Return the problem without the folder's path, which differs from machine to machine."""
    reason = str(error)
    for path in (pair.hr, pair.lr):
        reason = reason.replace(f"{path}: ", "" if path == pair.hr else "LR image: ")
    return f"{pair.image}: {reason}"
