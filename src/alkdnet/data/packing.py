"""Packing training images: from folders of image files to the packs that packs.py describes and reads."""

import hashlib
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alkdnet.arrays import ImageHWC
from alkdnet.data.disk import require_space, size
from alkdnet.data.images import (
    Alpha,
    collect_problems,
    image_sizes,
    list_images,
    pixel_bytes,
    read_rgb,
    too_small,
)
from alkdnet.data.packs import index_digest
from alkdnet.errors import raise_problems
from alkdnet.files import atomic_directory, write_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSet:
    """A folder of HR images, and the folder with their LR images in x<scale>/<stem>.png."""

    name: str
    hr: Path
    lr: Path
    alpha: Alpha = "reject"


@dataclass(frozen=True)
class _Image:
    """An image to pack: its name in the index, its file, and its size (height, width) in pixels."""

    name: str
    path: Path
    size: tuple[int, int]
    alpha: Alpha


def required_bytes(sizes: Sequence[tuple[int, int]], scales: Sequence[int]) -> int:
    """Return the bytes of the packs of HR images with these sizes (height, width) and of their LR images."""
    return sum(pixel_bytes(sizes, scale) for scale in (1, *scales))


def pack(sets: Sequence[TrainingSet], target: Path, patch_sizes: Mapping[int, int]) -> None:
    """Write the packs of all images of `sets`, in the order of the sets' and the files' names, to `target`.

    There is one image for each core in memory. `target` appears when it is complete.

    Args:
        sets: the training images.
        target: the folder of the packs.
        patch_sizes: the scales of the LR images, each with the side in pixels of the largest LR patch that
            training takes. The packs do not depend on it.

    Raises:
        UserError: images cannot be read or are smaller than a patch, an LR image is missing or does not have
            the size of its HR image divided by the scale (all such problems at once), or the disk cannot hold
            the packs, whose size is known from the headers of the images alone.
    """
    images = _measured(sets, patch_sizes)
    needed = required_bytes([image.size for image in images], list(patch_sizes))
    logger.info("%s: %d images, %s when packed", target, len(images), size(needed))
    require_space([(target, needed)])
    folders = {training_set.name: training_set.lr for training_set in sets}
    with atomic_directory(target) as folder:
        hr_digest = _write(folder / "hr", images, {})
        for scale in patch_sizes:
            lr_images = [
                _Image(
                    name=image.name,
                    path=folders[image.name.partition("/")[0]] / f"x{scale}" / f"{image.path.stem}.png",
                    size=(image.size[0] // scale, image.size[1] // scale),
                    alpha="reject",
                )
                for image in images
            ]
            _write(folder / f"x{scale}", lr_images, {"scale": scale, "hr_digest": hr_digest})


def _measured(sets: Sequence[TrainingSet], patch_sizes: Mapping[int, int]) -> list[_Image]:
    """Return the images to pack, their sizes taken from the files' headers, after checking the sizes."""
    files = {
        path: training_set
        for training_set in sorted(sets, key=lambda each: each.name)
        for path in list_images(training_set.hr)
    }
    sizes, problems = image_sizes(list(files))
    # The patch that is largest in HR pixels.
    scale, side = max(patch_sizes.items(), key=math.prod, default=(1, 1))
    for path, (height, width) in sizes.items():
        if problem := too_small(path, height, width, scale * side):
            problems.append(f"{problem} for an LR patch of {side}x{side} at x{scale}")
    _raise(problems)
    return [
        _Image(f"{training_set.name}/{path.stem}", path, sizes[path], training_set.alpha)
        for path, training_set in files.items()
    ]


def _write(folder: Path, images: Sequence[_Image], header: dict[str, str | int]) -> str:
    """Write one pack and return its digest, which covers the header, the names and all pixels."""
    folder.mkdir()
    lengths = [pixel_bytes([image.size]) for image in images]
    starts = dict(zip((image.path for image in images), np.cumsum([0, *lengths]).tolist(), strict=False))
    by_path = {image.path: image for image in images}
    digests: dict[Path, str] = {}
    file = os.open(folder / "images.bin", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:

        def copy(path: Path) -> str | None:
            image_HWC = read_rgb(path, alpha=by_path[path].alpha)
            height, width = by_path[path].size
            if image_HWC.shape[:2] != (height, width):
                actual = f"{image_HWC.shape[1]}x{image_HWC.shape[0]}"
                return f"{path}: {actual} pixels, {width}x{height} were expected"
            digests[path] = hashlib.sha256(image_HWC.data).hexdigest()
            _write_at(file, image_HWC, starts[path])
            return None

        _raise(collect_problems(copy, list(by_path), description=f"pack {folder.name}"))
        os.fsync(file)
    finally:
        os.close(file)
    rows: list[dict[str, str | int]] = [
        {"name": i.name, "height": i.size[0], "width": i.size[1], "sha256": digests[i.path]} for i in images
    ]
    digest = index_digest(header, rows)
    write_json(folder / "index.json", {**header, "digest": digest, "bytes": sum(lengths), "images": rows})
    return digest


def _write_at(file: int, image_HWC: ImageHWC, start: int) -> None:
    """Write an image at a position of a file to which other threads write too."""
    remaining = image_HWC.reshape(-1).data
    while remaining:
        written = os.pwrite(file, remaining, start)
        start += written
        remaining = remaining[written:]


def _raise(problems: Sequence[str]) -> None:
    raise_problems(problems, f"{len(problems)} of the training images cannot be packed:")
