"""PSNR and SSIM by the protocol. Training imports this module: PSNR needs no image library."""

import math

import numpy as np
from numpy.typing import NDArray

from alkdnet.arrays import ImageHWC
from alkdnet.errors import UserError
from alkdnet.evaluation.protocol import Protocol
from alkdnet.layers.luma import BT601

PEAK = 255.0
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def luma(image_HWC: ImageHWC) -> NDArray[np.float64]:
    """Return Y of BT.601 in studio range, 16 to 235, of an RGB image, as floating point of shape HW.

    Y = (65.481 R + 128.553 G + 24.966 B) / 255 + 16 for R, G, B in 0 to 255 (protocol, point 4).
    """
    weights = np.array(BT601) / 255.0
    return np.asarray(image_HWC, dtype=np.float64) @ weights + 16.0


def psnr(sr_HWC: ImageHWC, hr_HWC: ImageHWC, *, scale: int, protocol: Protocol) -> float:
    """Return the peak signal-to-noise ratio in dB, computed in float64; peak 255.

    It is infinite when the compared pixels are equal. Raises UserError for images of different size, or with
    nothing left inside the border.
    """
    return _psnr(*comparable(sr_HWC, hr_HWC, scale=scale, protocol=protocol))


def ssim(sr_HWC: ImageHWC, hr_HWC: ImageHWC, *, scale: int, protocol: Protocol) -> float:
    """Return the structural similarity by scikit-image, at most 1; of RGB the mean over the colours.

    Gaussian window of 11x11 pixels, sigma 1.5, only where it fits; K1 = 0.01, K2 = 0.03 (Wang et al. 2004).
    Raises UserError as `psnr` does, and for images that do not hold the window.
    """
    return _ssim(*comparable(sr_HWC, hr_HWC, scale=scale, protocol=protocol, minimum=SSIM_WINDOW))


def score(sr_HWC: ImageHWC, hr_HWC: ImageHWC, *, scale: int, protocol: Protocol) -> tuple[float, float]:
    """Return (PSNR, SSIM), as `psnr` and `ssim` do, converting the images once."""
    pair = comparable(sr_HWC, hr_HWC, scale=scale, protocol=protocol, minimum=SSIM_WINDOW)
    return _psnr(*pair), _ssim(*pair)


def comparable(
    sr_HWC: ImageHWC, hr_HWC: ImageHWC, *, scale: int, protocol: Protocol, minimum: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both images, 0 to 255, in the compared channel and without their border.

    The shape is HW for luma and HWC for RGB.

    Raises:
        UserError: the images differ in size, or one side keeps fewer than `minimum` pixels.
        TypeError: an image is not uint8.
    """
    if sr_HWC.dtype != np.uint8 or hr_HWC.dtype != np.uint8:
        raise TypeError(f"images are compared as uint8, not as {sr_HWC.dtype} and {hr_HWC.dtype}")
    if sr_HWC.shape != hr_HWC.shape:
        raise UserError(
            f"the images to compare differ in size: {_size(sr_HWC)} super-resolved, {_size(hr_HWC)} original"
        )
    border = protocol.border(scale)
    height, width = hr_HWC.shape[0] - 2 * border, hr_HWC.shape[1] - 2 * border
    if min(height, width) < minimum:
        raise UserError(
            f"an image of {_size(hr_HWC)} is too small: without {border} pixels at every side "
            f"{minimum}x{minimum} must remain"
        )
    inside = (slice(border, border + height), slice(border, border + width))
    return _channel(sr_HWC[inside], protocol), _channel(hr_HWC[inside], protocol)


def _channel(image_HWC: ImageHWC, protocol: Protocol) -> NDArray[np.float64]:
    if protocol.channel == "rgb":
        return image_HWC.astype(np.float64)
    y_HW = luma(image_HWC)
    # MATLAB's rounding, half upwards, whose uint8 luma this option stands for.
    return np.floor(y_HW + 0.5) if protocol.round_luma else y_HW


def _psnr(sr: NDArray[np.float64], hr: NDArray[np.float64]) -> float:
    mean_squared_error = float(np.mean(np.square(sr - hr)))
    return math.inf if mean_squared_error == 0 else 10 * math.log10(PEAK**2 / mean_squared_error)


def _ssim(sr: NDArray[np.float64], hr: NDArray[np.float64]) -> float:
    # Imported here: the trainer needs PSNR only, and runs where scikit-image may be missing.
    from skimage.metrics import structural_similarity

    similarity = structural_similarity(  # type: ignore[no-untyped-call]
        sr,
        hr,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
        data_range=PEAK,
        channel_axis=-1 if sr.ndim == 3 else None,
    )
    return float(similarity)


def _size(image_HWC: ImageHWC) -> str:
    return f"{image_HWC.shape[1]}x{image_HWC.shape[0]}"
