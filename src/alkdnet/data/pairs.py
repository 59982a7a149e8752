"""Pairs of images (LR, HR), for validation and evaluation."""

from pathlib import Path

from alkdnet.arrays import ImageHWC
from alkdnet.data.images import Alpha, list_images, read_rgb
from alkdnet.errors import UserError


def load_pair(
    hr_path: Path, lr_path: Path, *, scale: int, alpha: Alpha = "reject"
) -> tuple[ImageHWC, ImageHWC]:
    """Return an LR image and its HR image, cropped to a multiple of the scale (protocol, point 1).

    Raises:
        UserError: one cannot be read, or they do not fit; the message begins with the path of the file.
    """
    hr_HWC, lr_HWC = read_rgb(hr_path, alpha=alpha), read_rgb(lr_path)
    height, width = hr_HWC.shape[0] // scale, hr_HWC.shape[1] // scale
    if lr_HWC.shape[:2] != (height, width):
        raise UserError(
            f"{hr_path}: the LR image has {lr_HWC.shape[1]}x{lr_HWC.shape[0]} pixels; at x{scale} the "
            f"original asks for {width}x{height}"
        )
    return lr_HWC, hr_HWC[: height * scale, : width * scale]


def read_pairs(
    hr_folder: Path, lr_folder: Path, *, scale: int, alpha: Alpha = "reject"
) -> list[tuple[ImageHWC, ImageHWC]]:
    """Return all images of a set as pairs (LR, HR) in the order of their names; see `load_pair`.

    Raises:
        UserError: there are none, or an image has no partner, cannot be read, or does not fit its partner.
    """
    pairs = []
    for path in list_images(hr_folder):
        lr_path = lr_folder / f"{path.stem}.png"
        if not lr_path.is_file():
            raise UserError(f"{lr_path}: missing, it belongs to {path}")
        pairs.append(load_pair(path, lr_path, scale=scale, alpha=alpha))
    if not pairs:
        raise UserError(f"{hr_folder}: there are no images")
    return pairs
