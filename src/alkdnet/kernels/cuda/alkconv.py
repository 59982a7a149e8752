"""ALKConv after its 1x1 convolution as one CUDA kernel forward and two backward.

Three depthwise branches (k x 1, 1 x k, 3 x 3), GELU after each, their sum, layer normalisation over the
channels; and where a distillation block goes on with it (distillation.py), a residual addition and GELU. A
program walks down a strip of columns with the k rows around the current one in registers. The first kernel
backward computes the branches again, which costs less than storing them, and gets the weights' gradients from
the same registers. Every program writes its sums to a place of its own, which are added up in one fixed
order: the same bits every time.

Traffic in passes over the features: forward 2, backward 5 and 4; with a residual 1 and 2 more, in place of 5
and 3 of operations on their own.

Shape letters: B batch, H height, W width, C channels, k kernel size, G strips in a tile (see elementary.py),
L values of all parameters together. Features are channels-last.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alkdnet.kernels.cuda.elementary import (
    channel_values,
    columns,
    gelu,
    gelu_and_slope,
    own_sums,
    position,
    store,
    store_sums,
    taps,
    zeros,
)
from alkdnet.kernels.cuda.launching import SIZES, Tiling, laid_out_as, pixel_stride, tiling
from alkdnet.kernels.cuda.sums import add_up, program_sums

# Wider kernels fill the registers by themselves: one column and channel a thread, else two of each.
WIDEST_OF_TWO = 11
# Features of at most so many channels have four columns of one channel a thread in the backward pass.
NARROW = 32


# The neighbourhood of the strips in registers


@triton.jit
def _window(
    image, h, w_G1, c_GC, real_GC, H, W, C: tl.constexpr, reach: tl.constexpr, first: tl.constexpr,
    count: tl.constexpr,
):  # fmt: skip
    """Return the columns first, ... of the rows h - reach to h + reach, row by row."""
    window = ()
    for i in tl.static_range(2 * reach + 1):
        window = window + columns(image, h + (i - reach), w_G1, c_GC, real_GC, H, W, C, first, count)
    return window


@triton.jit
def _around(
    image, window, left, right, h, w_G1, c_GC, real_GC, H, W, C: tl.constexpr, R: tl.constexpr,
    P: tl.constexpr,
):  # fmt: skip
    """Return what the branches of row h see: three rows of P + 2 columns, one row of P + 2 R columns.

    The middle of both is in registers; what is left and right of it in row h is loaded.
    """
    middle = left[1:2] + window[R * P : (R + 1) * P] + right[1:2]
    near = left[0:1] + window[(R - 1) * P : R * P] + right[0:1] + middle
    near = near + left[2:3] + window[(R + 1) * P : (R + 2) * P] + right[2:3]
    row = columns(image, h, w_G1, c_GC, real_GC, H, W, C, -R, R - 1) + middle
    return near, row + columns(image, h, w_G1, c_GC, real_GC, H, W, C, P + 1, R - 1)


@triton.jit
def _vertical(window, weights, out, x: tl.constexpr, K: tl.constexpr, P: tl.constexpr):
    for i in tl.static_range(K):
        out += window[i * P + x] * weights[i]
    return out


@triton.jit
def _horizontal(row, weights, out, x: tl.constexpr, K: tl.constexpr):
    for j in tl.static_range(K):
        out += row[x + j] * weights[j]
    return out


@triton.jit
def _square(near, weights, out, x: tl.constexpr, P: tl.constexpr):
    for i in tl.static_range(3):
        for j in tl.static_range(3):
            out += near[i * (P + 2) + x + j] * weights[3 * i + j]
    return out


@triton.jit
def _vertical_taps(sums, window, g_GC, x: tl.constexpr, K: tl.constexpr, P: tl.constexpr):
    out = ()
    for i in tl.static_range(K):
        out = out + (sums[i] + window[i * P + x] * g_GC,)
    return out


@triton.jit
def _horizontal_taps(sums, row, g_GC, x: tl.constexpr, K: tl.constexpr):
    out = ()
    for j in tl.static_range(K):
        out = out + (sums[j] + row[x + j] * g_GC,)
    return out


@triton.jit
def _square_taps(sums, near, g_GC, x: tl.constexpr, P: tl.constexpr):
    out = ()
    for i in tl.static_range(3):
        for j in tl.static_range(3):
            out = out + (sums[3 * i + j] + near[i * (P + 2) + x + j] * g_GC,)
    return out


@triton.jit
def _add_row(
    sums, column, row, near, weights_v, weights_h, weights_s, x: tl.constexpr, K: tl.constexpr
):  # fmt: skip
    """Return column x of the sums of the K rows around a row, after that row; the last had none before."""
    R: tl.constexpr = K // 2
    out = ()
    for i in tl.static_range(K):
        sum_GC = column[x] * weights_v[i]
        if i < K - 1:
            sum_GC += sums[i]
        if i == R:
            sum_GC = _horizontal(row, weights_h, sum_GC, x, K)
        if (i >= R - 1) & (i <= R + 1):
            for j in tl.static_range(3):
                sum_GC += near[x + j] * weights_s[3 * (i - R + 1) + 2 - j]
        out = out + (sum_GC,)
    return out


# Kernels


@triton.jit(do_not_specialize=SIZES)
def _forward(
    features, residual, vertical, horizontal, square, vertical_bias, horizontal_bias, square_bias,
    scale, shift, out,
    H, W, bands, rows, eps,
    C: tl.constexpr, CP: tl.constexpr, K: tl.constexpr, P: tl.constexpr, G: tl.constexpr,
    RESIDUAL: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    """Convolve; STRIDE values lie between the pixels of the output."""
    R: tl.constexpr = K // 2
    b, h0, w_G1, c_GC, real_GC = position(bands, rows, C, CP, P, G)
    features += b * H * W * C
    residual += b * H * W * C
    out += b * H * W * STRIDE
    weights_v = taps(vertical, c_GC, real_GC, K, False)
    weights_h = taps(horizontal, c_GC, real_GC, K, False)
    weights_s = taps(square, c_GC, real_GC, 9, False)
    bias_v = channel_values(vertical_bias, c_GC, real_GC)
    bias_h = channel_values(horizontal_bias, c_GC, real_GC)
    bias_s = channel_values(square_bias, c_GC, real_GC)
    scale_GC = channel_values(scale, c_GC, real_GC)
    shift_GC = channel_values(shift, c_GC, real_GC)

    window = _window(features, h0, w_G1, c_GC, real_GC, H, W, C, R, 0, P)
    left = _window(features, h0, w_G1, c_GC, real_GC, H, W, C, 1, -1, 1)
    right = _window(features, h0, w_G1, c_GC, real_GC, H, W, C, 1, P, 1)
    for step in range(rows):
        h = h0 + step
        # What the next step needs, asked for a step ahead.
        ahead = columns(features, h + R + 1, w_G1, c_GC, real_GC, H, W, C, 0, P)
        ahead_left = columns(features, h + 2, w_G1, c_GC, real_GC, H, W, C, -1, 1)
        ahead_right = columns(features, h + 2, w_G1, c_GC, real_GC, H, W, C, P, 1)
        near, row = _around(features, window, left, right, h, w_G1, c_GC, real_GC, H, W, C, R, P)
        if RESIDUAL:
            added = columns(residual, h, w_G1, c_GC, real_GC, H, W, C, 0, P)
        # Taken in all rows but those below the image. The compiler does not move loads past a branch; without
        # one it puts them at the end, right before the next step waits for them.
        if h < H:
            for x in tl.static_range(P):
                y_GC = gelu(_vertical(window, weights_v, bias_v, x, K, P))
                y_GC += gelu(_horizontal(row, weights_h, bias_h, x, K))
                y_GC += gelu(_square(near, weights_s, bias_s, x, P))
                # The padding's channels are zero here, as their weights and biases are.
                mean_G1 = tl.sum(y_GC, 1)[:, None] * (1.0 / C)
                y_GC = tl.where(real_GC, y_GC - mean_G1, 0.0)
                y_GC *= tl.rsqrt(tl.sum(y_GC * y_GC, 1)[:, None] * (1.0 / C) + eps)
                y_GC = y_GC * scale_GC + shift_GC
                if RESIDUAL:
                    y_GC = gelu(y_GC + added[x])
                store(out, h, w_G1 + x, c_GC, real_GC, H, W, STRIDE, y_GC)
        window = window[P:] + ahead
        left = left[1:] + ahead_left
        right = right[1:] + ahead_right


@triton.jit(do_not_specialize=SIZES)
def _backward_to_branches(
    features, residual, gradient, vertical, horizontal, square, vertical_bias, horizontal_bias, square_bias,
    scale, shift, to_vertical, to_horizontal, to_square, to_residual, sums,
    H, W, bands, rows, eps,
    C: tl.constexpr, CP: tl.constexpr, K: tl.constexpr, P: tl.constexpr, G: tl.constexpr,
    RESIDUAL: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    """Write the gradients of the residual and before the branches' GELUs, and a part of all parameters'.

    STRIDE values lie between the pixels of the gradient.
    """
    R: tl.constexpr = K // 2
    b, h0, w_G1, c_GC, real_GC = position(bands, rows, C, CP, P, G)
    features += b * H * W * C
    residual += b * H * W * C
    gradient += b * H * W * STRIDE
    to_residual += b * H * W * C
    to_vertical += b * H * W * C
    to_horizontal += b * H * W * C
    to_square += b * H * W * C
    weights_v = taps(vertical, c_GC, real_GC, K, False)
    weights_h = taps(horizontal, c_GC, real_GC, K, False)
    weights_s = taps(square, c_GC, real_GC, 9, False)
    bias_v = channel_values(vertical_bias, c_GC, real_GC)
    bias_h = channel_values(horizontal_bias, c_GC, real_GC)
    bias_s = channel_values(square_bias, c_GC, real_GC)
    scale_GC = channel_values(scale, c_GC, real_GC)
    shift_GC = channel_values(shift, c_GC, real_GC)
    sums_v = zeros(K, G, CP)
    sums_h = zeros(K, G, CP)
    sums_s = zeros(9, G, CP)
    others = zeros(5, G, CP)

    window = _window(features, h0, w_G1, c_GC, real_GC, H, W, C, R, 0, P)
    left = _window(features, h0, w_G1, c_GC, real_GC, H, W, C, 1, -1, 1)
    right = _window(features, h0, w_G1, c_GC, real_GC, H, W, C, 1, P, 1)
    for step in range(rows):
        h = h0 + step
        upstream = columns(gradient, h, w_G1, c_GC, real_GC, H, W, STRIDE, 0, P)
        ahead = columns(features, h + R + 1, w_G1, c_GC, real_GC, H, W, C, 0, P)
        ahead_left = columns(features, h + 2, w_G1, c_GC, real_GC, H, W, C, -1, 1)
        ahead_right = columns(features, h + 2, w_G1, c_GC, real_GC, H, W, C, P, 1)
        near, row = _around(features, window, left, right, h, w_G1, c_GC, real_GC, H, W, C, R, P)
        if RESIDUAL:
            added = columns(residual, h, w_G1, c_GC, real_GC, H, W, C, 0, P)
        for x in tl.static_range(P):
            y_v, slope_v = gelu_and_slope(_vertical(window, weights_v, bias_v, x, K, P))
            y_h, slope_h = gelu_and_slope(_horizontal(row, weights_h, bias_h, x, K))
            y_s, slope_s = gelu_and_slope(_square(near, weights_s, bias_s, x, P))
            y_GC = y_v + y_h + y_s
            y_GC = tl.where(real_GC, y_GC - tl.sum(y_GC, 1)[:, None] * (1.0 / C), 0.0)
            inverse_G1 = tl.rsqrt(tl.sum(y_GC * y_GC, 1)[:, None] * (1.0 / C) + eps)
            y_GC *= inverse_G1
            # Zero outside of the image, and with it all that follows.
            g_GC = upstream[x]
            if RESIDUAL:
                _, slope_GC = gelu_and_slope(y_GC * scale_GC + shift_GC + added[x])
                g_GC *= slope_GC
                store(to_residual, h, w_G1 + x, c_GC, real_GC, H, W, C, g_GC)
            to_scale, to_shift = others[3] + g_GC * y_GC, others[4] + g_GC
            g_GC *= scale_GC
            mean_G1 = tl.sum(g_GC, 1)[:, None] * (1.0 / C)
            along_G1 = tl.sum(g_GC * y_GC, 1)[:, None] * (1.0 / C)
            g_GC = tl.where(real_GC, (g_GC - mean_G1 - y_GC * along_G1) * inverse_G1, 0.0)
            g_v, g_h, g_s = g_GC * slope_v, g_GC * slope_h, g_GC * slope_s
            store(to_vertical, h, w_G1 + x, c_GC, real_GC, H, W, C, g_v)
            store(to_horizontal, h, w_G1 + x, c_GC, real_GC, H, W, C, g_h)
            store(to_square, h, w_G1 + x, c_GC, real_GC, H, W, C, g_s)
            sums_v = _vertical_taps(sums_v, window, g_v, x, K, P)
            sums_h = _horizontal_taps(sums_h, row, g_h, x, K)
            sums_s = _square_taps(sums_s, near, g_s, x, P)
            others = (others[0] + g_v, others[1] + g_h, others[2] + g_s, to_scale, to_shift)
        window = window[P:] + ahead
        left = left[1:] + ahead_left
        right = right[1:] + ahead_right

    to = own_sums(sums, C * (2 * K + 14))
    store_sums(to, sums_v, C, CP, K, K)
    store_sums(to + C * K, sums_h, C, CP, K, K)
    store_sums(to + C * 2 * K, sums_s, C, CP, 9, 9)
    for i in tl.static_range(5):
        store_sums(to + C * (2 * K + 9 + i), others[i : i + 1], C, CP, 1, 1)


@triton.jit(do_not_specialize=SIZES)
def _backward_to_features(
    to_vertical, to_horizontal, to_square, vertical, horizontal, square, to_features,
    H, W, bands, rows,
    C: tl.constexpr, CP: tl.constexpr, K: tl.constexpr, P: tl.constexpr, G: tl.constexpr,
):  # fmt: skip
    """Write the sum of the three gradients before the branches: correlations with the weights backwards.

    Every row is loaded once and added to the sums of the K rows around it.
    """
    R: tl.constexpr = K // 2
    b, h0, w_G1, c_GC, real_GC = position(bands, rows, C, CP, P, G)
    to_vertical += b * H * W * C
    to_horizontal += b * H * W * C
    to_square += b * H * W * C
    to_features += b * H * W * C
    weights_v = taps(vertical, c_GC, real_GC, K, False)
    weights_h = taps(horizontal, c_GC, real_GC, K, True)
    weights_s = taps(square, c_GC, real_GC, 9, False)

    # Of the rows h - R to h + R - 1, column by column, before row h is added.
    sums = zeros(P * (K - 1), G, CP)
    first = tl.maximum(h0 - R, 0)
    column = columns(to_vertical, first, w_G1, c_GC, real_GC, H, W, C, 0, P)
    row = columns(to_horizontal, first, w_G1, c_GC, real_GC, H, W, C, -R, P + 2 * R)
    near = columns(to_square, first, w_G1, c_GC, real_GC, H, W, C, -1, P + 2)
    for step in range(tl.minimum(h0 + rows, H) + R - first):
        h = first + step
        # What the next step needs, asked for a step ahead.
        next_column = columns(to_vertical, h + 1, w_G1, c_GC, real_GC, H, W, C, 0, P)
        next_row = columns(to_horizontal, h + 1, w_G1, c_GC, real_GC, H, W, C, -R, P + 2 * R)
        next_near = columns(to_square, h + 1, w_G1, c_GC, real_GC, H, W, C, -1, P + 2)
        moved = ()
        for x in tl.static_range(P):
            before = sums[x * (K - 1) : (x + 1) * (K - 1)]
            added = _add_row(before, column, row, near, weights_v, weights_h, weights_s, x, K)
            if h - R >= h0:
                store(to_features, h - R, w_G1 + x, c_GC, real_GC, H, W, C, added[0])
            moved = moved + added[1:]
        sums = moved
        column, row, near = next_column, next_row, next_near


# Launches, for the operators below and those that do more than one ALKConv

# Weights and biases of the three branches, scale and shift of the normalisation: as `alkconv` takes them.
Parameters = Sequence[Tensor]


def convolve(
    x_BHWC: Tensor, residual_BHWC: Tensor | None, parameters: Parameters, eps: float, out_BHWC: Tensor
) -> None:
    """Write what `alkconv` returns; with a residual, GELU of the sum of both.

    The output may be a range of the channels of larger features.
    """
    plan = _plan(x_BHWC, parameters[0], backward=False)
    with torch.cuda.device_of(x_BHWC):
        _forward[plan.grid](
            x_BHWC, x_BHWC if residual_BHWC is None else residual_BHWC,
            *_weights(parameters), *parameters[3:], out_BHWC,
            *x_BHWC.shape[1:3], plan.bands, plan.rows, eps,
            **plan.constants, RESIDUAL=residual_BHWC is not None, STRIDE=pixel_stride(out_BHWC),
            num_warps=plan.warps,
        )  # fmt: skip


def differentiate(
    gradient_BHWC: Tensor,
    x_BHWC: Tensor,
    residual_BHWC: Tensor | None,
    parameters: Parameters,
    eps: float,
    to_parameters_L: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients with respect to features, parameters one after the other, and residual.

    Args:
        gradient_BHWC: with respect to the output; may be a range of the channels of larger features.
        x_BHWC: as in the forward pass, and so the next three.
        residual_BHWC: its gradient is empty if there is none.
        parameters: see above.
        eps: see `alkconv`.
        to_parameters_L: where their gradients are written; None: newly allocated.
    """
    k = parameters[0].shape[2]
    weights = _weights(parameters)
    to_branches = [torch.empty_like(x_BHWC) for _ in weights]
    to_x_BHWC = torch.empty_like(x_BHWC)
    to_residual_BHWC = x_BHWC.new_empty(0) if residual_BHWC is None else torch.empty_like(residual_BHWC)
    plan = _plan(x_BHWC, parameters[0], backward=True)
    sums = program_sums(plan, x_BHWC.shape[3] * (2 * k + 14), x_BHWC.device)
    with torch.cuda.device_of(x_BHWC):
        _backward_to_branches[plan.grid](
            x_BHWC, x_BHWC if residual_BHWC is None else residual_BHWC, gradient_BHWC,
            *weights, *parameters[3:], *to_branches, to_residual_BHWC, sums,
            *x_BHWC.shape[1:3], plan.bands, plan.rows, eps,
            **plan.constants, RESIDUAL=residual_BHWC is not None, STRIDE=pixel_stride(gradient_BHWC),
            num_warps=plan.warps,
        )  # fmt: skip
        plan = _plan(x_BHWC, parameters[0], backward=True, sums=False)
        _backward_to_features[plan.grid](
            *to_branches, *weights, to_x_BHWC, *x_BHWC.shape[1:3], plan.bands, plan.rows,
            **plan.constants, num_warps=plan.warps,
        )  # fmt: skip
    return to_x_BHWC, add_up(sums, to_parameters_L), to_residual_BHWC


