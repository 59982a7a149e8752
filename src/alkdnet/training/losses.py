"""The loss of a batch by a recipe: a weighted sum of differences between images in [0, 1].

Shape letters: B batch (this process's share), C colours, H and W the patch size, LR or HR.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.config.params import Loss, Recipe
from alkdnet.kernels.cpu.training import FastKernels
from alkdnet.training.precision import keep_tail_in_float32

BatchLoss = Callable[[Tensor, Tensor], Tensor]

# The square of the difference below which Charbonnier's loss is round.
CHARBONNIER_SQUARE = 1e-6


def make_loss(recipe: Recipe, model: nn.Module, wrapped: nn.Module, device: torch.device) -> BatchLoss:
    """Return the function from a batch (LR, HR) to its mean loss, in float32.

    Args:
        recipe: its precision decides what runs in bfloat16.
        model: the network.
        wrapped: the network as it is called: itself, or wrapped for several processes.
        device: where it is.
    """
    bfloat16 = recipe.precision == "bfloat16"
    if bfloat16:
        keep_tail_in_float32(model, device.type)

    def batch_loss(lr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            sr_BCHW = wrapped(lr_BCHW)
        return image_loss(recipe.loss, sr_BCHW.float(), hr_BCHW)

    def batch_loss_on_cpu(lr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
        with FastKernels():
            return batch_loss(lr_BCHW, hr_BCHW)

    return batch_loss_on_cpu if device.type == "cpu" else batch_loss


def image_loss(weights: Loss, sr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
    """Return the weighted sum of the terms that have a weight."""
    given = {name: weight for name, weight in dataclasses.asdict(weights).items() if weight}
    return torch.stack([weight * TERMS[name](sr_BCHW, hr_BCHW) for name, weight in given.items()]).sum()


def largest_loss(weights: Loss, side: int) -> float:
    """Return a bound of the loss of patches of `side` x `side` HR pixels whose values are in [0, 1].

    Of `fft` by Parseval's theorem: the mean square of the parts is at most `side`^2, and their mean at most
    the root of it.
    """
    return (
        weights.l1 + weights.l2 + weights.charbonnier * math.sqrt(1 + CHARBONNIER_SQUARE) + weights.fft * side
    )


def charbonnier(sr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
    """Return the mean of sqrt(difference^2 + 1e-6)."""
    return ((sr_BCHW - hr_BCHW).square() + CHARBONNIER_SQUARE).sqrt().mean()


def fft_l1(sr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
    """Return the mean absolute real and imaginary part of the difference's Fourier transform, not normalised.

    It is the `FFTLoss` of SAFMN, SMFANet, LKMN and LKFMixer, which give it a weight of 0.05.
    """
    return torch.view_as_real(torch.fft.rfft2(sr_BCHW - hr_BCHW)).abs().mean()


TERMS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "charbonnier": charbonnier,
    "fft": fft_l1,
}
