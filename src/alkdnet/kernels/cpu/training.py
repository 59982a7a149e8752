"""The same mathematics through those of PyTorch's CPU kernels that are fast for channels-last features.

Each replacement was found with the profiler. Networks stay as they are written: the calls are exchanged while
the forward pass runs.

Shape letters: B batch, C channels, H height, W width.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.overrides import TorchFunctionMode

# oneDNN's AVX2 kernel for the weight gradient of a depthwise convolution takes at most 3 columns.
WIDEST_FAST_KERNEL = 3


class FastKernels(TorchFunctionMode):
    """Replaces calls on channels-last float32 features (B, C, H, W) while the `with` block runs.

    - GELU: PyTorch hands tensors that are contiguous in its own sense to oneDNN, and takes a kernel of half
      the speed for others, channels-last ones among them. Seen as (B, H, W, C) they are contiguous.
    - depthwise convolution with a wide row kernel (1 x k): see `RowConvolution`.
    - mean and standard deviation over the pixels: as (B, H, W, C) their gradients stay in this layout, so
      that the additions that follow need not go through two layouts at once.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what `func` would, up to float32 rounding."""
        kwargs = kwargs or {}
        if func is F.gelu and not kwargs and _is_channels_last(args[0]):
            return Gelu.apply(args[0].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # type: ignore[no-untyped-call]
        if func is torch.conv2d and len(args) == 7 and _is_row_convolution(*args):
            return RowConvolution.apply(*args[:3])  # type: ignore[no-untyped-call]
        if func is torch.std_mean and kwargs.get("dim") == (2, 3) and _is_channels_last(args[0]):
            pair = torch.std_mean(args[0].permute(0, 2, 3, 1), **{**kwargs, "dim": (1, 2)})
            return tuple(x_BHWC.permute(0, 3, 1, 2) for x_BHWC in pair) if kwargs.get("keepdim") else pair
        return func(*args, **kwargs)


class Gelu(torch.autograd.Function):
    """Exact GELU of a contiguous tensor, whose gradient is made contiguous too: both then go to oneDNN."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        """Return x times the normal distribution function of x."""
        ctx.save_for_backward(x)
        return F.gelu(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient with respect to x."""
        (x,) = ctx.saved_tensors
        out: Tensor = torch.ops.aten.gelu_backward(gradient.contiguous(), x)
        return out


class RowConvolution(torch.autograd.Function):
    """Depthwise convolution with a 1 x k kernel, stride 1 and zeros around, on channels-last features.

    oneDNN computes the weight gradient of a k x 1 kernel several times as fast as that of a 1 x k kernel.
    Every row of the images, seen as an image of its own of W x 1 pixels, makes the latter out of the former:
    channels-last memory needs no copy for it, and the bits are the same.
    """

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight_C11k: Tensor, bias_C: Tensor | None) -> Tensor:
        """Return the convolved features, of the same shape."""
        ctx.save_for_backward(x_BCHW, weight_C11k)
        ctx.has_bias = bias_C is not None
        channels, k = weight_C11k.shape[0], weight_C11k.shape[3]
        return torch.conv2d(x_BCHW, weight_C11k, bias_C, 1, (0, k // 2), 1, channels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the gradients with respect to the features, the weights and the bias."""
        x_BCHW, weight_C11k = ctx.saved_tensors
        channels, k = weight_C11k.shape[0], weight_C11k.shape[3]
        gradient_BCHW = gradient_BCHW.contiguous(memory_format=torch.channels_last)

        def gradients(g: Tensor, x: Tensor, weight: Tensor, padding: list[int], wanted: list[bool]) -> Any:
            return torch.ops.aten.convolution_backward(
                g, x, weight, [channels], [1, 1], padding, [1, 1], False, [0, 0], channels, wanted
            )

        to_x, _, _ = gradients(gradient_BCHW, x_BCHW, weight_C11k, [0, k // 2], [True, False, False])
        _, to_weight, to_bias = gradients(
            _rows_as_images(gradient_BCHW),
            _rows_as_images(x_BCHW),
            weight_C11k.reshape(channels, 1, k, 1),
            [k // 2, 0],
            [False, True, ctx.has_bias],
        )
        # With the weight's own strides, or DistributedDataParallel warns and copies: along axes of length 1
        # they are arbitrary, and differ.
        return to_x, to_weight.as_strided(weight_C11k.shape, weight_C11k.stride()), to_bias


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.dtype == torch.float32 and x.is_contiguous(memory_format=torch.channels_last)


def _is_row_convolution(
    x_BCHW: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: object,
    padding: object,
    dilation: object,
    groups: int,
) -> bool:
    height, width = weight.shape[2:]
    return (
        height == 1
        and width > WIDEST_FAST_KERNEL
        and groups == weight.shape[0] == x_BCHW.shape[1]
        and stride == dilation == (1, 1)
        and padding == (0, width // 2)
        and _is_channels_last(x_BCHW)
    )


def _rows_as_images(x_BCHW: Tensor) -> Tensor:
    """Return B * H images of W x 1 pixels in the same channels-last memory."""
    batch, channels, height, width = x_BCHW.shape
    rows_BHWC = x_BCHW.permute(0, 2, 3, 1).reshape(batch * height, width, 1, channels)
    return rows_BHWC.permute(0, 3, 1, 2)
