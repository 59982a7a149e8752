"""Convolution and activation as one oneDNN primitive on a CPU, called without a compiler.

torch offers the fusion as operators of its own that torch.compile calls. They are private: where this torch
lacks them, or they do not do what they should, the same numbers come from the public operators, more slowly.
"""

import functools
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation: TypeAlias = Literal["none", "gelu", "sigmoid"]

# The operators' last argument: the exact GELU is their "none", in contrast to "tanh".
_ALGORITHM = {"none": "", "gelu": "none", "sigmoid": ""}


class FusedConv2d:
    """An `nn.Conv2d` and the activation after it, on channels-last float32 features of one image on a CPU.

    The weights are copied into oneDNN's own layout: later changes of the module have no effect.

    Args:
        conv: the convolution.
        activation: "gelu" is the exact one (erf).
        pad: vertical and horizontal zero padding, instead of the module's own, for an input that brings
            some of its surroundings with it.
    """

    def __init__(self, conv: nn.Conv2d, activation: Activation, *, pad: tuple[int, int]) -> None:
        self._activation = activation
        self._stride, self._dilation, self._groups = list(conv.stride), list(conv.dilation), conv.groups
        self._padding = list(pad)
        self._weight = conv.weight.detach().clone()
        self._bias = None if conv.bias is None else conv.bias.detach().clone()
        self._packed: Tensor | None = None
        if fusion_works():
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(
                self._weight, self._padding, self._stride, self._dilation, self._groups
            )

    def __call__(self, x_1CHW: Tensor) -> Tensor:
        """Return the activated features, channels-last."""
        if self._packed is not None:
            fused_1CHW: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x_1CHW,
                self._packed,
                self._bias,
                self._padding,
                self._stride,
                self._dilation,
                self._groups,
                self._activation,
                [],
                _ALGORITHM[self._activation],
            )
            return fused_1CHW
        y_1CHW = F.conv2d(
            x_1CHW, self._weight, self._bias, self._stride, self._padding, self._dilation, self._groups
        )
        return _activated(y_1CHW, self._activation)


class FusedLinear:
    """A 1x1 convolution with bias as a matrix product over pixels, and the activation after it.

    The weights are copied.

    Args:
        conv: the 1x1 convolution.
        activation: "gelu" is the exact one (erf).
    """

    def __init__(self, conv: nn.Conv2d, activation: Activation) -> None:
        self._activation = activation
        self._weight_DC = conv.weight.detach().flatten(1).clone()
        self._bias = None if conv.bias is None else conv.bias.detach().clone()
        self._fused = fusion_works()

    def __call__(self, x_PC: Tensor) -> Tensor:
        """Return the activated features PD of every pixel."""
        if self._fused:
            y_PD: Tensor = torch.ops.mkldnn._linear_pointwise(
                x_PC, self._weight_DC, self._bias, self._activation, [], _ALGORITHM[self._activation]
            )
            return y_PD
        return _activated(F.linear(x_PC, self._weight_DC, self._bias), self._activation)


@functools.cache
def fusion_works() -> bool:
    """Say whether this torch has the fused operators and they agree with the public ones on a small case."""
    generator = torch.Generator().manual_seed(0)
    x_1CHW = torch.randn(1, 8, 5, 6, generator=generator).contiguous(memory_format=torch.channels_last)
    kernel, bias = torch.randn(8, 1, 3, 3, generator=generator), torch.randn(8, generator=generator)
    x_PC, weight_DC = torch.randn(5, 8, generator=generator), torch.randn(8, 8, generator=generator)
    ops = torch.ops.mkldnn
    try:
        packed = ops._reorder_convolution_weight(kernel, [0, 1], [1, 1], [1, 1], 8)
        gelu = ops._convolution_pointwise(
            x_1CHW, packed, bias, [0, 1], [1, 1], [1, 1], 8, "gelu", [], _ALGORITHM["gelu"]
        )
        sigmoid = ops._linear_pointwise(x_PC, weight_DC, bias, "sigmoid", [], _ALGORITHM["sigmoid"])
    except (AttributeError, RuntimeError):
        return False
    plain_1CHW = F.conv2d(x_1CHW, kernel, bias, padding=(0, 1), groups=8)
    return torch.allclose(gelu, F.gelu(plain_1CHW), atol=1e-5) and torch.allclose(
        sigmoid, torch.sigmoid(F.linear(x_PC, weight_DC, bias)), atol=1e-5
    )


def _activated(x: Tensor, activation: Activation) -> Tensor:
    if activation == "gelu":
        return F.gelu(x)
    return x.sigmoid_() if activation == "sigmoid" else x
