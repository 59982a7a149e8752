"""ALKDNet and BSRN against the plain implementation, golden outputs, and arguments out of range."""

import itertools

import pytest
import torch

from alkdnet.analysis.intermediates import intermediates
from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.networks.bsrn import BSRN
from benchmarks.plain import PlainALKDNet, copy_weights

# What makes the plain network a BSRN.
PLAIN_BSRN = {
    "convolution": "bsconv",
    "fusion": "bsconv",
    "residual": "fsrl",
    "block_norm": False,
    "esa_padding": 0,
}
ABLATIONS = [
    dict(zip(("convolution", "residual", "block_norm"), values, strict=True))
    for values in itertools.product(("bsconv", "alkconv"), ("fsrl", "abrl", "both"), (True, False))
]


def random_norms(model: ALKDNet | BSRN) -> None:
    """Scale 1 and shift 0 would hide a norm that forgets them."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".norm." in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)


def check_equals_plain(model: ALKDNet | BSRN, plain: PlainALKDNet) -> None:
    random_norms(model)
    copy_weights(model, plain)
    x_BCHW = torch.rand(2, 3, 15, 18, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(x_BCHW), plain(x_BCHW), atol=1e-12, rtol=0)


@pytest.mark.parametrize("options", ABLATIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_bsrn_equals_plain(options):
    torch.manual_seed(0)
    arguments = {"scale": 3, "blocks": 1, "channels": 8}
    check_equals_plain(
        BSRN(**arguments, **options).double(),
        PlainALKDNet(**arguments, **{**PLAIN_BSRN, **options}).double(),
    )


@pytest.mark.parametrize("kernel_size", [3, 9])
def test_alkdnet_equals_plain(kernel_size):
    torch.manual_seed(0)
    arguments = {"scale": 3, "blocks": 1, "channels": 8, "kernel_size": kernel_size}
    check_equals_plain(ALKDNet(**arguments).double(), PlainALKDNet(**arguments).double())


def test_full_size_equals_plain():
    torch.manual_seed(0)
    model, plain = ALKDNet(scale=4), PlainALKDNet(scale=4)
    random_norms(model)
    copy_weights(model, plain)
    x_BCHW = torch.rand(1, 3, 24, 25)
    with torch.no_grad():
        torch.testing.assert_close(model(x_BCHW), plain(x_BCHW), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("network", "minimum"), [(ALKDNet, 13), (BSRN, 15)])
def test_small_input_is_padded_by_replication(network, minimum):
    torch.manual_seed(0)
    model = network(scale=2, blocks=1, channels=8)
    x_BCHW = torch.rand(1, 3, 4, 20)
    padded_BCHW = torch.cat([x_BCHW, x_BCHW[:, :, -1:].expand(-1, -1, minimum - 4, -1)], dim=2)
    with torch.no_grad():
        assert torch.equal(model(x_BCHW), model(padded_BCHW)[:, :, :8])


def test_anchor_repeats_each_pixel():
    """With a silent last convolution, ABRL alone is nearest-neighbour interpolation (Equation 5)."""
    model = BSRN(scale=3, blocks=1, channels=8, residual="abrl")
    torch.nn.init.zeros_(model.tail.weight)
    torch.nn.init.zeros_(model.tail.bias)
    x_BCHW = torch.rand(2, 3, 15, 16)
    expected = x_BCHW.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    with torch.no_grad():
        assert torch.equal(model(x_BCHW), expected)


def test_fsrl_adds_the_shallow_features():
    torch.manual_seed(0)
    model = ALKDNet(scale=2, blocks=1, channels=8)
    features = intermediates(model, torch.rand(1, 3, 13, 13))
    torch.testing.assert_close(features["after_fsrl"], features["before_fsrl"] + features["shallow"])


# One output pixel (row 5, column 5) and the output's mean and standard deviation: computed in
# float64 with torch 2.13.0 by benchmarks/plain.py, from weights that need no random generator.
GOLDEN = {
    ALKDNet: (
        [1.4881819712555124, 0.05865712865254591, 1.5675115264652089],
        (0.5428349018962496, 0.8777132998898894),
    ),
    BSRN: (
        [-0.14871153512069551, 0.4671520927521239, -0.7421275050193584],
        (-0.212021850671115, 0.7150241452861251),
    ),
}


@pytest.mark.parametrize("network", GOLDEN)
def test_golden_output(network):
    pixel, (mean, deviation) = GOLDEN[network]
    model = network(scale=2, blocks=2, channels=8).double()
    with torch.no_grad():
        for number, (_, parameter) in enumerate(sorted(model.named_parameters())):
            values = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 0.7 + number)
            fan_in = parameter.numel() // len(parameter)
            parameter.copy_(values.view_as(parameter) / fan_in**0.5)
        x_BCHW = (torch.arange(3 * 15 * 16, dtype=torch.float64) * 0.37).sin().view(1, 3, 15, 16) / 2 + 0.5
        y_BCHW = model(x_BCHW)
    assert y_BCHW[0, :, 5, 5].tolist() == pytest.approx(pixel, abs=1e-9)
    assert y_BCHW.mean().item() == pytest.approx(mean, abs=1e-9)
    assert y_BCHW.std().item() == pytest.approx(deviation, abs=1e-9)


@pytest.mark.parametrize("network", [ALKDNet, BSRN])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 6}, "multiple of 4"),
        ({"channels": 0}, "multiple of 4"),
        ({"blocks": 0}, "blocks must be at least 1"),
        ({"scale": 0}, "scale must be at least 1"),
    ],
)
def test_sizes_out_of_range(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**({"scale": 2} | arguments))


@pytest.mark.parametrize("kernel_size", [1, 8])
def test_kernel_sizes_out_of_range(kernel_size):
    for network, options in ((ALKDNet, {}), (BSRN, {"convolution": "alkconv"})):
        with pytest.raises(ValueError, match="odd and at least 3"):
            network(scale=2, kernel_size=kernel_size, **options)


def test_kernel_size_without_an_effect():
    with pytest.raises(ValueError, match="no effect with convolution bsconv"):
        BSRN(scale=2, kernel_size=5)
