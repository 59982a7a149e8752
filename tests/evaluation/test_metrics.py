import math

import numpy as np
import pytest

from alkdnet.errors import UserError
from alkdnet.evaluation.metrics import SSIM_WINDOW, comparable, luma, psnr, score, ssim
from alkdnet.evaluation.protocol import Protocol


def noisy_pair(height: int = 40, width: int = 36, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    hr = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise = random.integers(-20, 21, hr.shape)
    return np.clip(hr.astype(int) + noise, 0, 255).astype(np.uint8), hr


def ssim_by_definition(sr_HW: np.ndarray, hr_HW: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, at every position where the 11x11 window fits."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for i in range(hr_HW.shape[0] - 10):
        for j in range(hr_HW.shape[1] - 10):
            x, y = sr_HW[i : i + 11, j : j + 11], hr_HW[i : i + 11, j : j + 11]
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            covariance = (window * (x - mx) * (y - my)).sum()
            values.append(
                (2 * mx * my + c1) * (2 * covariance + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
            )
    return float(np.mean(values))


@pytest.mark.parametrize(
    ("rgb", "expected"),
    # ITU-R BT.601, studio range: black 16, white 235; the colours by the formula's own coefficients.
    [((0, 0, 0), 16.0), ((255, 255, 255), 235.0), ((255, 0, 0), 81.481), ((0, 255, 0), 144.553)],
)
def test_luma_of_known_colours(rgb: tuple[int, int, int], expected: float) -> None:
    image = np.full((1, 1, 3), rgb, dtype=np.uint8)
    assert luma(image)[0, 0] == pytest.approx(expected, abs=1e-12)


def test_psnr_of_a_constant_difference() -> None:
    # A difference of one grey level is 219/255 of luma: 20 log10(255 / (219 / 255)).
    hr = np.full((30, 30, 3), 100, dtype=np.uint8)
    assert psnr(hr + 1, hr, scale=2, protocol=Protocol()) == pytest.approx(
        20 * math.log10(255**2 / 219), abs=1e-9
    )
    # In RGB it is one level.
    rgb = Protocol(channel="rgb")
    assert psnr(hr + 1, hr, scale=2, protocol=rgb) == pytest.approx(20 * math.log10(255), abs=1e-9)


def test_rounded_luma_rounds_half_up() -> None:
    # Y(100) = 219 * 100 / 255 + 16 = 101.88 -> 102, Y(101) = 102.74 -> 103: one level apart.
    hr = np.full((30, 30, 3), 100, dtype=np.uint8)
    rounded = Protocol(round_luma=True)
    assert psnr(hr + 1, hr, scale=2, protocol=rounded) == pytest.approx(20 * math.log10(255), abs=1e-9)


def test_equal_images_have_infinite_psnr_and_ssim_one() -> None:
    _, hr = noisy_pair()
    assert psnr(hr, hr, scale=2, protocol=Protocol()) == math.inf
    assert ssim(hr, hr, scale=2, protocol=Protocol()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("crop", [None, 0, 5])
def test_the_border_does_not_count(scale: int, crop: int | None) -> None:
    protocol = Protocol(crop=crop)
    sr, hr = noisy_pair()
    border = scale if crop is None else crop
    before = score(sr, hr, scale=scale, protocol=protocol)
    changed = sr.copy()
    if border:
        changed[:border] = changed[-border:] = 0
        changed[:, :border] = changed[:, -border:] = 0
    assert score(changed, hr, scale=scale, protocol=protocol) == before
    changed[border, border] ^= 128
    assert score(changed, hr, scale=scale, protocol=protocol) != before


def test_ssim_agrees_with_its_definition() -> None:
    sr, hr = noisy_pair(26, 29)
    inside = (slice(2, -2), slice(2, -2))
    expected = ssim_by_definition(luma(sr)[inside], luma(hr)[inside])
    assert ssim(sr, hr, scale=2, protocol=Protocol()) == pytest.approx(expected, abs=1e-12)
    colours = [
        ssim_by_definition(sr[inside][..., c].astype(float), hr[inside][..., c].astype(float))
        for c in range(3)
    ]
    assert ssim(sr, hr, scale=2, protocol=Protocol(channel="rgb")) == pytest.approx(
        np.mean(colours), abs=1e-12
    )


def test_score_is_psnr_and_ssim() -> None:
    sr, hr = noisy_pair()
    for protocol in (Protocol(), Protocol(channel="rgb"), Protocol(round_luma=True)):
        both = psnr(sr, hr, scale=3, protocol=protocol), ssim(sr, hr, scale=3, protocol=protocol)
        assert score(sr, hr, scale=3, protocol=protocol) == both


def test_rejects_what_cannot_be_compared() -> None:
    sr, hr = noisy_pair(14, 40)
    with pytest.raises(UserError, match="40x14 super-resolved, 40x13 original"):
        psnr(sr, hr[:13], scale=2, protocol=Protocol())
    with pytest.raises(UserError, match="40x14 is too small"):
        ssim(sr, hr, scale=2, protocol=Protocol())
    assert math.isfinite(psnr(sr, hr, scale=2, protocol=Protocol()))
    assert math.isfinite(ssim(sr, hr, scale=2, protocol=Protocol(crop=1)))
    with pytest.raises(UserError, match="too small"):
        psnr(sr, hr, scale=7, protocol=Protocol())
    with pytest.raises(TypeError, match="float32"):
        comparable(sr.astype(np.float32), hr, scale=2, protocol=Protocol())
    assert SSIM_WINDOW == 11


def test_psnr_needs_no_scikit_image() -> None:
    # The trainer runs on hosts without it; a fresh interpreter shows what the module imports.
    import subprocess
    import sys

    code = (
        "import sys, alkdnet.evaluation.metrics; "
        "sys.exit(any(name in sys.modules for name in ('skimage', 'scipy', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
