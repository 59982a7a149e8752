"""The forward passes that layers get in exchange for their own, each with the meaning of the layer's own.

Features of another device or type than the kernels take go through the layer's own forward pass: a network
whose layers were exchanged can be moved to the CPU.

Shape letters: B batch, C channels, H height, W width.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor, nn

from alkdnet.kernels.cuda.alkconv import alkconv
from alkdnet.kernels.cuda.depthwise import depthwise
from alkdnet.kernels.cuda.elementary import gelu
from alkdnet.kernels.cuda.launching import SUPPORTED
from alkdnet.kernels.cuda.pointwise import pointwise
from alkdnet.kernels.cuda.resampling import bilinear, max_pool
from alkdnet.layers.attention import Resize
from alkdnet.layers.convolution import ALKConv
from alkdnet.layers.distillation import DistillationBlock

# Triton's interpreter (TRITON_INTERPRET=1) runs the kernels on a CPU, to test them.
INTERPRETED = not isinstance(gelu, triton.JITFunction)


class Refinement(nn.Module):
    """An ALKConv and what a distillation block makes of its output: GELU of the sum with the input.

    The block has no module for it; this one is what the kernels are compared with.

    Args:
        conv: with as many channels of output as of input.
    """

    def __init__(self, conv: ALKConv) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return features of the same shape."""
        return F.gelu(self.conv(x_BCHW) + x_BCHW)


def fast_form(module: nn.Module) -> Callable[..., Tensor] | None:
    """Return the function (module, inputs) -> output that replaces the `forward` of a module, or None."""
    # Exact types: what a subclass changes is not known here.
    if type(module) is ALKConv:
        return _alkconv
    if type(module) is Refinement:
        return _refinement
    if type(module) is DistillationBlock and all(type(each) is ALKConv for each in module.refine):
        return _block
    if type(module) is Resize:
        return _resize
    if type(module) is nn.MaxPool2d and _is_plain_pool(module):
        return _max_pool
    if type(module) is nn.Conv2d and module.padding_mode == "zeros" and module.dilation == (1, 1):
        if module.kernel_size == module.stride == (1, 1) and module.padding == (0, 0) and module.groups == 1:
            return _pointwise
        if _is_depthwise(module):
            return _depthwise
    return None


def _is_plain_pool(pool: nn.MaxPool2d) -> bool:
    return (
        all(isinstance(value, int) for value in (pool.kernel_size, pool.stride, pool.padding))
        and pool.dilation == 1
        and not pool.ceil_mode
        and not pool.return_indices
    )


def _is_depthwise(conv: nn.Conv2d) -> bool:
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.stride[0] == conv.stride[1]
        and not isinstance(conv.padding, str)
    )


def _takes(x_BCHW: Tensor) -> bool:
    return (x_BCHW.is_cuda or INTERPRETED) and x_BCHW.dtype in SUPPORTED


def _plain(module: nn.Module, *inputs: Any) -> Tensor:
    out: Tensor = type(module).forward(module, *inputs)
    return out


def _to_channels_last(x_BCHW: Tensor) -> Tensor:
    """Return the features as (B, H, W, C): no copy where they are channels-last in memory."""
    return x_BCHW.permute(0, 2, 3, 1)


def _from_channels_last(x_BHWC: Tensor) -> Tensor:
    return x_BHWC.permute(0, 3, 1, 2)


def _product(conv: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
    """Return a 1x1 convolution as (B, H, W, C): a matrix product over the channels."""
    x_BHWC = _to_channels_last(x_BCHW)
    if not torch.is_grad_enabled():
        return F.linear(x_BHWC, conv.weight.flatten(1), conv.bias)
    device = x_BHWC.device.type
    if torch.is_autocast_enabled(device):
        x_BHWC = x_BHWC.to(torch.get_autocast_dtype(device))
    y_BHWC: Tensor = pointwise(x_BHWC, conv.weight, conv.bias)
    return y_BHWC


def _pointwise(conv: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
    return _from_channels_last(_product(conv, x_BCHW)) if _takes(x_BCHW) else _plain(conv, x_BCHW)


def _alkconv(conv: ALKConv, x_BCHW: Tensor) -> Tensor:
    return _convolved(conv, x_BCHW, None) if _takes(x_BCHW) else _plain(conv, x_BCHW)


def _refinement(refinement: Refinement, x_BCHW: Tensor) -> Tensor:
    return _convolved(refinement.conv, x_BCHW, x_BCHW) if _takes(x_BCHW) else _plain(refinement, x_BCHW)


def _block(block: DistillationBlock, x_BCHW: Tensor) -> Tensor:
    """Return Equations 7 to 10, with each refinement in one kernel: see layers/distillation.py."""
    if not _takes(x_BCHW):
        return _plain(block, x_BCHW)
    refined_BCHW, distilled = x_BCHW, []
    for distill, refine in zip(block.distill, block.refine, strict=True):
        assert isinstance(refine, ALKConv)
        distilled.append(F.gelu(distill(refined_BCHW)))
        refined_BCHW = _convolved(refine, refined_BCHW, refined_BCHW)
    distilled.append(F.gelu(block.distill_last(refined_BCHW)))
    condensed_BCHW = block.condense(torch.cat(distilled, dim=1))
    enhanced_BCHW: Tensor = block.norm(block.cca(block.esa(condensed_BCHW)))
    return enhanced_BCHW + x_BCHW


def _convolved(conv: ALKConv, x_BCHW: Tensor, residual_BCHW: Tensor | None) -> Tensor:
    """Return an ALKConv; with a residual, GELU of the sum of both."""
    y_BHWC = alkconv(
        _product(conv.pointwise, x_BCHW),
        None if residual_BCHW is None else _to_channels_last(residual_BCHW),
        conv.vertical.weight,
        conv.horizontal.weight,
        conv.square.weight,
        conv.vertical.bias,
        conv.horizontal.bias,
        conv.square.bias,
        conv.norm.weight,
        conv.norm.bias,
        conv.norm.eps,
    )
    return _from_channels_last(y_BHWC)


def _depthwise(conv: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
    if not _takes(x_BCHW):
        return _plain(conv, x_BCHW)
    assert not isinstance(conv.padding, str)
    pad_above, pad_left = conv.padding
    y_BHWC = depthwise(_to_channels_last(x_BCHW), conv.weight, conv.bias, conv.stride[0], pad_above, pad_left)
    return _from_channels_last(y_BHWC)


def _resize(resize: Resize, x_BCHW: Tensor, size: Sequence[int]) -> Tensor:
    if not _takes(x_BCHW):
        return _plain(resize, x_BCHW, size)
    return _from_channels_last(bilinear(_to_channels_last(x_BCHW), size[0], size[1]))


def _max_pool(pool: nn.MaxPool2d, x_BCHW: Tensor) -> Tensor:
    if not _takes(x_BCHW):
        return _plain(pool, x_BCHW)
    y_BHWC, _ = max_pool(_to_channels_last(x_BCHW), pool.kernel_size, pool.stride, pool.padding)
    return _from_channels_last(y_BHWC)
