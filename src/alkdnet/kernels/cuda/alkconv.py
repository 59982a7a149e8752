"""ALKConv after its 1x1 convolution as one CUDA kernel forward and two backward.

Three depthwise branches (k x 1, 1 x k, 3 x 3), GELU after each, their sum, layer normalisation over the
channels. A program walks down a strip of columns with the k rows around the current one in registers. The
first kernel backward computes the branches again, which costs less than storing them, and gets the weights'
gradients from the same registers. Every program writes its sums to a place of its own, which are added up in
one fixed order: the same bits every time.

Traffic in passes over the features: forward 2, backward 5 and 4.

Shape letters: B batch, H height, W width, C channels, k kernel size, G strips in a tile (see elementary.py),
L values of all parameters together. Features are channels-last.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alkdnet.kernels.cuda.elementary import columns, gelu, gelu_and_slope, taps, zeros
from alkdnet.kernels.cuda.launching import Tiling, laid_out_as, tiling

# Wider kernels fill the registers by themselves: one column and channel a thread, else two of each.
WIDEST_OF_TWO = 11


# The neighbourhood of the strips in registers


@triton.jit
def _load_window(
    image, at_GC, w_G1, real_GC, h, H, W, C: tl.constexpr, reach: tl.constexpr, first: tl.constexpr,
    count: tl.constexpr,
):  # fmt: skip
    """Return the columns first, ... of the rows h - reach to h + reach, row by row."""
    window = ()
    for i in tl.static_range(2 * reach + 1):
        window = window + _row(image, at_GC, w_G1, real_GC, h + (i - reach), H, W, C, first, count)
    return window


@triton.jit
def _row(image, at_GC, w_G1, real_GC, h, H, W, C: tl.constexpr, first: tl.constexpr, count: tl.constexpr):
    """Return columns of row h, zero outside of the image."""
    row = image + h.to(tl.int64) * W * C
    return columns(row, at_GC, w_G1, real_GC & (h >= 0) & (h < H), W, C, first, count)


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
def _square(window, weights, out, x: tl.constexpr, P: tl.constexpr):
    for i in tl.static_range(3):
        for j in tl.static_range(3):
            out += window[i * (P + 2) + x + j] * weights[3 * i + j]
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
def _square_taps(sums, window, g_GC, x: tl.constexpr, P: tl.constexpr):
    out = ()
    for i in tl.static_range(3):
        for j in tl.static_range(3):
            out = out + (sums[3 * i + j] + window[i * (P + 2) + x + j] * g_GC,)
    return out


@triton.jit
def _store_sums(to, sums, C: tl.constexpr, CP: tl.constexpr, count: tl.constexpr):
    """Store sums over the strips as a depthwise weight (C, count); return the place after it."""
    c_C = tl.arange(0, CP)
    for i in tl.static_range(count):
        tl.store(to + c_C * count + i, tl.sum(sums[i], 0), mask=c_C < C)
    return to + C * count


# Kernels


@triton.jit(do_not_specialize=["H", "W", "bands"])
def _forward(
    features, vertical, horizontal, square, vertical_bias, horizontal_bias, square_bias, scale, shift, out,
    H, W, bands, eps,
    C: tl.constexpr, CP: tl.constexpr, K: tl.constexpr, P: tl.constexpr, G: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    R: tl.constexpr = K // 2
    h0 = (tl.program_id(0) % bands) * ROWS
    image = (tl.program_id(0) // bands).to(tl.int64) * H * W * C
    w_G1 = ((tl.program_id(1) * G + tl.arange(0, G)) * P)[:, None]
    c_GC = tl.zeros([G, 1], tl.int32) + tl.arange(0, CP)[None, :]
    real_GC = c_GC < C
    at_GC = w_G1 * C + c_GC

    weights_v = taps(vertical, c_GC, real_GC, K, False)
    weights_h = taps(horizontal, c_GC, real_GC, K, False)
    weights_s = taps(square, c_GC, real_GC, 9, False)
    bias_v = taps(vertical_bias, c_GC, real_GC, 1, False)[0]
    bias_h = taps(horizontal_bias, c_GC, real_GC, 1, False)[0]
    bias_s = taps(square_bias, c_GC, real_GC, 1, False)[0]
    scale_GC = taps(scale, c_GC, real_GC, 1, False)[0]
    shift_GC = taps(shift, c_GC, real_GC, 1, False)[0]

    features += image
    window = _load_window(features, at_GC, w_G1, real_GC, h0, H, W, C, R, 0, P)
    left = _load_window(features, at_GC, w_G1, real_GC, h0, H, W, C, 1, -1, 1)
    right = _load_window(features, at_GC, w_G1, real_GC, h0, H, W, C, 1, P, 1)
    for step in range(ROWS):
        h = h0 + step
        # What the next step needs, asked for a step ahead.
        ahead = _row(features, at_GC, w_G1, real_GC, h + R + 1, H, W, C, 0, P)
        ahead_left = _row(features, at_GC, w_G1, real_GC, h + 2, H, W, C, -1, 1)
        ahead_right = _row(features, at_GC, w_G1, real_GC, h + 2, H, W, C, P, 1)
        above = left[0:1] + window[(R - 1) * P : R * P] + right[0:1]
        middle = left[1:2] + window[R * P : (R + 1) * P] + right[1:2]
        below = left[2:3] + window[(R + 1) * P : (R + 2) * P] + right[2:3]
        near = above + middle + below
        far_left = _row(features, at_GC, w_G1, real_GC, h, H, W, C, -R, R - 1)
        row = far_left + middle + _row(features, at_GC, w_G1, real_GC, h, H, W, C, P + 1, R - 1)
        to = out + image + h.to(tl.int64) * W * C
        for x in tl.static_range(P):
            y_GC = gelu(_vertical(window, weights_v, bias_v, x, K, P))
            y_GC += gelu(_horizontal(row, weights_h, bias_h, x, K))
            y_GC += gelu(_square(near, weights_s, bias_s, x, P))
            # The padding's channels are zero here, as their weights and biases are.
            mean_G1 = tl.sum(y_GC, 1)[:, None] * (1.0 / C)
            y_GC = tl.where(real_GC, y_GC - mean_G1, 0.0)
            y_GC *= tl.rsqrt(tl.sum(y_GC * y_GC, 1)[:, None] * (1.0 / C) + eps)
            y_GC = y_GC * scale_GC + shift_GC
            tl.store(
                to + at_GC + x * C, y_GC.to(out.dtype.element_ty), mask=real_GC & (w_G1 + x < W) & (h < H)
            )
        window = window[P:] + ahead
        left = left[1:] + ahead_left
        right = right[1:] + ahead_right


@triton.jit(do_not_specialize=["H", "W", "bands"])
def _backward_to_branches(
    features, gradient, vertical, horizontal, square, vertical_bias, horizontal_bias, square_bias, scale,
    to_vertical, to_horizontal, to_square, sums,
    H, W, bands, eps,
    C: tl.constexpr, CP: tl.constexpr, K: tl.constexpr, P: tl.constexpr, G: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Write the gradients before the three GELUs, and this program's part of those of all parameters."""
    R: tl.constexpr = K // 2
    h0 = (tl.program_id(0) % bands) * ROWS
    image = (tl.program_id(0) // bands).to(tl.int64) * H * W * C
    w_G1 = ((tl.program_id(1) * G + tl.arange(0, G)) * P)[:, None]
    c_GC = tl.zeros([G, 1], tl.int32) + tl.arange(0, CP)[None, :]
    real_GC = c_GC < C
    at_GC = w_G1 * C + c_GC

    weights_v = taps(vertical, c_GC, real_GC, K, False)
    weights_h = taps(horizontal, c_GC, real_GC, K, False)
    weights_s = taps(square, c_GC, real_GC, 9, False)
    bias_v = taps(vertical_bias, c_GC, real_GC, 1, False)[0]
    bias_h = taps(horizontal_bias, c_GC, real_GC, 1, False)[0]
    bias_s = taps(square_bias, c_GC, real_GC, 1, False)[0]
    scale_GC = taps(scale, c_GC, real_GC, 1, False)[0]
    sums_v = zeros(K, G, CP)
    sums_h = zeros(K, G, CP)
    sums_s = zeros(9, G, CP)
    others = zeros(5, G, CP)

    features += image
    window = _load_window(features, at_GC, w_G1, real_GC, h0, H, W, C, R, 0, P)
    left = _load_window(features, at_GC, w_G1, real_GC, h0, H, W, C, 1, -1, 1)
    right = _load_window(features, at_GC, w_G1, real_GC, h0, H, W, C, 1, P, 1)
    for step in range(ROWS):
        h = h0 + step
        upstream = _row(gradient + image, at_GC, w_G1, real_GC, h, H, W, C, 0, P)
        ahead = _row(features, at_GC, w_G1, real_GC, h + R + 1, H, W, C, 0, P)
        ahead_left = _row(features, at_GC, w_G1, real_GC, h + 2, H, W, C, -1, 1)
        ahead_right = _row(features, at_GC, w_G1, real_GC, h + 2, H, W, C, P, 1)
        above = left[0:1] + window[(R - 1) * P : R * P] + right[0:1]
        middle = left[1:2] + window[R * P : (R + 1) * P] + right[1:2]
        below = left[2:3] + window[(R + 1) * P : (R + 2) * P] + right[2:3]
        near = above + middle + below
        far_left = _row(features, at_GC, w_G1, real_GC, h, H, W, C, -R, R - 1)
        row = far_left + middle + _row(features, at_GC, w_G1, real_GC, h, H, W, C, P + 1, R - 1)
        to = image + h.to(tl.int64) * W * C
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
            to_scale, to_shift = others[3] + g_GC * y_GC, others[4] + g_GC
            g_GC *= scale_GC
            mean_G1 = tl.sum(g_GC, 1)[:, None] * (1.0 / C)
            along_G1 = tl.sum(g_GC * y_GC, 1)[:, None] * (1.0 / C)
            g_GC = tl.where(real_GC, (g_GC - mean_G1 - y_GC * along_G1) * inverse_G1, 0.0)
            g_v, g_h, g_s = g_GC * slope_v, g_GC * slope_h, g_GC * slope_s
            at, mask_GC = to + at_GC + x * C, real_GC & (w_G1 + x < W) & (h < H)
            tl.store(to_vertical + at, g_v.to(to_vertical.dtype.element_ty), mask=mask_GC)
            tl.store(to_horizontal + at, g_h.to(to_horizontal.dtype.element_ty), mask=mask_GC)
            tl.store(to_square + at, g_s.to(to_square.dtype.element_ty), mask=mask_GC)
            sums_v = _vertical_taps(sums_v, window, g_v, x, K, P)
            sums_h = _horizontal_taps(sums_h, row, g_h, x, K)
            sums_s = _square_taps(sums_s, near, g_s, x, P)
            others = (others[0] + g_v, others[1] + g_h, others[2] + g_s, to_scale, to_shift)
        window = window[P:] + ahead
        left = left[1:] + ahead_left
        right = right[1:] + ahead_right

    program = tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    place = sums + program * (C * (2 * K + 14))
    place = _store_sums(place, sums_v, C, CP, K)
    place = _store_sums(place, sums_h, C, CP, K)
    place = _store_sums(place, sums_s, C, CP, 9)
    for i in tl.static_range(5):
        place = _store_sums(place, others[i : i + 1], C, CP, 1)


@triton.jit(do_not_specialize=["H", "W", "bands"])
def _backward_to_features(
    to_vertical, to_horizontal, to_square, vertical, horizontal, square, to_features,
    H, W, bands,
    C: tl.constexpr, CP: tl.constexpr, K: tl.constexpr, P: tl.constexpr, G: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Write the sum of the three gradients before the branches: correlations with the weights backwards."""
    R: tl.constexpr = K // 2
    h0 = (tl.program_id(0) % bands) * ROWS
    image = (tl.program_id(0) // bands).to(tl.int64) * H * W * C
    w_G1 = ((tl.program_id(1) * G + tl.arange(0, G)) * P)[:, None]
    c_GC = tl.zeros([G, 1], tl.int32) + tl.arange(0, CP)[None, :]
    real_GC = c_GC < C
    at_GC = w_G1 * C + c_GC

    weights_v = taps(vertical, c_GC, real_GC, K, True)
    weights_h = taps(horizontal, c_GC, real_GC, K, True)
    weights_s = taps(square, c_GC, real_GC, 9, True)

    to_vertical += image
    to_horizontal += image
    to_square += image
    window = _load_window(to_vertical, at_GC, w_G1, real_GC, h0, H, W, C, R, 0, P)
    near = _load_window(to_square, at_GC, w_G1, real_GC, h0, H, W, C, 1, -1, P + 2)
    for step in range(ROWS):
        h = h0 + step
        ahead = _row(to_vertical, at_GC, w_G1, real_GC, h + R + 1, H, W, C, 0, P)
        ahead_near = _row(to_square, at_GC, w_G1, real_GC, h + 2, H, W, C, -1, P + 2)
        row = _row(to_horizontal, at_GC, w_G1, real_GC, h, H, W, C, -R, P + 2 * R)
        to = to_features + image + h.to(tl.int64) * W * C
        for x in tl.static_range(P):
            g_GC = _vertical(window, weights_v, tl.zeros([G, CP], tl.float32), x, K, P)
            g_GC = _horizontal(row, weights_h, g_GC, x, K)
            g_GC = _square(near, weights_s, g_GC, x, P)
            tl.store(
                to + at_GC + x * C,
                g_GC.to(to_features.dtype.element_ty),
                mask=real_GC & (w_G1 + x < W) & (h < H),
            )
        window = window[P:] + ahead
        near = near[P + 2 :] + ahead_near


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
    plan = _plan(x_BHWC, vertical)
    _forward[plan.grid](
        x_BHWC,
        *_weights(vertical, horizontal, square),
        vertical_bias, horizontal_bias, square_bias, scale, shift, out_BHWC,
        *x_BHWC.shape[1:3], plan.bands, eps,
        C=x_BHWC.shape[3], CP=plan.channels, K=vertical.shape[2],
        P=plan.columns, G=plan.strips, ROWS=plan.rows, num_warps=plan.warps,
    )  # fmt: skip
    return out_BHWC


@alkconv.register_fake
def _(x_BHWC: Tensor, *_: object) -> Tensor:
    return torch.empty(x_BHWC.shape, dtype=x_BHWC.dtype, device=x_BHWC.device)


@torch.library.custom_op("alkdnet::alkconv_backward", mutates_args=())
def _backward(
    gradient_BHWC: Tensor,
    x_BHWC: Tensor,
    vertical: Tensor,
    horizontal: Tensor,
    square: Tensor,
    vertical_bias: Tensor,
    horizontal_bias: Tensor,
    square_bias: Tensor,
    scale: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Return the gradients with respect to the features and, one after the other, to the parameters."""
    gradient_BHWC, x_BHWC = gradient_BHWC.contiguous(), x_BHWC.contiguous()
    height, width, channels = x_BHWC.shape[1:]
    k = vertical.shape[2]
    plan = _plan(x_BHWC, vertical)
    weights = _weights(vertical, horizontal, square)
    to_branches = [torch.empty_like(x_BHWC) for _ in weights]
    to_x_BHWC = torch.empty_like(x_BHWC)
    programs = plan.grid[0] * plan.grid[1]
    sums = torch.empty(programs, channels * (2 * k + 14), dtype=torch.float32, device=x_BHWC.device)
    sizes = {
        "C": channels,
        "CP": plan.channels,
        "K": k,
        "P": plan.columns,
        "G": plan.strips,
        "ROWS": plan.rows,
    }
    _backward_to_branches[plan.grid](
        x_BHWC, gradient_BHWC, *weights, vertical_bias, horizontal_bias, square_bias, scale,
        *to_branches, sums, height, width, plan.bands, eps, **sizes, num_warps=plan.warps,
    )  # fmt: skip
    _backward_to_features[plan.grid](
        *to_branches, *weights, to_x_BHWC, height, width, plan.bands, **sizes, num_warps=plan.warps
    )
    return to_x_BHWC, sums.sum(0)


@_backward.register_fake
def _(gradient_BHWC: Tensor, x_BHWC: Tensor, vertical: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    values = x_BHWC.shape[3] * (2 * vertical.shape[2] + 14)
    return (
        torch.empty(x_BHWC.shape, dtype=x_BHWC.dtype, device=x_BHWC.device),
        torch.empty(values, dtype=torch.float32, device=x_BHWC.device),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, gradient_BHWC: Tensor) -> tuple[Tensor | None, ...]:
    x_BHWC, *parameters = ctx.saved_tensors
    to_x_BHWC, flat_L = _backward(gradient_BHWC, x_BHWC, *parameters[:-1], ctx.eps)
    parts = flat_L.split([parameter.numel() for parameter in parameters])
    to_parameters = map(laid_out_as, parts, parameters)
    return to_x_BHWC, *to_parameters, None


alkconv.register_autograd(_differentiate, setup_context=_save)


def _plan(x_BHWC: Tensor, vertical: Tensor) -> Tiling:
    wide = vertical.shape[2] > WIDEST_OF_TWO
    batch, height, width, channels = x_BHWC.shape
    return tiling(batch, height, width, channels, columns=1 if wide else 2, per_thread=1 if wide else 2)


def _weights(*weights: Tensor) -> list[Tensor]:
    """Return depthwise weights with the taps of a channel side by side: no copy in either layout."""
    return [weight.flatten(1).contiguous() for weight in weights]
