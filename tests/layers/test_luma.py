"""Luma networks' frame: RGB in, RGB out."""

import numpy as np
import pytest
import torch

from alkdnet.data.resize import upscale
from alkdnet.evaluation import metrics
from alkdnet.layers.luma import bicubic, luma, with_luma
from alkdnet.networks import build

# BT.601's difference signals per unit of R, G, B; rows Cb and Cr (Poynton; each row sums to 0).
CHROMA = torch.tensor([[-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], dtype=torch.float64)


def test_luma_is_that_of_the_metrics():
    image_HWC = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    x_BCHW = torch.from_numpy(image_HWC).double().permute(2, 0, 1)[None] / 255
    expected = torch.from_numpy(metrics.luma(image_HWC))
    torch.testing.assert_close(luma(x_BCHW)[0, 0] * 255, expected, atol=1e-9, rtol=0)


def test_luma_is_replaced_and_chroma_kept():
    torch.manual_seed(0)
    x_BCHW = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    y_B1HW = torch.rand(2, 1, 4, 5, dtype=torch.float64)
    out_BCHW = with_luma(x_BCHW, y_B1HW)
    torch.testing.assert_close(luma(out_BCHW), y_B1HW, atol=1e-12, rtol=0)
    before, after = (torch.einsum("kc,bchw->bkhw", CHROMA, image) for image in (x_BCHW, out_BCHW))
    torch.testing.assert_close(after, before, atol=1e-12, rtol=0)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 8)])
def test_bicubic_is_matlab_s_before_rounding(scale, size):
    """Each pass of the exact one rounds: values may differ by 0.5 and by 0.5 times the taps' sum, 1.25."""
    image_HWC = np.random.default_rng(1).integers(60, 190, (*size, 3), dtype=np.uint8)
    x_BCHW = torch.from_numpy(image_HWC).permute(2, 0, 1)[None] / 255
    y_HWC = bicubic(x_BCHW, scale)[0].permute(1, 2, 0).numpy() * 255
    difference = np.abs(y_HWC - upscale(image_HWC, scale, border="symmetric"))
    assert difference.max() <= 1.125 + 1e-4
    assert difference.mean() < 0.4


def test_silent_networks_give_the_bicubic_image():
    """VDSR, DRRN and IDN learn a difference: with a last layer of zeros it is none."""
    x_BCHW = torch.rand(1, 3, 6, 7)
    small = {"vdsr": {"layers": 2, "channels": 2}, "drrn": {"units": 1, "channels": 2}, "idn": {"blocks": 1}}
    for name, options in small.items():
        model = build(name, 3, options)
        last = list(model.children())[-1]
        last = last[-1] if name == "vdsr" else last
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        with torch.no_grad():
            torch.testing.assert_close(model(x_BCHW), bicubic(x_BCHW, 3), atol=1e-6, rtol=0)


def test_transposed_convolution_of_idn_starts_after_the_first_rows():
    model = build("idn", 3, {"blocks": 1})
    x_BCHW = torch.rand(1, 3, 6, 7)
    with torch.no_grad():
        difference = (model(x_BCHW) - bicubic(x_BCHW, 3)).abs()
    assert difference[:, :, :2].max() < 1e-6
    assert difference[:, :, :, :2].max() < 1e-6
    assert difference[:, :, 2:, 2:].min() > 1e-6
