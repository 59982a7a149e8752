"""Depthwise convolutions on CUDA: forward, and the gradients of features, weights and bias without atomics.

Any kernel size, stride and zero padding; no dilation, one filter a channel. A row of the neighbourhood is
loaded once for all the columns of a strip. Every program writes its part of the weights' gradient to a place
of its own, and the parts are added up in one fixed order: the same bits every time.

Shape letters: B batch, H and W the input size, Ho and Wo the output size, C channels, G strips in a tile (see
elementary.py), L values of all parameters together. Features are channels-last.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alkdnet.kernels.cuda.elementary import columns, taps, zeros
from alkdnet.kernels.cuda.launching import Tiling, laid_out_as, tiling

COLUMNS = 4
# A program that sums the gradients of more taps would run out of registers: it takes a row of taps then.
MOST_TAPS = 25
# Arguments that do not make another kernel of every image size.
SIZES = ["H", "W", "out_height", "out_width", "pad_above", "pad_left", "bands"]


@triton.jit(do_not_specialize=SIZES)
def _forward(
    features, weight, bias, out, H, W, out_height, out_width, pad_above, pad_left, bands,
    C: tl.constexpr, CP: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr,
    HAS_BIAS: tl.constexpr, FLIP: tl.constexpr,
    P: tl.constexpr, G: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Convolve; with the weights backwards (FLIP) and stride 1 this is the gradient of the features."""
    h0 = (tl.program_id(0) % bands) * ROWS
    b = (tl.program_id(0) // bands).to(tl.int64)
    w_G1 = ((tl.program_id(1) * G + tl.arange(0, G)) * P)[:, None]
    c_GC = tl.zeros([G, 1], tl.int32) + tl.arange(0, CP)[None, :]
    real_GC = c_GC < C
    from_G1 = w_G1 * S - pad_left
    features += b * H * W * C
    out += b * out_height * out_width * C
    weights = taps(weight, c_GC, real_GC, KH * KW, FLIP)
    start = zeros(1, G, CP)[0]
    if HAS_BIAS:
        start = taps(bias, c_GC, real_GC, 1, False)[0]
    for step in range(ROWS):
        h = h0 + step
        sums = ()
        for _ in tl.static_range(P):
            sums = sums + (start,)
        for i in tl.static_range(KH):
            r = h * S + i - pad_above
            row = columns(
                features + r.to(tl.int64) * W * C, from_G1 * C + c_GC, from_G1,
                real_GC & (r >= 0) & (r < H), W, C, 0, (P - 1) * S + KW,
            )  # fmt: skip
            new = ()
            for x in tl.static_range(P):
                sum_GC = sums[x]
                for j in tl.static_range(KW):
                    sum_GC += row[x * S + j] * weights[i * KW + j]
                new = new + (sum_GC,)
            sums = new
        to = out + h.to(tl.int64) * out_width * C + w_G1 * C + c_GC
        for x in tl.static_range(P):
            inside_GC = real_GC & (w_G1 + x < out_width) & (h < out_height)
            tl.store(to + x * C, sums[x].to(out.dtype.element_ty), mask=inside_GC)


@triton.jit(do_not_specialize=SIZES)
def _strided_to_features(
    gradient, weight, out, H, W, out_height, out_width, pad_above, pad_left, bands,
    C: tl.constexpr, CP: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr,
    P: tl.constexpr, G: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Gather the gradient of the features where the stride is more than 1."""
    h0 = (tl.program_id(0) % bands) * ROWS
    b = (tl.program_id(0) // bands).to(tl.int64)
    w_G1 = ((tl.program_id(1) * G + tl.arange(0, G)) * P)[:, None]
    c_GC = tl.zeros([G, 1], tl.int32) + tl.arange(0, CP)[None, :]
    real_GC = c_GC < C
    gradient += b * out_height * out_width * C
    out += b * H * W * C
    weights = taps(weight, c_GC, real_GC, KH * KW, False)
    for step in range(ROWS):
        h = h0 + step
        for x in tl.static_range(P):
            sum_GC = tl.zeros([G, CP], tl.float32)
            for i in tl.static_range(KH):
                r = h + pad_above - i
                row = gradient + (r // S).to(tl.int64) * out_width * C
                hit = (r >= 0) & (r % S == 0) & (r // S < out_height)
                for j in tl.static_range(KW):
                    q_G1 = w_G1 + (x + pad_left - j)
                    hit_GC = real_GC & hit & (q_G1 >= 0) & (q_G1 % S == 0) & (q_G1 // S < out_width)
                    g_GC = tl.load(row + (q_G1 // S) * C + c_GC, mask=hit_GC, other=0.0)
                    sum_GC += g_GC.to(tl.float32) * weights[i * KW + j]
            to = out + h.to(tl.int64) * W * C + (w_G1 + x) * C + c_GC
            tl.store(to, sum_GC.to(out.dtype.element_ty), mask=real_GC & (w_G1 + x < W) & (h < H))


@triton.jit(do_not_specialize=SIZES)
def _to_parameters(
    features, gradient, sums, H, W, out_height, out_width, pad_above, pad_left, bands,
    C: tl.constexpr, CP: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr,
    TAP_ROWS: tl.constexpr, P: tl.constexpr, G: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Write this program's part of the gradients of TAP_ROWS rows of the weights, and of the bias."""
    h0 = (tl.program_id(0) % bands) * ROWS
    b = (tl.program_id(0) // bands).to(tl.int64)
    w_G1 = ((tl.program_id(1) * G + tl.arange(0, G)) * P)[:, None]
    i0 = tl.program_id(2) * TAP_ROWS
    c_GC = tl.zeros([G, 1], tl.int32) + tl.arange(0, CP)[None, :]
    real_GC = c_GC < C
    from_G1 = w_G1 * S - pad_left
    features += b * H * W * C
    gradient += b * out_height * out_width * C
    parts = zeros(TAP_ROWS * KW, G, CP)
    bias_GC = tl.zeros([G, CP], tl.float32)
    for step in range(ROWS):
        h = h0 + step
        upstream = columns(
            gradient + h.to(tl.int64) * out_width * C, w_G1 * C + c_GC, w_G1, real_GC & (h < out_height),
            out_width, C, 0, P,
        )  # fmt: skip
        for x in tl.static_range(P):
            bias_GC += upstream[x]
        new = ()
        for i in tl.static_range(TAP_ROWS):
            r = h * S + i0 + i - pad_above
            row = columns(
                features + r.to(tl.int64) * W * C, from_G1 * C + c_GC, from_G1,
                real_GC & (r >= 0) & (r < H), W, C, 0, (P - 1) * S + KW,
            )  # fmt: skip
            for j in tl.static_range(KW):
                part_GC = parts[i * KW + j]
                for x in tl.static_range(P):
                    part_GC += row[x * S + j] * upstream[x]
                new = new + (part_GC,)
        parts = new
    program = tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    sums += program * (C * (KH * KW + 1))
    c_C = tl.arange(0, CP)
    for t in tl.static_range(TAP_ROWS * KW):
        tl.store(sums + c_C * (KH * KW) + (i0 * KW + t), tl.sum(parts[t], 0), mask=c_C < C)
    if i0 == 0:
        tl.store(sums + C * KH * KW + c_C, tl.sum(bias_GC, 0), mask=c_C < C)


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
    plan, sizes = _plan(out_BHWC, weight)
    _forward[plan.grid](
        x_BHWC, weight.flatten(1).contiguous(), weight if bias is None else bias, out_BHWC,
        height, width, out_height, out_width, pad_above, pad_left, plan.bands,
        **sizes, S=stride, HAS_BIAS=bias is not None, FLIP=False, num_warps=plan.warps,
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
    height, width, channels = x_BHWC.shape[1:]
    out_height, out_width = gradient_BHWC.shape[1:3]
    kernel_height, kernel_width = weight.shape[2:]
    flat_weight = weight.flatten(1).contiguous()
    to_x_BHWC = torch.empty_like(x_BHWC)
    plan, sizes = _plan(to_x_BHWC, weight)
    if stride == 1:
        _forward[plan.grid](
            gradient_BHWC, flat_weight, flat_weight, to_x_BHWC, out_height, out_width, height, width,
            kernel_height - 1 - pad_above, kernel_width - 1 - pad_left, plan.bands,
            **sizes, S=1, HAS_BIAS=False, FLIP=True, num_warps=plan.warps,
        )  # fmt: skip
    else:
        _strided_to_features[plan.grid](
            gradient_BHWC, flat_weight, to_x_BHWC, height, width, out_height, out_width,
            pad_above, pad_left, plan.bands, **sizes, S=stride, num_warps=plan.warps,
        )  # fmt: skip
    plan, sizes = _plan(gradient_BHWC, weight)
    tap_rows = kernel_height if kernel_height * kernel_width <= MOST_TAPS else 1
    sums = torch.empty(
        plan.grid[0] * plan.grid[1],
        channels * (kernel_height * kernel_width + 1),
        dtype=torch.float32,
        device=x_BHWC.device,
    )
    _to_parameters[(*plan.grid, kernel_height // tap_rows)](
        x_BHWC, gradient_BHWC, sums, height, width, out_height, out_width, pad_above, pad_left, plan.bands,
        **sizes, S=stride, TAP_ROWS=tap_rows, num_warps=plan.warps,
    )  # fmt: skip
    return to_x_BHWC, sums.sum(0)


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


def _plan(out_BHWC: Tensor, weight: Tensor) -> tuple[Tiling, dict[str, int]]:
    """Return the launch for an output, and the sizes that the compiler must know."""
    batch, height, width, channels = out_BHWC.shape
    wide = weight.shape[2] * weight.shape[3] > MOST_TAPS
    plan = tiling(batch, height, width, channels, columns=COLUMNS, per_thread=1 if wide else 2)
    sizes = {
        "C": channels,
        "CP": plan.channels,
        "KH": weight.shape[2],
        "KW": weight.shape[3],
        "P": plan.columns,
        "G": plan.strips,
        "ROWS": plan.rows,
    }
    return plan, sizes
