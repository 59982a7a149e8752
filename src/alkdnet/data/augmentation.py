"""Data augmentation by the eight symmetries of the square: flips and rotations by 90 degrees."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Pixel = TypeVar("Pixel", bound=np.generic)

# The bits of an augmentation, 0 to 7, in the order in which they are applied.
FLIP_ROWS, FLIP_COLUMNS, TRANSPOSE = 1, 2, 4


def augment(patch_HW: npt.NDArray[Pixel], augmentation: int) -> npt.NDArray[Pixel]:
    """Return an augmented view of a patch.

    `patch_HW`: pixels as single numbers, or with their channels as a third axis.
    """
    if augmentation & FLIP_ROWS:
        patch_HW = patch_HW[::-1]
    if augmentation & FLIP_COLUMNS:
        patch_HW = patch_HW[:, ::-1]
    if augmentation & TRANSPOSE:
        patch_HW = patch_HW.swapaxes(0, 1)
    return patch_HW
