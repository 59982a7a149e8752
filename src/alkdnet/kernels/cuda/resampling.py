"""Bilinear enlargement and maximum pooling on CUDA: forward, and their gradients without atomics.

PyTorch scatters the gradients with atomic additions, in a different order each time; here each input
pixel gathers what it went into, in one fixed order. The values are those of PyTorch, up to rounding.

Shape letters: B batch, H and W the input size, Ho and Wo the output size, C channels, N columns looked at
together, M columns whose sums a program gathers. Features are channels-last.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alkdnet.kernels.cuda.launching import power_of_two

# Values of a tile; smaller tiles where a value needs many loads, for more programs.
LARGE, SMALL = 1024, 256
# Input columns whose gradients a program gathers: the rows that it loads are the same for all of them.
GATHERED = 8
# Rows of the gradient in shared memory, all but one of them prefetched.
STAGES = 6


@triton.jit
def _source(i, ratio):
    """Return where output position `i` lies in the input, pixels being areas."""
    return tl.maximum((i.to(tl.float32) + 0.5) * ratio - 0.5, 0.0)


@triton.jit
def _neighbours(i, size, ratio):
    """Return the input positions before and after output position `i`, and the weight of the one after."""
    source = _source(i, ratio)
    before = tl.minimum(source.to(tl.int32), size - 1)
    return before, tl.minimum(before + 1, size - 1), source - before.to(tl.float32)


@triton.jit
def _triangle(i, at, size, ratio):
    """Return the weight of input position `at` in output position `i`."""
    source = tl.minimum(_source(i, ratio), size - 1.0)
    return tl.maximum(1.0 - tl.abs(source - at.to(tl.float32)), 0.0)


@triton.jit
def _outputs(at, out_size, ratio):
    """Return the first output position with a part of input position `at`, and one past the last.

    A little more at both ends than the arithmetic says, for its rounding: a weight there is zero.
    """
    first = tl.ceil((at - 0.5) / ratio - 0.5625).to(tl.int32)
    last = tl.floor((at + 1.5) / ratio - 0.4375).to(tl.int32)
    return tl.maximum(first, 0), tl.minimum(last + 1, out_size)


@triton.jit
def interpolated(image, i, j_N1, c_1C, inside_NC, H, W, ratio_h, ratio_w, C: tl.constexpr):
    """Return the weighted sums of the four pixels around output positions: rows `i`, columns `j_N1`."""
    above, below, down = _neighbours(i, H, ratio_h)
    left_N1, right_N1, across_N1 = _neighbours(j_N1, W, ratio_w)
    upper, lower = image + above.to(tl.int64) * W * C, image + below.to(tl.int64) * W * C
    left_NC, right_NC = left_N1 * C + c_1C, right_N1 * C + c_1C
    upper_left_NC = tl.load(upper + left_NC, mask=inside_NC, other=0.0).to(tl.float32)
    upper_right_NC = tl.load(upper + right_NC, mask=inside_NC, other=0.0).to(tl.float32)
    lower_left_NC = tl.load(lower + left_NC, mask=inside_NC, other=0.0).to(tl.float32)
    lower_right_NC = tl.load(lower + right_NC, mask=inside_NC, other=0.0).to(tl.float32)
    upper_NC = (1.0 - across_N1) * upper_left_NC + across_N1 * upper_right_NC
    lower_NC = (1.0 - across_N1) * lower_left_NC + across_N1 * lower_right_NC
    return (1.0 - down) * upper_NC + down * lower_NC


@triton.jit(do_not_specialize=["H", "W", "out_height", "out_width"])
def _bilinear_forward(
    features, out, H, W, out_height, out_width, ratio_h, ratio_w,
    C: tl.constexpr, CP: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """A tile of N output columns: the weighted sums of the four pixels around each."""
    b, i = (tl.program_id(0) // out_height).to(tl.int64), tl.program_id(0) % out_height
    j_N1 = (tl.program_id(1) * N + tl.arange(0, N))[:, None]
    c_1C = tl.arange(0, CP)[None, :]
    inside_NC = (j_N1 < out_width) & (c_1C < C)
    y_NC = interpolated(features + b * H * W * C, i, j_N1, c_1C, inside_NC, H, W, ratio_h, ratio_w, C)
    to = out + ((b * out_height + i) * out_width + j_N1) * C + c_1C
    tl.store(to, y_NC.to(out.dtype.element_ty), mask=inside_NC)


@triton.jit(do_not_specialize=["H", "W", "out_height", "out_width", "columns"])
def _bilinear_backward(
    gradient, out, H, W, out_height, out_width, ratio_h, ratio_w, columns,
    C: tl.constexpr, CP: tl.constexpr, M: tl.constexpr, N: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """M input columns: the weighted sums, down and then across, of the output pixels that they went into."""
    b, h = (tl.program_id(0) // H).to(tl.int64), tl.program_id(0) % H
    w = tl.program_id(1) * M
    w_M = w + tl.arange(0, M)
    c_1C = tl.arange(0, CP)[None, :]
    gradient += b * out_height * out_width * C
    first_h, end_h = _outputs(h, out_height, ratio_h)
    first_w, _ = _outputs(w, out_width, ratio_w)
    sum_MC = tl.zeros([M, CP], tl.float32)
    for start in range(0, columns, N):
        j_N = first_w + start + tl.arange(0, N)
        j_N1 = j_N[:, None]
        real_NC = (j_N1 < out_width) & (c_1C < C)
        down_NC = tl.zeros([N, CP], tl.float32)
        for step in tl.range(0, end_h - first_h, num_stages=STAGES):
            i = first_h + step
            row = gradient + i.to(tl.int64) * out_width * C
            g_NC = tl.load(row + j_N1 * C + c_1C, mask=real_NC, other=0.0)
            down_NC += g_NC.to(tl.float32) * _triangle(i, h, H, ratio_h)
        weight_MN = _triangle(j_N[None, :], w_M[:, None], W, ratio_w)
        sum_MC += tl.sum(down_NC[None, :, :] * weight_MN[:, :, None], 1)
    w_M1 = w_M[:, None]
    to = out + ((b * H + h) * W + w_M1) * C + c_1C
    tl.store(to, sum_MC.to(out.dtype.element_ty), mask=(w_M1 < W) & (c_1C < C))


@triton.jit
def _across(row, left_N1, c_1C, inside_NC, W, C: tl.constexpr, K: tl.constexpr):
    """Return the K pixels from a position on: the loads come first, to be on their way together."""
    pixels = ()
    for x in tl.static_range(K):
        q_N1 = left_N1 + x
        seen_NC = inside_NC & (q_N1 >= 0) & (q_N1 < W)
        pixels = pixels + (tl.load(row + q_N1 * C + c_1C, mask=seen_NC, other=-float("inf")),)
    return pixels


@triton.jit(do_not_specialize=["H", "W", "out_height", "out_width", "pad"])
def _pool_forward(
    features, out, index, H, W, out_height, out_width, pad,
    C: tl.constexpr, CP: tl.constexpr, K: tl.constexpr, S: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """A tile of N windows: the maximum of each and where it is; of equal ones, the first."""
    b, i = (tl.program_id(0) // out_height).to(tl.int64), tl.program_id(0) % out_height
    j_N1 = (tl.program_id(1) * N + tl.arange(0, N))[:, None]
    c_1C = tl.arange(0, CP)[None, :]
    inside_NC = (j_N1 < out_width) & (c_1C < C)
    features += b * H * W * C
    above, left_N1 = i * S - pad, j_N1 * S - pad
    # Where all are minus infinity, the first of them.
    first_N1 = tl.maximum(above, 0) * W + tl.maximum(left_N1, 0)
    index_NC = first_N1 + tl.zeros([N, CP], tl.int32)
    max_NC = tl.full([N, CP], -float("inf"), tl.float32)
    for y in tl.static_range(K):
        r = above + y
        row = _across(
            features + r.to(tl.int64) * W * C, left_N1, c_1C, inside_NC & (r >= 0) & (r < H), W, C, K
        )
        for x in tl.static_range(K):
            x_NC = row[x].to(tl.float32)
            # NaN propagates, as in PyTorch.
            better_NC = (x_NC > max_NC) | (x_NC != x_NC)
            max_NC = tl.where(better_NC, x_NC, max_NC)
            index_NC = tl.where(better_NC, r * W + left_N1 + x, index_NC)
    to_NC = ((b * out_height + i) * out_width + j_N1) * C + c_1C
    tl.store(out + to_NC, max_NC.to(out.dtype.element_ty), mask=inside_NC)
    tl.store(index + to_NC, index_NC, mask=inside_NC)


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
    x_BHWC = x_BHWC.contiguous()
    batch, in_height, in_width, channels = x_BHWC.shape
    out_BHWC = x_BHWC.new_empty(batch, height, width, channels)
    padded, beside = _tile(width, channels, LARGE)
    with torch.cuda.device_of(x_BHWC):
        _bilinear_forward[(batch * height, -(-width // beside))](
            x_BHWC, out_BHWC, in_height, in_width, height, width, in_height / height, in_width / width,
            C=channels, CP=padded, N=beside, num_warps=4,
        )  # fmt: skip
    return out_BHWC


@bilinear.register_fake
def _(x_BHWC: Tensor, height: int, width: int) -> Tensor:
    return x_BHWC.new_empty(x_BHWC.shape[0], height, width, x_BHWC.shape[3])


@torch.library.custom_op("alkdnet::bilinear_backward", mutates_args=())
def to_small(gradient_BHWC: Tensor, height: int, width: int) -> Tensor:
    """Return the gradient of `bilinear` with respect to features of a height and width."""
    gradient_BHWC = gradient_BHWC.contiguous()
    batch, out_height, out_width, channels = gradient_BHWC.shape
    out_BHWC = gradient_BHWC.new_empty(batch, height, width, channels)
    gathered = min(power_of_two(width), GATHERED)
    # An input position goes into outputs over two input steps, of which neighbours share one.
    columns = min((gathered + 1) * out_width // width + 3, out_width)
    padded, beside = _tile(columns, channels, LARGE)
    with torch.cuda.device_of(gradient_BHWC):
        _bilinear_backward[(batch * height, -(-width // gathered))](
            gradient_BHWC, out_BHWC, height, width, out_height, out_width,
            height / out_height, width / out_width, columns,
            C=channels, CP=padded, M=gathered, N=beside, STAGES=STAGES, num_warps=8,
        )  # fmt: skip
    return out_BHWC


@to_small.register_fake
def _(gradient_BHWC: Tensor, height: int, width: int) -> Tensor:
    return gradient_BHWC.new_empty(gradient_BHWC.shape[0], height, width, gradient_BHWC.shape[3])


def _save_size(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.size = inputs[0].shape[1:3]


def _resize_backward(ctx: Any, gradient_BHWC: Tensor) -> tuple[Tensor, None, None]:
    return to_small(gradient_BHWC, *ctx.size), None, None


bilinear.register_autograd(_resize_backward, setup_context=_save_size)


@torch.library.custom_op("alkdnet::max_pool", mutates_args=())
def max_pool(x_BHWC: Tensor, size: int, stride: int, pad: int) -> tuple[Tensor, Tensor]:
    """Return the maxima of square windows, and the place of each in the image, row by row.

    Places are int32: an image has at most 2**31 pixels.
    """
    x_BHWC = x_BHWC.contiguous()
    batch, height, width, channels = x_BHWC.shape
    out_BHWC = x_BHWC.new_empty(_pooled(x_BHWC, size, stride, pad))
    index_BHWC = torch.empty_like(out_BHWC, dtype=torch.int32)
    out_height, out_width = out_BHWC.shape[1:3]
    padded, beside = _tile(out_width, channels, SMALL)
    with torch.cuda.device_of(x_BHWC):
        _pool_forward[(batch * out_height, -(-out_width // beside))](
            x_BHWC, out_BHWC, index_BHWC, height, width, out_height, out_width, pad,
            C=channels, CP=padded, K=size, S=stride, N=beside, num_warps=4,
        )  # fmt: skip
    return out_BHWC, index_BHWC


@max_pool.register_fake
def _(x_BHWC: Tensor, size: int, stride: int, pad: int) -> tuple[Tensor, Tensor]:
    shape = _pooled(x_BHWC, size, stride, pad)
    return x_BHWC.new_empty(shape), x_BHWC.new_empty(shape, dtype=torch.int32)


@torch.library.custom_op("alkdnet::max_pool_backward", mutates_args=())
def _to_chosen(
    gradient_BHWC: Tensor, index_BHWC: Tensor, height: int, width: int, size: int, stride: int, pad: int
) -> Tensor:
    gradient_BHWC = gradient_BHWC.contiguous()
    batch, out_height, out_width, channels = gradient_BHWC.shape
    out_BHWC = gradient_BHWC.new_empty(batch, height, width, channels)
    padded, beside = _tile(width, channels, SMALL)
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


def _pooled(x_BHWC: Tensor, size: int, stride: int, pad: int) -> tuple[int, int, int, int]:
    batch, height, width, channels = x_BHWC.shape
    return batch, (height + 2 * pad - size) // stride + 1, (width + 2 * pad - size) // stride + 1, channels


def _tile(width: int, channels: int, values: int) -> tuple[int, int]:
    """Return the padded channels of a tile, and its columns."""
    padded = power_of_two(channels)
    return padded, min(power_of_two(width), max(values // padded, 1))
