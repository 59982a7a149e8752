"""Depthwise convolutions on CUDA: forward, and the gradients of features, weights and bias without atomics.

Any kernel size, stride and zero padding; no dilation, one filter a channel. A row of the neighbourhood is
loaded once for all the columns of a strip. Every program writes its part of the weights' gradient to a place
of its own, and the parts are added up in one fixed order: the same bits every time.

Shape letters: B batch, H and W the input size, Ho and Wo the output size, C channels, G strips in a tile (see
elementary.py), L values of all parameters together. Features are channels-last.
"""

from dataclasses import replace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alkdnet.kernels.cuda.elementary import (
    channel_values,
    columns,
    own_sums,
    position,
    store,
    store_sums,
    taps,
    zeros,
)
from alkdnet.kernels.cuda.launching import SIZES, Tiling, laid_out_as, tiling
from alkdnet.kernels.cuda.sums import add_up, program_sums

COLUMNS = 4
# Wide features: fewer columns and more programs are faster, but not for the sums.
WIDE = 32
# A program that sums the gradients of more taps would run out of registers: it takes a row of taps then.
MOST_TAPS = 25


@triton.jit(do_not_specialize=SIZES)
def _forward(
    features, weight, bias, out, H, W, out_height, out_width, pad_above, pad_left, bands, rows,
    C: tl.constexpr, CP: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr,
    HAS_BIAS: tl.constexpr, FLIP: tl.constexpr, P: tl.constexpr, G: tl.constexpr,
):  # fmt: skip
    """Convolve; with the weights backwards (FLIP) and stride 1 this is the gradient of the features."""
    b, h0, w_G1, c_GC, real_GC = position(bands, rows, C, CP, P, G)
    features += b * H * W * C
    out += b * out_height * out_width * C
    weights = taps(weight, c_GC, real_GC, KH * KW, FLIP)
    start = tl.zeros([G, CP], tl.float32)
    if HAS_BIAS:
        start = channel_values(bias, c_GC, real_GC)
    for step in range(rows):
        h = h0 + step
        sums = ()
        for _ in tl.static_range(P):
            sums = sums + (start,)
        for i in tl.static_range(KH):
            r, q_G1 = h * S + i - pad_above, w_G1 * S - pad_left
            row = columns(features, r, q_G1, c_GC, real_GC, H, W, C, 0, (P - 1) * S + KW)
            new = ()
            for x in tl.static_range(P):
                sum_GC = sums[x]
                for j in tl.static_range(KW):
                    sum_GC += row[x * S + j] * weights[i * KW + j]
                new = new + (sum_GC,)
            sums = new
        for x in tl.static_range(P):
            store(out, h, w_G1 + x, c_GC, real_GC, out_height, out_width, C, sums[x])


