"""The shared blocks against their definitions."""

import pytest
import torch

from alkdnet.layers.attention import CCA, ESA
from alkdnet.layers.convolution import ALKConv, BSConv
from alkdnet.layers.norm import PixelNorm
from alkdnet.layers.padding import pad_to_minimum


def test_pixel_norm_is_the_definition():
    torch.manual_seed(0)
    norm = PixelNorm(6, eps=1e-3).double()
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x_BCHW = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    mean = x_BCHW.mean(1, keepdim=True)
    variance = x_BCHW.var(1, correction=0, keepdim=True)
    expected = (x_BCHW - mean) / (variance + 1e-3).sqrt()
    expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x_BCHW), expected, atol=1e-12, rtol=0)


def test_pixel_norm_keeps_channels_last():
    x_BCHW = torch.randn(2, 6, 3, 4).to(memory_format=torch.channels_last)
    assert PixelNorm(6, eps=1e-6)(x_BCHW).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kernel_size", [0, 1, 2, 4, -3])
@pytest.mark.parametrize("block", [ALKConv, BSConv])
def test_kernel_sizes_without_a_centre_or_extent_are_rejected(block, kernel_size):
    with pytest.raises(ValueError, match="odd and at least 3"):
        block(4, 4, kernel_size=kernel_size)


@pytest.mark.parametrize("padding", [0, 1])
def test_esa_minimum_is_the_smallest_that_works(padding):
    """13 pixels in ALKDNet, 15 in BSRN (the pool needs 7 x 7 behind a stride of 2)."""
    esa = ESA(8, 2, padding=padding)
    n = esa.minimum_size
    assert n == {1: 13, 0: 15}[padding]
    assert esa(torch.rand(1, 8, n, n)).shape == (1, 8, n, n)
    with pytest.raises(RuntimeError):
        esa(torch.rand(1, 8, n, n - 1))


def test_cca_weighs_by_population_deviation_plus_mean():
    torch.manual_seed(0)
    cca = CCA(32).double()
    x_BCHW = torch.randn(2, 32, 3, 5, dtype=torch.float64)
    mean = x_BCHW.mean((2, 3), keepdim=True)
    deviation = ((x_BCHW - mean) ** 2).mean((2, 3), keepdim=True).sqrt()
    expected = x_BCHW * cca.excite(mean + deviation)
    torch.testing.assert_close(cca(x_BCHW), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("channels", "hidden"), [(64, 4), (32, 2), (16, 1), (8, 1)])
def test_cca_hidden_width(channels, hidden):
    assert CCA(channels).excite[0].out_channels == hidden


@pytest.mark.parametrize(("size", "expected"), [((1, 1), (5, 5)), ((3, 9), (5, 9)), ((5, 6), (5, 6))])
def test_pad_to_minimum(size, expected):
    x_BCHW = torch.rand(2, 3, *size)
    y_BCHW = pad_to_minimum(x_BCHW, 5)
    assert y_BCHW.shape[2:] == expected
    rows = torch.arange(expected[0]).clamp(max=size[0] - 1)
    columns = torch.arange(expected[1]).clamp(max=size[1] - 1)
    assert torch.equal(y_BCHW, x_BCHW[:, :, rows][:, :, :, columns])
