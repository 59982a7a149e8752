"""The training recipe of section 4.2 as functions: optimiser, learning rate, loss.

Shape letters: B batch (this process's share), C colours, H and W the patch size, LR or HR.
"""

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.config.params import Recipe
from alkdnet.kernels.cpu.training import FastKernels
from alkdnet.training.precision import keep_tail_in_float32

BatchLoss = Callable[[Tensor, Tensor], Tensor]


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return Adam with the recipe's learning rate and decays."""
    return torch.optim.Adam(parameters, recipe.learning_rate, betas=(recipe.beta1, recipe.beta2), fused=True)


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """Return the learning rate at `iteration` (counted from 0): one cosine period, no warm-up or restart.

    It is `learning_rate` at iteration 0 and would be `final_learning_rate` one after the last.

    Source: section 4.2 of the paper (1e-3 to 1e-7 in 10^6 iterations), as in the released options.
    """
    initial, final = recipe.learning_rate, recipe.final_learning_rate
    return final + 0.5 * (initial - final) * (1 + math.cos(math.pi * iteration / recipe.iterations))


def make_loss(recipe: Recipe, model: nn.Module, wrapped: nn.Module, device: torch.device) -> BatchLoss:
    """Return the function from a batch (LR, HR) to its mean L1 loss, in float32.

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
        return F.l1_loss(sr_BCHW.float(), hr_BCHW)

    def batch_loss_on_cpu(lr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
        with FastKernels():
            return batch_loss(lr_BCHW, hr_BCHW)

    return batch_loss_on_cpu if device.type == "cpu" else batch_loss
