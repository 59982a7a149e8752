"""The resizing rule against MATLAB's files, against the rule in double precision, and at its edges."""

from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from alkdnet.data.images import read_rgb
from alkdnet.data.resize import BORDERS, Border, crop_to_multiple, downscale, upscale
from benchmarks.resize import imresize

SELFEXSR = "raw.githubusercontent.com/jbhuang0604/SelfExSR/8f6dd8c1d20cb7e8792a7177b4f6fd677633f598/data/Set5"
IMDN = (
    "raw.githubusercontent.com/Zheng222/IMDN/8f158e6a5ac9db6e5857d9159fd4a6c4214da574/Test_Datasets/Set5_LR"
)
IMDN_NAMES = ("baby", "bird", "butterfly", "head", "woman")


def noise(height: int, width: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    # Black and white only: the overshoots of the kernel reach the clipping at both ends.
    random = np.random.default_rng(height * 1000 + width)
    image = random.integers(0, 256, (height, width, channels), dtype=np.uint8)
    image[: height // 2] = np.where(image[: height // 2] < 128, 0, 255)
    return image


@pytest.mark.data
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("border", BORDERS)
def test_equals_the_files_that_matlab_made(data_dir: Path, border: Border, scale: int) -> None:
    compared = 0
    for number, name in enumerate(IMDN_NAMES, start=1):
        hr = read_rgb(data_dir / "mirror" / SELFEXSR / f"image_SRF_2/img_{number:03}_SRF_2_HR.png")
        if border == "replicate":
            path = f"{SELFEXSR}/image_SRF_{scale}/img_{number:03}_SRF_{scale}_LR.png"
        else:
            path = f"{IMDN}/x{scale}/{name}x{scale}.bmp"
        expected = read_rgb(data_dir / "mirror" / path)
        actual = downscale(crop_to_multiple(hr, scale), scale, border=border)
        assert np.array_equal(actual, expected), name
        compared += actual.size
    # Values in Set5's LR images, from their sizes: none was left out.
    assert compared == {2: 425592, 3: 187962, 4: 106398}[scale]


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("scale", [2, 3, 4, 5, 7, 8])
def test_equals_the_rule_in_double_precision(border: Border, scale: int) -> None:
    # Sizes around the 16 periods of a block: less than one, a bit more than one, several.
    for periods in ((1, 1), (2, 40), (17, 16), (35, 49)):
        image = noise(periods[0] * scale, periods[1] * scale)
        np.testing.assert_array_equal(
            downscale(image, scale, border=border), imresize(image, 1 / scale, border=border)
        )
        small = noise(*periods)
        np.testing.assert_array_equal(
            upscale(small, scale, border=border), imresize(small, scale, border=border)
        )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_treats_channels_alike(channels: int) -> None:
    image = noise(30, 42, channels)
    expected = np.concatenate([downscale(image[..., c : c + 1], 3) for c in range(channels)], axis=2)
    np.testing.assert_array_equal(downscale(image, 3), expected)


def test_enlarges_a_step_as_computed_by_hand() -> None:
    # The kernel at 0.25, 0.75, 1.25, 1.75 is 111, 29, -9, -3 parts of 128. The outputs lie at -0.25,
    # 0.25, 0.75 and 1.25; pixel 0 is black, pixel 1 and the repeated edge behind it are 128:
    # -9 (clipped), 29 - 3, 111 - 9, 111 + 29 - 3.
    step = np.array([[[0], [128]]], dtype=np.uint8)
    np.testing.assert_array_equal(upscale(step, 2)[0, :, 0], [0, 26, 102, 137])


def exact_pass(values: list[int], scale: int) -> list[int]:
    """One axis of the downscaling rule in rational numbers, edge pixels repeated."""

    def kernel(t: Fraction) -> Fraction:
        t = abs(t)
        if t <= 1:
            return Fraction(3, 2) * t**3 - Fraction(5, 2) * t**2 + 1
        return -t * t * t / 2 + Fraction(5, 2) * t**2 - 4 * t + 2 if t <= 2 else Fraction(0)

    outputs = []
    for i in range(len(values) // scale):
        centre = scale * i + Fraction(scale - 1, 2)
        total = sum(
            kernel((j - centre) / scale) / scale * values[min(max(j, 0), len(values) - 1)]
            for j in range(scale * i - 3 * scale, scale * i + 4 * scale)
        )
        outputs.append(min(max(floor(total + Fraction(1, 2)), 0), 255))
    return outputs


@pytest.mark.parametrize("scale", [2, 3, 6, 10, 12])
def test_rounds_the_exact_value_half_up(scale: int) -> None:
    # Scales 6, 10 and 12 are those where doubles may miss a tie; a scale of 8 and more needs float64 sums.
    image = noise(scale, 30 * scale, 1)
    rows = np.array([exact_pass(image[:, x, 0].tolist(), scale) for x in range(image.shape[1])]).T
    expected = [exact_pass(row.tolist(), scale) for row in rows]
    np.testing.assert_array_equal(downscale(image, scale)[..., 0], expected)


def test_scale_one_changes_nothing() -> None:
    image = noise(7, 9)
    np.testing.assert_array_equal(downscale(image, 1), image)
    np.testing.assert_array_equal(upscale(image, 1), image)


def test_takes_read_only_and_strided_images() -> None:
    image = noise(24, 30)
    expected = downscale(image[::-1].copy(), 3)
    view = image[::-1]
    view.flags.writeable = False
    np.testing.assert_array_equal(downscale(view, 3), expected)


def test_rejects_what_is_no_multiple() -> None:
    with pytest.raises(ValueError, match="multiples of the scale 4, not 10x8"):
        downscale(noise(8, 10), 4)


def test_crops_at_the_bottom_and_the_right() -> None:
    image = noise(8, 11)
    np.testing.assert_array_equal(crop_to_multiple(image, 3), image[:6, :9])
    with pytest.raises(ValueError, match="11x8 pixels is smaller than the scale 9"):
        crop_to_multiple(image, 9)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_rejects_what_is_no_image(image: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="non-empty uint8 image of shape HWC"):
        upscale(image, 2)


def test_a_scale_whose_sums_are_not_exact_is_rejected() -> None:
    strip_HWC = np.full((514, 514, 3), 200, dtype=np.uint8)
    assert downscale(strip_HWC[:512, :512], 512).tolist() == [[[200, 200, 200]]]
    with pytest.raises(ValueError, match="a scale of 514 is too large to be computed exactly"):
        downscale(strip_HWC, 514)