@triton.jit(do_not_specialize=SIZES)
def _strided_to_features(
    gradient, weight, out, H, W, out_height, out_width, pad_above, pad_left, bands, rows,
    C: tl.constexpr, CP: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr,
    P: tl.constexpr, G: tl.constexpr,
):  # fmt: skip
    """Gather the gradient of the features where the stride is more than 1."""
    b, h0, w_G1, c_GC, real_GC = position(bands, rows, C, CP, P, G)
    gradient += b * out_height * out_width * C
    out += b * H * W * C
    weights = taps(weight, c_GC, real_GC, KH * KW, False)
    for step in range(rows):
        h = h0 + step
        for x in tl.static_range(P):
            sum_GC = tl.zeros([G, CP], tl.float32)
            for i in tl.static_range(KH):
                r = h + pad_above - i
                row_hit = (r >= 0) & (r % S == 0)
                for j in tl.static_range(KW):
                    q_G1 = w_G1 + (x + pad_left - j)
                    hit_GC = real_GC & row_hit & (q_G1 >= 0) & (q_G1 % S == 0)
                    g_GC = columns(gradient, r // S, q_G1 // S, c_GC, hit_GC, out_height, out_width, C, 0, 1)
                    sum_GC += g_GC[0] * weights[i * KW + j]
            store(out, h, w_G1 + x, c_GC, real_GC, H, W, C, sum_GC)


@triton.jit(do_not_specialize=SIZES)
def _to_parameters(
    features, gradient, sums, H, W, out_height, out_width, pad_above, pad_left, bands, rows,
    C: tl.constexpr, CP: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr,
    TAP_ROWS: tl.constexpr, P: tl.constexpr, G: tl.constexpr,
):  # fmt: skip
    """Write this program's part of the gradients of TAP_ROWS rows of the weights, and of the bias."""
    b, h0, w_G1, c_GC, real_GC = position(bands, rows, C, CP, P, G)
    i0 = tl.program_id(2) * TAP_ROWS
    features += b * H * W * C
    gradient += b * out_height * out_width * C
    parts = zeros(TAP_ROWS * KW, G, CP)
    bias_GC = tl.zeros([G, CP], tl.float32)
    for step in range(rows):
        h = h0 + step
        upstream = columns(gradient, h, w_G1, c_GC, real_GC, out_height, out_width, C, 0, P)
        for x in tl.static_range(P):
            bias_GC += upstream[x]
        new = ()
        for i in tl.static_range(TAP_ROWS):
            r, q_G1 = h * S + i0 + i - pad_above, w_G1 * S - pad_left
            row = columns(features, r, q_G1, c_GC, real_GC, H, W, C, 0, (P - 1) * S + KW)
            for j in tl.static_range(KW):
                part_GC = parts[i * KW + j]
                for x in tl.static_range(P):
                    part_GC += row[x * S + j] * upstream[x]
                new = new + (part_GC,)
        parts = new
    to = own_sums(sums, C * (KH * KW + 1))
    store_sums(to + i0 * KW, parts, C, CP, KH * KW, TAP_ROWS * KW)
    if i0 == 0:
        store_sums(to + C * KH * KW, (bias_GC,), C, CP, 1, 1)


@torch.library.custom_op("alkdnet::depthwise", mutates_args=())
def depthwise(
    x_BHWC: Tensor, weight: Tensor, bias: Tensor | None, stride: int, pad_above: int, pad_left: int
) -> Tensor:
    """Return the depthwise convolution of features, in their type; sums are float32.

    Args:
        x_BHWC: float32, bfloat16 or float16.
        weight: (C, 1, KH, KW).
        bias: (C), or None.
        stride: along both axes.
        pad_above: rows of zeros above and below.
        pad_left: columns of zeros on the left and on the right.
    """
    x_BHWC = x_BHWC.contiguous()
    batch, height, width, channels = x_BHWC.shape
    out_height, out_width = _out_size(x_BHWC, weight, stride, pad_above, pad_left)
    out_BHWC = x_BHWC.new_empty(batch, out_height, out_width, channels)
    plan = _plan(out_BHWC, weight)
    with torch.cuda.device_of(x_BHWC):
        _forward[plan.grid](
            x_BHWC, weight.flatten(1).contiguous(), weight if bias is None else bias, out_BHWC,
            height, width, out_height, out_width, pad_above, pad_left, plan.bands, plan.rows,
            **plan.constants, S=stride, HAS_BIAS=bias is not None, FLIP=False, num_warps=plan.warps,
        )  # fmt: skip
    return out_BHWC


@depthwise.register_fake
def _(
    x_BHWC: Tensor, weight: Tensor, bias: Tensor | None, stride: int, pad_above: int, pad_left: int
) -> Tensor:
    out_height, out_width = _out_size(x_BHWC, weight, stride, pad_above, pad_left)
    return x_BHWC.new_empty(x_BHWC.shape[0], out_height, out_width, x_BHWC.shape[3])


@torch.library.custom_op("alkdnet::depthwise_backward", mutates_args=())
def _backward(
    gradient_BHWC: Tensor, x_BHWC: Tensor, weight: Tensor, stride: int, pad_above: int, pad_left: int
) -> tuple[Tensor, Tensor]:
    """Return the gradients with respect to the features and, one after the other, to weight and bias."""
    gradient_BHWC, x_BHWC = gradient_BHWC.contiguous(), x_BHWC.contiguous()
    size, out_size = x_BHWC.shape[1:3], gradient_BHWC.shape[1:3]
    kernel_height, kernel_width = weight.shape[2:]
    flat_weight = weight.flatten(1).contiguous()
    to_x_BHWC = torch.empty_like(x_BHWC)
    plan = _plan(to_x_BHWC, weight)
    with torch.cuda.device_of(x_BHWC):
        if stride == 1:
            _forward[plan.grid](
                gradient_BHWC, flat_weight, flat_weight, to_x_BHWC, *out_size, *size,
                kernel_height - 1 - pad_above, kernel_width - 1 - pad_left, plan.bands, plan.rows,
                **plan.constants, S=1, HAS_BIAS=False, FLIP=True, num_warps=plan.warps,
            )  # fmt: skip
        else:
            _strided_to_features[plan.grid](
                gradient_BHWC, flat_weight, to_x_BHWC, *size, *out_size, pad_above, pad_left,
                plan.bands, plan.rows, **plan.constants, S=stride, num_warps=plan.warps,
            )  # fmt: skip
        plan = _plan(gradient_BHWC, weight, sums=True)
        tap_rows = kernel_height if kernel_height * kernel_width <= MOST_TAPS else 1
        sums = program_sums(plan, weight.numel() + weight.shape[0], x_BHWC.device)
        _to_parameters[(*plan.grid, kernel_height // tap_rows)](
            x_BHWC, gradient_BHWC, sums, *size, *out_size, pad_above, pad_left, plan.bands, plan.rows,
            **plan.constants, S=stride, TAP_ROWS=tap_rows, num_warps=plan.warps,
        )  # fmt: skip
    return to_x_BHWC, add_up(sums)


@_backward.register_fake
def _(gradient_BHWC: Tensor, x_BHWC: Tensor, weight: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    values = weight.numel() + weight.shape[0]
    return torch.empty(x_BHWC.shape, dtype=x_BHWC.dtype, device=x_BHWC.device), torch.empty(
        values, dtype=torch.float32, device=x_BHWC.device
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x_BHWC, weight, bias, *ctx.geometry = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x_BHWC, weight)


def _differentiate(ctx: Any, gradient_BHWC: Tensor) -> tuple[Tensor | None, ...]:
    x_BHWC, weight = ctx.saved_tensors
    to_x_BHWC, flat_L = _backward(gradient_BHWC, x_BHWC, weight, *ctx.geometry)
    to_weight, to_bias = flat_L.split([weight.numel(), weight.shape[0]])
    return to_x_BHWC, laid_out_as(to_weight, weight), to_bias if ctx.has_bias else None, None, None, None


depthwise.register_autograd(_differentiate, setup_context=_save)


def _out_size(x_BHWC: Tensor, weight: Tensor, stride: int, pad_above: int, pad_left: int) -> tuple[int, int]:
    height, width = x_BHWC.shape[1:3]
    return (
        (height + 2 * pad_above - weight.shape[2]) // stride + 1,
        (width + 2 * pad_left - weight.shape[3]) // stride + 1,
    )


def _plan(out_BHWC: Tensor, weight: Tensor, *, sums: bool = False) -> Tiling:
    """Return the launch for an output; the compiler must know the size of the kernel too."""
    kernel_height, kernel_width = weight.shape[2:]
    per_thread = 1 if kernel_height * kernel_width > MOST_TAPS else 2
    wide = out_BHWC.shape[3] > WIDE and not sums
    columns, programs = (2, 1536) if wide else (COLUMNS, 768)
    plan = tiling(*out_BHWC.shape, columns=columns, per_thread=per_thread, programs=programs)
    return replace(plan, constants=plan.constants | {"KH": kernel_height, "KW": kernel_width})
