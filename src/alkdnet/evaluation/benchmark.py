"""Measure an upscaler on benchmark sets: every image scored, everything that could not be scored named."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore

import pandas as pd

from alkdnet.arrays import ImageHWC
from alkdnet.data.images import NOT_AVAILABLE, Alpha, list_images
from alkdnet.data.pairs import load_pair
from alkdnet.errors import UserError
from alkdnet.evaluation.classic import Luma, classic_score
from alkdnet.evaluation.metrics import score
from alkdnet.evaluation.protocol import Protocol
from alkdnet.files import sha256_file
from alkdnet.progress import Progress
from alkdnet.results.scores import CLASSIC_COLUMNS, COLUMNS, SKIPPED, Scores
from alkdnet.results.unfinished import Unfinished

INFINITE = "equal to the original: its PSNR is infinite and has no place in a mean"


@dataclass(frozen=True, kw_only=True)
class BenchmarkSet:
    """A set of test images.

    Attributes:
        name: as it stands in the tables.
        hr_folder: the original images.
        lr_folder: their low-resolution counterparts of one scale, with the same names (endings may differ).
        expected: how many images the set has; None: as many as there are.
        alpha: what becomes of transparent originals, as it was when their LR images were made.
        publishable: whether the licence allows showing the images.
    """

    name: str
    hr_folder: Path
    lr_folder: Path
    expected: int | None = None
    alpha: Alpha = "reject"
    publishable: bool = True


@dataclass(frozen=True)
class _Pair:
    set: str
    image: str
    hr: Path
    lr: Path
    alpha: Alpha


def evaluate(
    upscale: Callable[[ImageHWC], ImageHWC],
    sets: Sequence[BenchmarkSet],
    *,
    scale: int,
    protocol: Protocol,
    workers: int = 1,
    description: str = "evaluate",
    weights_sha256: str | None = None,
    skipped: Sequence[str] = (),
    upscale_luma: Callable[[Luma], Luma] | None = None,
    unfinished: Unfinished | None = None,
) -> Scores:
    """Upscale every low-resolution image and compare it with its original.

    Files that cannot be read, pairs that are incomplete or do not fit and images without a finite PSNR are
    left out and named in the result.

    Args:
        upscale: takes an LR image (uint8, HWC, RGB) and returns the HR image of `scale` times its size. It is
            called in threads, by `workers` of them at a time.
        sets: measured in this order; within a set, images go by name.
        scale: the super-resolution factor.
        protocol: how two images are compared; its `self_ensemble` is the affair of `upscale`.
        workers: images upscaled at the same time; one more is read or scored meanwhile, so that the memory is
            that of `workers + 1` images. On a CPU, a core for each image does more than all cores for one
            (docs/protocol.md), if torch is told to take one thread.
        description: what the progress display says.
        weights_sha256: of the weights that are evaluated, for the result.
        skipped: names of sets that are not evaluated, which the result names as missing.
        upscale_luma: measure by the classic protocol too, with this: see `classic_score`.
        unfinished: the scores of an attempt that was cut off, taken over and added to.
    """
    pairs, problems = _find_pairs(sets)
    turns = BoundedSemaphore(workers)
    columns = [*COLUMNS, *(CLASSIC_COLUMNS if upscale_luma else ())]

    def upscale_luma_in_turn(y_HW: Luma) -> Luma:
        assert upscale_luma is not None
        with turns:
            return upscale_luma(y_HW)

    def compare(pair: _Pair) -> dict[str, float]:
        lr_HWC, hr_HWC = load_pair(pair.hr, pair.lr, scale=scale, alpha=pair.alpha)
        with turns:
            sr_HWC = upscale(lr_HWC)
        scores = [*hr_HWC.shape[:2], *score(sr_HWC, hr_HWC, scale=scale, protocol=protocol)]
        if upscale_luma:
            scores += classic_score(upscale_luma_in_turn, pair.hr, hr_HWC, scale=scale)
        return dict(zip(columns[2:], scores, strict=True))

    def measure(pair: _Pair) -> list[object] | str:
        try:
            key = f"{pair.alpha} {sha256_file(pair.hr)} {sha256_file(pair.lr)}"
            scores = None if unfinished is None else unfinished.get(key)
            if scores is None:
                scores = compare(pair)
                if not all(map(math.isfinite, scores.values())):
                    return f"{pair.image}: {INFINITE}"
                if unfinished is not None:
                    unfinished.add(key, scores)
        except UserError as error:
            return _problem(pair, error)
        return [pair.set, pair.image, *scores.values()]

    rows = []
    with (
        Progress(len(pairs), description=description, unit="images") as shown,
        ThreadPoolExecutor(workers + 1, "evaluate") as pool,
    ):
        # An exception leaves `map`, which cancels what has not begun.
        for pair, result in zip(pairs, pool.map(measure, pairs), strict=True):
            if isinstance(result, str):
                problems[pair.set].append(result)
            else:
                rows.append(result)
            shown.advance()
    return Scores(
        images=pd.DataFrame(rows, columns=columns),
        missing={
            **{name: "; ".join(found) for name, found in problems.items() if found},
            **dict.fromkeys(skipped, SKIPPED),
        },
        weights_sha256=weights_sha256,
    )


def read_pair(test_set: BenchmarkSet, image: str, scale: int) -> tuple[ImageHWC, ImageHWC]:
    """Return one LR image of a set, by its name, and the original, cropped to a multiple of the scale.

    Raises:
        UserError: the set is not there, has no such image, or the two do not fit; no path is in the message.
    """
    pairs, problems = _pairs_of(test_set)
    for pair in pairs:
        if pair.image == image:
            try:
                return load_pair(pair.hr, pair.lr, scale=scale, alpha=pair.alpha)
            except UserError as error:
                raise UserError(_reason(pair, error)) from error
    if pairs:
        raise UserError(f"{test_set.name} has no image of this name with an LR image")
    raise UserError(f"{test_set.name}: {'; '.join(problems)}")


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
        _Pair(test_set.name, name, originals[name], small[name], test_set.alpha)
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
    return f"{pair.image}: {_reason(pair, error)}"


def _reason(pair: _Pair, error: UserError) -> str:
    """Return the error without the folders' paths, which differ from machine to machine."""
    return str(error).replace(f"{pair.hr}: ", "").replace(f"{pair.lr}: ", "LR image: ")
