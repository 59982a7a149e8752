"""The methods that layers get in exchange for their own, each with the meaning of the layer's own.

Features of another device or type than the kernels take go through the layer's own forward pass: a network
whose layers were exchanged can be moved to the CPU.

Shape letters: B batch, C channels, H height, W width.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
import triton
from torch import Tensor, nn

from alkdnet.kernels.cuda import attention
from alkdnet.kernels.cuda.alkconv import alkconv
from alkdnet.kernels.cuda.depthwise import depthwise
from alkdnet.kernels.cuda.distillation import distil, distilled, parameters_of
from alkdnet.kernels.cuda.elementary import gelu
from alkdnet.kernels.cuda.launching import SUPPORTED
from alkdnet.kernels.cuda.pointwise import MOST, pointwise, tensor_cores
from alkdnet.kernels.cuda.resampling import bilinear, max_pool
from alkdnet.layers.attention import CCA, ESA, Resize
from alkdnet.layers.convolution import ALKConv
from alkdnet.layers.distillation import DistillationBlock
from alkdnet.layers.norm import PixelNorm

# Triton's interpreter (TRITON_INTERPRET=1) runs the kernels on a CPU, to test them.
INTERPRETED = not isinstance(gelu, triton.JITFunction)


class Distillation(nn.Module):
    """The first half of a distillation block as a module, with which the kernels are compared.

    Args:
        block: gives its layers.
    """

    def __init__(self, block: DistillationBlock) -> None:
        super().__init__()
        self.distill = block.distill
        self.refine = block.refine
        self.distill_last = block.distill_last
        self.condense = block.condense

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the condensed features, of the same shape."""
        return DistillationBlock.distil(cast(DistillationBlock, self), x_BCHW)


class Enhancement(nn.Module):
    """The second half of a distillation block as a module, with which the kernels are compared.

    Args:
        block: gives its layers.
    """

    def __init__(self, block: DistillationBlock) -> None:
        super().__init__()
        self.esa = copy.deepcopy(block.esa)
        # They come before what the operator takes.
        del self.esa.reduce, self.esa.stride, self.esa.pool, self.esa.context
        self.cca = block.cca
        self.norm = block.norm

    def forward(
        self, condensed_BCHW: Tensor, reduced_BCHW: Tensor, coarse_BCHW: Tensor, x_BCHW: Tensor
    ) -> Tensor:
        """Return the block's output, from what ESA made of the condensed features and the block's input."""
        masked_BCHW = self.esa.masked(condensed_BCHW, reduced_BCHW, coarse_BCHW)
        out: Tensor = self.norm(self.cca(masked_BCHW)) + x_BCHW
        return out


def fast_forms(module: nn.Module) -> dict[str, Callable[..., Tensor]]:
    """Return the functions that replace methods of a module by the methods' names; none if there are none.

    They take the module and the method's inputs.
    """
    # Exact types: what a subclass changes is not known here.
    kind = type(module)
    if kind is DistillationBlock:
        first: dict[str, Callable[..., Tensor]] = (
            {"distil": _distil} if _is_plain_distillation(module) else {}
        )
        return first | ({"enhance": _enhance} if _is_plain_enhancement(module) else {})
    if kind is Distillation:
        return {"forward": _distil} if _is_plain_distillation(module) else {}
    if kind is Enhancement:
        return {"forward": _enhanced} if _is_plain_enhancement(module) else {}
    forward = _fast_forward(module)
    return {} if forward is None else {"forward": forward}


def _fast_forward(module: nn.Module) -> Callable[..., Tensor] | None:
    if type(module) is ALKConv:
        return _alkconv
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


def _is_plain_distillation(block: Any) -> bool:
    """Return whether the layers of a block compute what the operator does, which does not call them."""
    convolutions, products = [*block.refine, block.distill_last], [*block.distill, block.condense]
    return (
        all(type(each) is ALKConv for each in convolutions)
        and len({each.norm.eps for each in convolutions}) == 1
        and all(_fast_forward(each) is _pointwise and each.bias is not None for each in products)
        and not any("forward" in vars(each) for each in (*convolutions, *products))
    )


def _is_plain_enhancement(block: Any) -> bool:
    """Return whether the attentions of a block and its norm compute what the operator does."""
    esa, cca, norm = block.esa, block.cca, block.norm
    return (
        type(esa) is ESA
        and type(cca) is CCA
        and type(norm) in (PixelNorm, nn.Identity)
        and all(
            _fast_forward(each) is _pointwise and each.bias is not None for each in (esa.skip, esa.expand)
        )
        and esa.expand.out_channels <= MOST
        and not any("forward" in vars(each) for each in (esa, esa.skip, esa.resize, esa.expand, cca, norm))
    )


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
    return (x_BCHW.is_cuda or INTERPRETED) and x_BCHW.dtype in SUPPORTED and x_BCHW.numel() > 0


