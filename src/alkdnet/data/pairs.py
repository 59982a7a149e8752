"""The images (LR, HR) that a training is validated on."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alkdnet.data.images import Alpha, list_images, read_rgb
from alkdnet.errors import UserError

ImageHWC = NDArray[np.uint8]


def read_pairs(
    hr_folder: Path, lr_folder: Path, *, scale: int, alpha: Alpha = "refuse"
) -> list[tuple[ImageHWC, ImageHWC]]:
    """Return all images of a set as pairs (LR, HR) in the order of their names, HR cropped to the LR's size.

    Raises:
        UserError: an image has no partner, cannot be read, or does not fit its partner.
    """
    pairs = []
    for path in list_images(hr_folder):
        lr_path = lr_folder / f"{path.stem}.png"
        if not lr_path.is_file():
            raise UserError(f"{lr_path}: missing, it belongs to {path}")
        lr_HWC, hr_HWC = read_rgb(lr_path), read_rgb(path, alpha=alpha)
        height, width = lr_HWC.shape[0] * scale, lr_HWC.shape[1] * scale
        if (hr_HWC.shape[0] // scale, hr_HWC.shape[1] // scale) != lr_HWC.shape[:2]:
            raise UserError(f"{lr_path}: its size times {scale} is not that of {path}")
        pairs.append((lr_HWC, hr_HWC[:height, :width]))
    if not pairs:
        raise UserError(f"{hr_folder}: no images to validate on")
    return pairs