# Operators of torch.library and not autograd functions around launches: torch.compile and graphs take them as
# they are, and they run under Triton's interpreter too.


@torch.library.custom_op("alkdnet::alkconv", mutates_args=())
def alkconv(
    x_BHWC: Tensor,
    vertical: Tensor,
    horizontal: Tensor,
    square: Tensor,
    vertical_bias: Tensor,
    horizontal_bias: Tensor,
    square_bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    eps: float,
) -> Tensor:
    """Return what ALKConv makes of the features after its 1x1 convolution, in their type.

    Args:
        x_BHWC: float32, bfloat16 or float16; sums are float32.
        vertical: weight (C, 1, k, 1); k odd.
        horizontal: weight (C, 1, 1, k).
        square: weight (C, 1, 3, 3).
        vertical_bias: (C).
        horizontal_bias: (C).
        square_bias: (C).
        scale: of the normalisation, (C).
        shift: of the normalisation, (C).
        eps: added to the variance.
    """
    x_BHWC = x_BHWC.contiguous()
    out_BHWC = torch.empty_like(x_BHWC)
    parameters = (vertical, horizontal, square, vertical_bias, horizontal_bias, square_bias, scale, shift)
    convolve(x_BHWC, None, parameters, eps, out_BHWC)
    return out_BHWC