def _plain(module: nn.Module, *inputs: Any) -> Tensor:
    out: Tensor = type(module).forward(module, *inputs)
    return out


def _to_channels_last(x_BCHW: Tensor) -> Tensor:
    """Return the features as (B, H, W, C): no copy where they are channels-last in memory."""
    return x_BCHW.permute(0, 2, 3, 1)


def _from_channels_last(x_BHWC: Tensor) -> Tensor:
    return x_BHWC.permute(0, 3, 1, 2)


def _compute_type(x_BCHW: Tensor) -> torch.dtype:
    """Return the type of products: that of automatic mixed precision, or the features' own."""
    device = x_BCHW.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_BCHW.dtype


def _product(conv: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
    """Return a 1x1 convolution as (B, H, W, C): a matrix product over the channels."""
    x_BHWC = _to_channels_last(x_BCHW)
    if not torch.is_grad_enabled():
        # In float32, the type of inference, the operator would do no more.
        return F.linear(x_BHWC, conv.weight.flatten(1), conv.bias)
    y_BHWC: Tensor = pointwise(x_BHWC.to(_compute_type(x_BCHW)), conv.weight, conv.bias)
    return y_BHWC


def _pointwise(conv: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
    return _from_channels_last(_product(conv, x_BCHW)) if _takes(x_BCHW) else _plain(conv, x_BCHW)


def _alkconv(conv: ALKConv, x_BCHW: Tensor) -> Tensor:
    if not _takes(x_BCHW):
        return _plain(conv, x_BCHW)
    y_BHWC = alkconv(
        _product(conv.pointwise, x_BCHW),
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


def _distil(block: DistillationBlock, x_BCHW: Tensor) -> Tensor:
    if not _takes(x_BCHW):
        return DistillationBlock.distil(block, x_BCHW)
    inputs = (
        _to_channels_last(x_BCHW),
        parameters_of(block),
        cast(ALKConv, block.distill_last).norm.eps,
        _compute_type(x_BCHW),
    )
    if torch.is_grad_enabled():
        condensed_BHWC, *_ = distil(*inputs)
    else:
        condensed_BHWC = distilled(*inputs)
    return _from_channels_last(condensed_BHWC)


def _enhance(block: DistillationBlock, condensed_BCHW: Tensor, x_BCHW: Tensor) -> Tensor:
    if not _enhances(condensed_BCHW):
        return DistillationBlock.enhance(block, condensed_BCHW, x_BCHW)
    esa = block.esa
    reduced_BCHW = esa.reduce(condensed_BCHW)
    coarse_BCHW = esa.context(esa.pool(esa.stride(reduced_BCHW)))
    return _enhanced(block, condensed_BCHW, reduced_BCHW, coarse_BCHW, x_BCHW)


def _enhances(condensed_BCHW: Tensor) -> bool:
    """Return whether one operator is better than its layers, of which every one keeps what gradients need."""
    trains = torch.is_grad_enabled() and _takes(condensed_BCHW)
    return trains and _has_tensor_cores(condensed_BCHW.dtype)


@torch.compiler.assume_constant_result
def _has_tensor_cores(dtype: torch.dtype) -> bool:
    # torch.compile cannot trace the question; it compiles again where the answer has changed.
    return tensor_cores(dtype)


def _enhanced(
    block: Enhancement | DistillationBlock,
    condensed_BCHW: Tensor,
    reduced_BCHW: Tensor,
    coarse_BCHW: Tensor,
    x_BCHW: Tensor,
) -> Tensor:
    features = (condensed_BCHW, reduced_BCHW, coarse_BCHW, x_BCHW)
    if not _enhances(condensed_BCHW):
        return _plain(block, *features)
    has_norm = isinstance(block.norm, PixelNorm)
    # Automatic mixed precision computes normalisations in float32.
    in_float32 = has_norm and torch.is_autocast_enabled(x_BCHW.device.type)
    y_BHWC, *_ = attention.enhance(
        *map(_to_channels_last, features),
        attention.parameters_of(block),
        cast(PixelNorm, block.norm).eps if has_norm else 0.0,
        torch.float32 if in_float32 else torch.promote_types(condensed_BCHW.dtype, x_BCHW.dtype),
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
    size, pad = cast(int, pool.kernel_size), cast(int, pool.padding)
    # What does not fit, PyTorch rejects.
    fits = 2 * pad <= size <= min(x_BCHW.shape[2:]) + 2 * pad
    if not fits or not _takes(x_BCHW):
        return _plain(pool, x_BCHW)
    y_BHWC, _ = max_pool(_to_channels_last(x_BCHW), pool.kernel_size, pool.stride, pool.padding)
    return _from_channels_last(y_BHWC)
