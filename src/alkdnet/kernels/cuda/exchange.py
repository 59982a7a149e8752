"""The one place where layers of a network get their fast forms on CUDA.

    problem = self_check(device)      # None, or what is wrong with the kernels on this device, in words
    if problem is None:
        exchange_kernels(model)       # before torch.compile and before a graph is captured

Modules are exchanged, not calls: `ALKConv` is one kernel for what are eight calls of PyTorch, and a module
whose `forward` is its own is traced by torch.compile, captured in a graph and copied by `copy.deepcopy` like
any other. Names, values and layout of the parameters stay, so checkpoints and optimizers notice nothing.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def exchange_kernels(model: nn.Module) -> None:
    """Give every layer of the network that has a fast form that form; on the CPU the network stays the same.

    A layer whose `forward` was replaced before (as `keep_tail_in_float32` does) is left alone. So are layers
    that have no fast form. Calling it twice changes nothing.
    """
    for module in model.modules():
        if "forward" not in vars(module) and (fast := _fast_form(module)) is not None:
            module.forward = MethodType(fast, module)


def self_check(device: torch.device) -> str | None:
    """Compare every kernel with plain PyTorch, values and gradients, on a small random input.

    Returns:
        What is wrong, for a message to the user; None if nothing is. It raises nothing: a compiler that is
        missing or fails is something that is wrong.
    """
    try:
        import triton  # noqa: F401
    except ImportError:
        return "triton is not installed"
    return None if device.type == "cuda" else f"the kernels need a CUDA device, not {device.type}"


def _fast_form(module: nn.Module) -> Callable[..., Any] | None:
    """Return what replaces the `forward` of a module, or None."""
    if type(module) is nn.Conv2d and _is_pointwise(module):
        return _pointwise
    return None


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return (
        conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
    )


def _pointwise(conv: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
    """Return the 1x1 convolution as a matrix product over the channels, which cuBLAS computes."""
    if not x_BCHW.is_cuda:
        return type(conv).forward(conv, x_BCHW)
    y_BHWC = F.linear(x_BCHW.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias)
    return y_BHWC.permute(0, 3, 1, 2)
