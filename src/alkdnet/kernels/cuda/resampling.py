"""The gradients of bilinear enlargement and maximum pooling on CUDA as sums over what a pixel went into.

PyTorch scatters them with atomic additions, whose order is another one every time; here each input pixel
gathers, in one fixed order. The forward passes are PyTorch's own.

Shape letters: B batch, H and W the input size, Ho and Wo the output size, C channels, N columns looked at
together. Features are channels-last.
"""

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from alkdnet.kernels.cuda.launching import power_of_two


@triton.jit
def _triangle(i, at, size, ratio):
    """Return the weight of input position `at` in output position `i`, pixels being areas."""
    source = tl.minimum(tl.maximum((i.to(tl.float32) + 0.5) * ratio - 0.5, 0.0), size - 1.0)
    return tl.maximum(1.0 - tl.abs(source - at.to(tl.float32)), 0.0)


@triton.jit(do_not_specialize=["H", "W", "out_height", "out_width", "rows", "columns"])
def _bilinear_backward(
    gradient, out, H, W, out_height, out_width, ratio_h, ratio_w, rows, columns,
    C: tl.constexpr, CP: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """A program for each input pixel: the weighted sum of the output pixels that it went into."""
    b, h, w = (tl.program_id(0) // H).to(tl.int64), tl.program_id(0) % H, tl.program_id(1)
    c_1C = tl.arange(0, CP)[None, :]
    gradient += b * out_height * out_width * C
    # One position earlier than the arithmetic says, for its rounding: the weight there is zero.
    first_h = tl.maximum(tl.floor((h - 0.5) / ratio_h - 0.5).to(tl.int32) - 1, 0)
    first_w = tl.maximum(tl.floor((w - 0.5) / ratio_w - 0.5).to(tl.int32) - 1, 0)
    sum_NC = tl.zeros([N, CP], tl.float32)
    for step in range(rows):
        i = first_h + step
        row = gradient + i.to(tl.int64) * out_width * C
        weight = _triangle(i, h, H, ratio_h)
        for start in range(0, columns, N):
            j_N1 = (first_w + start + tl.arange(0, N))[:, None]
            inside_NC = (j_N1 < out_width) & (i < out_height) & (c_1C < C)
            g_NC = tl.load(row + j_N1 * C + c_1C, mask=inside_NC, other=0.0).to(tl.float32)
            sum_NC += g_NC * (_triangle(j_N1, w, W, ratio_w) * weight)
    c_C = tl.arange(0, CP)
    to = out + ((b * H + h) * W + w) * C + c_C
    tl.store(to, tl.sum(sum_NC, 0).to(out.dtype.element_ty), mask=c_C < C)


@triton.jit(do_not_specialize=["H", "W", "out_height", "out_width", "pad"])
def _pool_backward(
    gradient, index, out, H, W, out_height, out_width, pad,
    C: tl.constexpr, CP: tl.constexpr, K: tl.constexpr, S: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """A tile of N input columns: the gradients of those of the windows around them that chose them."""
    b, h = (tl.program_id(0) // H).to(tl.int64), tl.program_id(0) % H
    w_N1 = (tl.program_id(1) * N + tl.arange(0, N))[:, None]
    c_1C = tl.arange(0, CP)[None, :]
    offset = b * out_height * out_width * C
    REACH: tl.constexpr = (K + S - 1) // S
    # The last window that has the pixel begins at or before it.
    last_h = (h + pad) // S
    last_N1 = (w_N1 + pad) // S
    sum_NC = tl.zeros([N, CP], tl.float32)
    for i in tl.static_range(REACH):
        r = last_h - i
        for j in tl.static_range(REACH):
            q_N1 = last_N1 - j
            inside_NC = (r >= 0) & (r < out_height) & (q_N1 >= 0) & (q_N1 < out_width) & (c_1C < C)
            at_NC = offset + (r.to(tl.int64) * out_width + q_N1) * C + c_1C
            chosen_NC = tl.load(index + at_NC, mask=inside_NC, other=-1) == h * W + w_N1
            g_NC = tl.load(gradient + at_NC, mask=inside_NC & chosen_NC, other=0.0)
            sum_NC += g_NC.to(tl.float32)
    to = out + ((b * H + h) * W + w_N1) * C + c_1C
    tl.store(to, sum_NC.to(out.dtype.element_ty), mask=(w_N1 < W) & (c_1C < C))


@torch.library.custom_op("alkdnet::bilinear", mutates_args=())
def bilinear(x_BHWC: Tensor, height: int, width: int) -> Tensor:
    """Return the features interpolated to a size, with pixels as areas (`align_corners=False`)."""
    y_BCHW = F.interpolate(
        x_BHWC.permute(0, 3, 1, 2), size=[height, width], mode="bilinear", align_corners=False
    )
    return y_BCHW.permute(0, 2, 3, 1).contiguous()


@bilinear.register_fake
def _(x_BHWC: Tensor, height: int, width: int) -> Tensor:
    return x_BHWC.new_empty(x_BHWC.shape[0], height, width, x_BHWC.shape[3])


@torch.library.custom_op("alkdnet::bilinear_backward", mutates_args=())
def _to_small(gradient_BHWC: Tensor, height: int, width: int) -> Tensor:
    gradient_BHWC = gradient_BHWC.contiguous()
    batch, out_height, out_width, channels = gradient_BHWC.shape
    out_BHWC = gradient_BHWC.new_empty(batch, height, width, channels)
    # An input position goes into outputs over two input steps; more at the edges, where half a step is added.
    rows, columns = 2 * out_height // height + 5, 2 * out_width // width + 5
    with torch.cuda.device_of(gradient_BHWC):
        _bilinear_backward[(batch * height, width)](
            gradient_BHWC, out_BHWC, height, width, out_height, out_width,
            height / out_height, width / out_width, rows, columns,
            C=channels, CP=power_of_two(channels), N=min(power_of_two(columns), 32), num_warps=4,
        )  # fmt: skip
    return out_BHWC


@_to_small.register_fake
def _(gradient_BHWC: Tensor, height: int, width: int) -> Tensor:
    return gradient_BHWC.new_empty(gradient_BHWC.shape[0], height, width, gradient_BHWC.shape[3])


def _save_size(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.size = inputs[0].shape[1:3]


def _resize_backward(ctx: Any, gradient_BHWC: Tensor) -> tuple[Tensor, None, None]:
    return _to_small(gradient_BHWC, *ctx.size), None, None


bilinear.register_autograd(_resize_backward, setup_context=_save_size)


@torch.library.custom_op("alkdnet::max_pool", mutates_args=())
def max_pool(x_BHWC: Tensor, size: int, stride: int, pad: int) -> tuple[Tensor, Tensor]:
    """Return the maxima of square windows, and the place of each in the image, row by row."""
    y_BCHW, index_BCHW = F.max_pool2d(x_BHWC.permute(0, 3, 1, 2), size, stride, pad, return_indices=True)
    return y_BCHW.permute(0, 2, 3, 1).contiguous(), index_BCHW.permute(0, 2, 3, 1).contiguous()


@max_pool.register_fake
def _(x_BHWC: Tensor, size: int, stride: int, pad: int) -> tuple[Tensor, Tensor]:
    batch, height, width, channels = x_BHWC.shape
    shape = (batch, (height + 2 * pad - size) // stride + 1, (width + 2 * pad - size) // stride + 1, channels)
    return x_BHWC.new_empty(shape), x_BHWC.new_empty(shape, dtype=torch.int64)


@torch.library.custom_op("alkdnet::max_pool_backward", mutates_args=())
def _to_chosen(
    gradient_BHWC: Tensor, index_BHWC: Tensor, height: int, width: int, size: int, stride: int, pad: int
) -> Tensor:
    gradient_BHWC = gradient_BHWC.contiguous()
    batch, out_height, out_width, channels = gradient_BHWC.shape
    out_BHWC = gradient_BHWC.new_empty(batch, height, width, channels)
    padded = power_of_two(channels)
    beside = min(power_of_two(width), max(256 // padded, 1))
    with torch.cuda.device_of(gradient_BHWC):
        _pool_backward[(batch * height, -(-width // beside))](
            gradient_BHWC, index_BHWC, out_BHWC, height, width, out_height, out_width, pad,
            C=channels, CP=padded, K=size, S=stride, N=beside, num_warps=4,
        )  # fmt: skip
    return out_BHWC


@_to_chosen.register_fake
def _(gradient_BHWC: Tensor, index_BHWC: Tensor, height: int, width: int, *_: object) -> Tensor:
    return gradient_BHWC.new_empty(gradient_BHWC.shape[0], height, width, gradient_BHWC.shape[3])


def _save_choice(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x_BHWC, *ctx.window = inputs
    ctx.size = x_BHWC.shape[1:3]
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _choice_backward(ctx: Any, gradient_BHWC: Tensor, _: object) -> tuple[Tensor, None, None, None]:
    (index_BHWC,) = ctx.saved_tensors
    return _to_chosen(gradient_BHWC, index_BHWC, *ctx.size, *ctx.window), None, None, None


max_pool.register_autograd(_choice_backward, setup_context=_save_choice)
