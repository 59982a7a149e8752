"""Reading the arrays and images of the features stage."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alkdnet.arrays import ImageHWC
from alkdnet.errors import UserError

MapHW = NDArray[np.floating]


def read_map(path: Path) -> MapHW:
    """Return an array of a height and a width.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        values: MapHW = np.load(path)
        if values.ndim != 2 or not values.size:
            raise ValueError(f"an array of shape {values.shape}, not of a height and a width")
    except (OSError, EOFError, ValueError) as error:
        raise _damaged(path, error) from None
    return values


def read_image(path: Path) -> ImageHWC:
    """Return an RGB image.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, error) from None


def short_name(image: str) -> str:
    """Return an image's name without the suffix of SelfExSR's files, as in img_003_SRF_2_HR."""
    return re.sub(r"_SRF_\d_HR$", "", image)


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: {error}; delete the folder and run its stage again")
