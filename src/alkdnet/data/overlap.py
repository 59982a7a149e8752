"""Finding test images among training images: whoever trains on them reports a PSNR that means nothing.

Two images are held for the same picture when their thumbnails agree: gray, 32x32 pixels, without their coarse
brightness, by the cosine of the angle between them. That survives rescaling, JPEG compression, a changed
brightness and a crop of a few pixels; it does not find a small part of a picture, a turned or a mirrored one.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alkdnet.data.images import collect_problems, gray_thumbnail, list_images
from alkdnet.errors import UserError

_SIZE = 32
# Strangers reach 0.44, copies as described above go down to 0.76: see docs/data.md.
_SAME = 0.7


def refuse_overlaps(training: Sequence[Path], test: Sequence[Path]) -> None:
    """Check that no image in the folders `training` is in the folders `test`.

    Raises:
        UserError: some are, or images cannot be read; all of them are named.
    """
    overlaps = find_overlaps(
        [path for folder in training for path in list_images(folder)],
        [path for folder in test for path in list_images(folder)],
    )
    if overlaps:
        raise UserError("\n".join([*overlaps, "leave these out of the training set, or out of the test set"]))


def find_overlaps(training: Sequence[Path], test: Sequence[Path]) -> list[str]:
    """Return a line for every training image that shows the same picture as a test image.

    Raises:
        UserError: images cannot be read; all of them are named.
    """
    similarity = similarities(training, test)
    return [
        f"{training[i]}: shows the same picture as test image {test[j]} (similarity {similarity[i, j]:.2f})"
        for i, j in np.argwhere(similarity >= _SAME).tolist()
    ]


def similarities(training: Sequence[Path], test: Sequence[Path]) -> npt.NDArray[np.float32]:
    """Return the cosines between all pairs, shape (training, test): 1 for equal images, near 0 for strangers.

    An image of one colour resembles nothing.
    """
    return _signatures(training) @ _signatures(test).T


def _signatures(paths: Sequence[Path]) -> npt.NDArray[np.float32]:
    """Return a unit vector for each image, shape (images, 1024); zeros for an image of one colour."""
    signatures = np.zeros((len(paths), _SIZE * _SIZE), dtype=np.float32)
    position = {path: i for i, path in enumerate(paths)}

    def sign(path: Path) -> None:
        detail = _without_coarse(gray_thumbnail(path, _SIZE).astype(np.float32)).reshape(-1)
        signatures[position[path]] = detail / max(float(np.linalg.norm(detail)), 1e-6)

    problems = collect_problems(sign, paths, description="look for test images")
    if problems:
        raise UserError("\n".join(problems))
    return signatures


def _without_coarse(thumbnail: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Subtract the mean of the 9x9 pixels around each pixel: skies and horizons make strangers alike."""
    padded = np.pad(thumbnail, 4, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9))
    coarse: npt.NDArray[np.float32] = windows.mean(axis=(2, 3), dtype=np.float32)
    return thumbnail - coarse