@alkconv.register_fake
def _(x_BHWC: Tensor, *_: object) -> Tensor:
    return torch.empty(x_BHWC.shape, dtype=x_BHWC.dtype, device=x_BHWC.device)


@torch.library.custom_op("alkdnet::alkconv_backward", mutates_args=())
def _backward(
    gradient_BHWC: Tensor, x_BHWC: Tensor, parameters: list[Tensor], eps: float
) -> tuple[Tensor, Tensor]:
    """Return the gradients with respect to features and, one after the other, to the parameters."""
    return differentiate(gradient_BHWC.contiguous(), x_BHWC.contiguous(), None, parameters, eps)[:2]


@_backward.register_fake
def _(gradient_BHWC: Tensor, x_BHWC: Tensor, parameters: list[Tensor], eps: float) -> tuple[Tensor, Tensor]:
    values = sum(parameter.numel() for parameter in parameters)
    return torch.empty(x_BHWC.shape, dtype=x_BHWC.dtype, device=x_BHWC.device), torch.empty(
        values, dtype=torch.float32, device=x_BHWC.device
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, gradient_BHWC: Tensor) -> tuple[Tensor | None, ...]:
    x_BHWC, *parameters = ctx.saved_tensors
    to_x_BHWC, flat_L = _backward(gradient_BHWC, x_BHWC, parameters, ctx.eps)
    parts = flat_L.split([parameter.numel() for parameter in parameters])
    return to_x_BHWC, *map(laid_out_as, parts, parameters), None


alkconv.register_autograd(_differentiate, setup_context=_save)


def _plan(x_BHWC: Tensor, vertical: Tensor, *, backward: bool, sums: bool = True) -> Tiling:
    """Return the launch of a kernel; `sums`: it is the one backward that sums the parameters' gradients."""
    k = vertical.shape[2]
    if k > WIDEST_OF_TWO:
        plan = tiling(*x_BHWC.shape, columns=1, per_thread=1)
    elif backward and x_BHWC.shape[3] <= NARROW:
        plan = tiling(*x_BHWC.shape, columns=4, per_thread=1, programs=1536, warps=1)
    elif backward and not sums:
        plan = tiling(*x_BHWC.shape, columns=4, per_thread=1, programs=384, warps=4)
    else:
        # Where many registers let few programs run at once, shorter strips were faster.
        programs = 1536 if backward or k > 9 else 768
        plan = tiling(*x_BHWC.shape, columns=2, per_thread=2, programs=programs, warps=2)
    return replace(plan, constants=plan.constants | {"K": k})


def _weights(parameters: Parameters) -> list[Tensor]:
    """Return the depthwise weights with the taps of a channel side by side: no copy in either layout."""
    return [weight.flatten(1).contiguous() for weight in parameters[:3]]
