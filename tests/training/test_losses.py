"""Losses: each term by its formula, their weighted sum, the bound by which a divergence is told."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alkdnet.config.params import Loss
from alkdnet.training.losses import image_loss, largest_loss


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sr_BCHW, hr_BCHW = torch.rand(2, 2, 3, 12, 10, generator=generator)
    return sr_BCHW, hr_BCHW


def test_each_term_is_its_formula(images: tuple[Tensor, Tensor]) -> None:
    difference = (images[0] - images[1]).double().numpy()
    transform = np.fft.rfft2(difference)
    expected = {
        "l1": np.abs(difference).mean(),
        "l2": (difference**2).mean(),
        "charbonnier": np.sqrt(difference**2 + 1e-6).mean(),
        "fft": (np.abs(transform.real).mean() + np.abs(transform.imag).mean()) / 2,
    }
    for name, value in expected.items():
        found = image_loss(Loss(**{name: 1.0}), *images).item()
        assert found == pytest.approx(value, rel=1e-5), name
    both = image_loss(Loss(l1=2.0, fft=0.05), *images).item()
    assert both == pytest.approx(2 * expected["l1"] + 0.05 * expected["fft"], rel=1e-5)


def test_the_paper_s_loss_is_torch_s_l1_to_the_bit(images: tuple[Tensor, Tensor]) -> None:
    sr_BCHW = images[0].requires_grad_()
    ours, theirs = image_loss(Loss(l1=1.0), sr_BCHW, images[1]), F.l1_loss(sr_BCHW, images[1])
    assert torch.equal(ours, theirs)
    (gradient,), (expected,) = (torch.autograd.grad(loss, sr_BCHW) for loss in (ours, theirs))
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize("term", ["l1", "l2", "charbonnier", "fft"])
def test_no_images_have_a_larger_loss(term: str) -> None:
    weights, side = Loss(**{term: 2.0}), 16
    bound = largest_loss(weights, side)
    black, white = torch.zeros(1, 3, side, side), torch.ones(1, 3, side, side)
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).round()
    worst = max(image_loss(weights, black, other).item() for other in (white, noise))
    assert bound / 4 < worst <= bound * (1 + 1e-6)
