"""Which kernels a network computes with on a device."""

import logging
from typing import Literal

import torch
from torch import nn

from alkdnet.device import Precision
from alkdnet.errors import UserError
from alkdnet.kernels.cuda.exchange import exchange_layers, self_check

logger = logging.getLogger(__name__)

Kernels = Literal["auto", "torch", "triton"]


def choose_kernels(model: nn.Module, wanted: Kernels, device: torch.device, precision: Precision) -> None:
    """Give the layers of a network on a device their Triton kernels if they are wanted and right there.

    `auto` takes them on CUDA, and warns when they fail their check; the CPU's kernels are chosen elsewhere.
    They are checked in the precision of the training and in float32, in which its validation computes.

    Raises:
        UserError: `triton` is wanted, and the kernels cannot be used here.
    """
    if wanted == "torch" or (wanted == "auto" and device.type != "cuda"):
        return
    on_cuda, precisions = device.type == "cuda", dict.fromkeys((precision, "float32"))
    problem = self_check(model, *precisions) if on_cuda else "the device is the CPU"
    if problem is None:
        exchange_layers(model)
    elif wanted == "triton":
        raise UserError(f"execution.kernels: triton cannot be used here: {problem}; use auto or torch")
    else:
        logger.warning("the Triton kernels are not used, and PyTorch's own are slower: %s", problem)
