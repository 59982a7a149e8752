"""Which kernels a network computes with on a device."""

import logging
from typing import Literal

import torch
from torch import nn

from alkdnet.errors import UserError
from alkdnet.kernels.cuda.exchange import exchange_kernels, self_check

logger = logging.getLogger(__name__)

Kernels = Literal["auto", "torch", "triton"]


def choose_kernels(model: nn.Module, wanted: Kernels, device: torch.device) -> None:
    """Give the layers of a network their Triton kernels if they are wanted and right on this device.

    `auto` takes them on CUDA, and warns when they fail their check; the CPU's kernels are chosen elsewhere.

    Raises:
        UserError: `triton` is wanted, and the kernels cannot be used here.
    """
    if wanted == "torch" or (wanted == "auto" and device.type != "cuda"):
        return
    problem = self_check(device)
    if problem is None:
        exchange_kernels(model)
    elif wanted == "triton":
        raise UserError(f"execution.kernels: triton cannot be used here: {problem}; use auto or torch")
    else:
        logger.warning("the Triton kernels are not used, and PyTorch's own are slower: %s", problem)
