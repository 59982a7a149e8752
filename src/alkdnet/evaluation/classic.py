"""The protocol of the years before 2017, by which older papers measured the rows that later tables copy.

All of it happens on luma: Y of the original is rounded to uint8, shrunk by MATLAB's `imresize` without
rounding the small image, super-resolved, rounded, and compared without s pixels of border. A grey file is
taken as it is, from 0 to 255, and not brought into the studio range of Y (16 to 235).

Shape letters: H and W the size, s the scale.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from alkdnet.arrays import ImageHWC
from alkdnet.evaluation.metrics import luma, score
from alkdnet.evaluation.protocol import Protocol

Luma = NDArray[np.float32]
# The shrunk kernel reaches two LR pixels beyond the image; a multiple of s keeps the grid.
_REACH = 4
# All channels that there are: the one.
_COMPARISON = Protocol(channel="rgb")


def classic_score(
    upscale: Callable[[Luma], Luma], hr_path: Path, hr_HWC: ImageHWC, *, scale: int
) -> tuple[float, float]:
    """Return (PSNR, SSIM) of an image by the classic protocol.

    Args:
        upscale: takes Y of the LR image, shape HW, in [0, 1], and returns Y of the HR image, not clipped.
        hr_path: the original, for whether it is a grey file.
        hr_HWC: the original, cropped to a multiple of the scale.
        scale: s.

    Raises:
        UserError: the image is too small.
    """
    y_HW = hr_HWC[..., 0] if _is_grey(hr_path) else np.floor(luma(hr_HWC) + 0.5).astype(np.uint8)
    upscaled_HW = upscale(shrink(y_HW / 255.0, scale).astype(np.float32))
    sr_HW = np.floor(upscaled_HW.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return score(sr_HW[..., None], y_HW[..., None], scale=scale, protocol=_COMPARISON)


def shrink(y_HW: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """Return 1/scale of the image as MATLAB's `imresize` does with floating point: nothing is rounded.

    The border is the symmetric one, as in the luma networks (layers/luma.py). Sides are multiples of s.
    """
    padded_HW = np.pad(y_HW, _REACH * scale, mode="symmetric")
    small_HW: NDArray[np.float64] = F.interpolate(
        torch.from_numpy(padded_HW)[None, None], scale_factor=1 / scale, mode="bicubic", antialias=True
    )[0, 0].numpy()
    return small_HW[_REACH:-_REACH, _REACH:-_REACH]


def _is_grey(path: Path) -> bool:
    with Image.open(path) as image:
        return image.mode in ("1", "L", "LA")
