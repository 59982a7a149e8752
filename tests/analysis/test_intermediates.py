"""Intermediate features and the effective receptive field."""

import pytest
import torch
from torch import Tensor, nn

from alkdnet.analysis.intermediates import intermediates
from alkdnet.analysis.receptive_field import effective_receptive_field, receptive_radii
from alkdnet.errors import UserError
from alkdnet.networks import build

SMALL = {"blocks": 2, "channels": 8}


def test_names_in_order():
    model = build("alkdnet", 3, SMALL)
    features = intermediates(model, torch.rand(2, 3, 13, 14))
    shapes = {name: tuple(tensor.shape) for name, tensor in features.items()}
    wide, narrow = (2, 8, 13, 14), (2, 27, 13, 14)
    assert shapes == {
        "shallow": wide,
        "block1": wide,
        "block2": wide,
        "before_fsrl": wide,
        "after_fsrl": wide,
        "before_abrl": narrow,
        "after_abrl": narrow,
    }
    assert not any(tensor.requires_grad for tensor in features.values())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("network", "options", "absent"),
    [
        ("bsrn", {"residual": "fsrl"}, {"after_abrl"}),
        ("bsrn", {"residual": "abrl"}, {"after_fsrl"}),
        ("imdn", {}, {"after_abrl"}),
    ],
)
def test_a_missing_connection_has_no_features(network, options, absent):
    features = intermediates(build(network, 2, SMALL | options), torch.rand(1, 3, 13, 14))
    assert {"after_fsrl", "after_abrl"} - set(features) == absent


def test_features_are_those_of_the_forward_pass():
    model = build("alkdnet", 2, SMALL)
    x_BCHW = torch.rand(1, 3, 16, 16)
    features = intermediates(model, x_BCHW)
    with torch.no_grad():
        assert torch.equal(model.shuffle(features["after_abrl"]), model(x_BCHW))
        assert torch.equal(model.blocks[1](features["block1"]), features["block2"])
    anchor = features["after_abrl"] - features["before_abrl"]
    torch.testing.assert_close(anchor, x_BCHW.repeat_interleave(4, dim=1), atol=1e-6, rtol=0)


def test_a_network_of_other_parts_is_rejected():
    with pytest.raises(UserError, match="Bicubic has no shallow and no blocks"):
        intermediates(build("bicubic", 2, {}), torch.rand(1, 3, 8, 8))


class Box(nn.Module):
    """Mean over k x k, then every pixel twice as large: its receptive field is known."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, x_BCHW: Tensor) -> Tensor:
        mean_BCHW = nn.functional.avg_pool2d(x_BCHW, self.k, stride=1, padding=self.k // 2)
        return mean_BCHW.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def test_field_of_a_box():
    field_HW = effective_receptive_field(Box(5), torch.rand(3, 3, 11, 15))
    expected = torch.zeros(11, 15, dtype=torch.float64)
    expected[3:8, 5:10] = 1 / 25
    torch.testing.assert_close(field_HW, expected, atol=1e-7, rtol=0)
    # The centre holds 1/25, the 3 x 3 pixels around it 9/25, all 5 x 5 the whole.
    assert receptive_radii(field_HW, (0.03, 0.3, 0.5, 0.99)) == {0.03: 0, 0.3: 1, 0.5: 2, 0.99: 2}


def test_a_larger_kernel_sees_further():
    images_BCHW = torch.rand(2, 3, 33, 33)
    radii = []
    for kernel_size in (3, 9):
        torch.manual_seed(0)
        model = build(
            "bsrn", 2, SMALL | {"convolution": "alkconv", "kernel_size": kernel_size, "block_norm": True}
        )
        field_HW = effective_receptive_field(model, images_BCHW)
        assert field_HW.sum().item() == pytest.approx(1)
        radii.append(receptive_radii(field_HW)[0.9])
    assert radii[1] > radii[0]


def test_radius_of_the_whole_is_inside():
    field_HW = torch.full((5, 7), 1 / 35)
    assert receptive_radii(field_HW, (1.0,)) == {1.0: 3}


@pytest.mark.parametrize("shape", [(0, 3, 5, 5), (1, 3, 4, 5), (1, 3, 5, 4)])
def test_images_without_a_centre_are_rejected(shape):
    with pytest.raises(ValueError, match="odd height and width"):
        effective_receptive_field(Box(3), torch.rand(shape))


def test_no_gradient_is_reported():
    with pytest.raises(UserError, match="Bicubic has no gradient"):
        effective_receptive_field(build("bicubic", 2, {}), torch.rand(1, 3, 5, 5))
