"""The classic protocol, on small pictures; the published values are in test_published.py."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alkdnet.arrays import ImageHWC
from alkdnet.data.images import read_rgb
from alkdnet.data.resize import downscale
from alkdnet.evaluation.benchmark import BenchmarkSet, evaluate
from alkdnet.evaluation.classic import Luma, classic_score, shrink
from alkdnet.evaluation.metrics import luma
from alkdnet.evaluation.protocol import Protocol
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks import build

Photograph = Callable[..., ImageHWC]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrinking_is_matlabs_without_the_rounding(scale: int, photograph: Photograph) -> None:
    image = photograph(3, 12 * scale, 8 * scale)
    exact = shrink(image[..., 0] / 255.0, scale) * 255
    rounded = downscale(image, scale, border="symmetric")[..., 0]
    # Of the two roundings after the passes, the one after the rows may move a value by a further half.
    assert exact.shape == rounded.shape
    assert np.abs(exact.clip(0, 255) - rounded).max() < 1.1
    assert np.abs(exact - exact.round()).max() > 0.1


def test_a_grey_file_is_taken_in_full_range(tmp_path: Path) -> None:
    grey = np.tile(np.linspace(0, 255, 40, dtype=np.uint8), (40, 1))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "colour.png")
    seen: dict[str, float] = {}

    for name in ("grey", "colour"):

        def upscale(y_HW: Luma, name: str = name) -> Luma:
            seen[name] = float(y_HW.max())
            return np.kron(y_HW, np.ones((2, 2), np.float32))

        path = tmp_path / f"{name}.png"
        classic_score(upscale, path, read_rgb(path), scale=2)
    assert seen["grey"] == pytest.approx(1.0, abs=0.02)
    assert seen["colour"] == pytest.approx(235 / 255, abs=0.02)


def test_it_rounds_the_luma_of_the_output(photograph: Photograph, tmp_path: Path) -> None:
    image = photograph(0, 40, 40)
    y_HW = np.floor(luma(image) + 0.5).astype(np.float32)
    y_HW[20, 20] += 1  # one pixel of 36 x 36 off by one level
    psnr, _ = classic_score(lambda _: (y_HW + 0.3) / 255, _saved(image, tmp_path), image, scale=2)
    assert psnr == pytest.approx(10 * np.log10(255**2 * 36 * 36))


def test_a_network_for_luma_has_one_form_for_both(photograph: Photograph) -> None:
    for name in ("srcnn", "fsrcnn", "vdsr", "drrn", "idn"):
        torch.manual_seed(0)
        options = {"drrn": {"units": 2, "channels": 8}, "vdsr": {"layers": 4, "channels": 8}}
        upscaler = Upscaler(build(name, 2, options.get(name, {})))
        assert upscaler.luma is not None
        image = photograph(1, 24, 28)
        y_HW = (luma(image) / 255).astype(np.float32)
        rgb = upscaler.forward(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
        ours = luma(rgb[0].permute(1, 2, 0).double().numpy() * 255) / 255  # type: ignore[arg-type]
        np.testing.assert_allclose(upscaler.luma(y_HW), ours, atol=2e-6)
    assert Upscaler(build("bsrn", 2, {"blocks": 1, "channels": 16})).luma is None


def test_both_protocols_are_measured_in_one_pass(
    make_set: Callable[..., BenchmarkSet], photograph: Photograph
) -> None:
    made = make_set("A", {"a": photograph(0), "b": photograph(1)})
    upscaler = Upscaler(build("bicubic", 2, {}))
    alone = evaluate(upscaler, [made], scale=2, protocol=Protocol())
    both = evaluate(upscaler, [made], scale=2, protocol=Protocol(), upscale_luma=upscaler.luma)
    assert list(both.images.columns[:6]) == list(alone.images.columns)
    assert both.images[list(alone.images.columns)].equals(alone.images)
    mean = both.means()["A"]
    assert mean.psnr == alone.means()["A"].psnr
    assert mean.classic_psnr is not None
    assert 0 < abs(mean.classic_psnr - mean.psnr) < 2
    assert alone.means()["A"].classic_psnr is None


def _saved(image_HWC: ImageHWC, folder: Path) -> Path:
    path = folder / "image.png"
    Image.fromarray(image_HWC).save(path)
    return path
