"""1x1 convolutions on CUDA: matrix products over the channels, by tensor cores.

cuBLAS is slow at products of all pixels with a narrow matrix. A program takes a range of pixels: forward it
multiplies them with one matrix or with two at once; backward it gets the gradients of features, weights and
bias from one pass over gradient and features. Every program writes its sums to a place of its own, which are
added up in one fixed order: the same bits every time. cuBLAS does what they do not take: more than 64 outputs
or, forward, 128 inputs, and float32 where TF32 is not allowed.

Shape letters: B batch, H height, W width, I input and O output channels (1 and 2: of the first and the second
matrix), N pixels of a tile, P all pixels, L values of all parameters together. Features are channels-last. In
the kernels C are channels, T the channels of a tile and S the values from one pixel to the next, more than C
where the channels are a range of more.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from alkdnet.kernels.cuda.elementary import gelu, gelu_and_slope
from alkdnet.kernels.cuda.launching import laid_out_as, pixel_stride, power_of_two, tiles_per_program
from alkdnet.kernels.cuda.sums import add_up

# Of a tile: the fastest on an H200.
FORWARD_PIXELS, BACKWARD_PIXELS = 64, 32
# Channels of a tile: tensor cores take no fewer, and more do not fit into registers.
LEAST, MOST = 16, 64
# Input channels in the forward pass, whose matrix is held as a whole.
MOST_INPUTS = 128


@triton.jit
def load_pixels(image, start, n_N1, c_1C, left, S: tl.constexpr, C: tl.constexpr):
    """Return N pixels in a row from `start` on, zero where fewer are left."""
    at_NC = image + start.to(tl.int64) * S + (n_N1 * S + c_1C)
    return tl.load(at_NC, mask=(n_N1 < left) & (c_1C < C), other=0.0)


@triton.jit
def store_pixels(image, start, n_N1, c_1C, left, S: tl.constexpr, C: tl.constexpr, value_NC):
    """Store N pixels in a row from `start` on, or as many as are left."""
    at_NC = image + start.to(tl.int64) * S + (n_N1 * S + c_1C)
    tl.store(at_NC, value_NC.to(image.dtype.element_ty), mask=(n_N1 < left) & (c_1C < C))


@triton.jit
def load_matrix(weight, o, i, CO: tl.constexpr, CI: tl.constexpr):
    """Return the weights of outputs `o` and inputs `i`, in the order of these, zero beyond their numbers."""
    return tl.load(weight + o * CI + i, mask=(o < CO) & (i < CI), other=0.0)


@triton.jit(do_not_specialize=["pixels", "steps"])
def _forward(
    features, weight1, bias1, out1, weight2, bias2, out2, pixels, steps,
    CI: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr,
    SI: tl.constexpr, S1: tl.constexpr, S2: tl.constexpr,
    TI: tl.constexpr, T1: tl.constexpr, T2: tl.constexpr, N: tl.constexpr,
    GELU: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Multiply with one matrix, or with a second one too (C2 > 0); GELU: of the features, before it."""
    TYPE: tl.constexpr = out1.dtype.element_ty
    i_I = tl.arange(0, TI)
    o_1 = tl.arange(0, T1)[None, :]
    weight_I1 = load_matrix(weight1, o_1, i_I[:, None], C1, CI).to(TYPE)
    if HAS_BIAS:
        bias_11 = tl.load(bias1 + o_1, mask=o_1 < C1, other=0.0).to(tl.float32)
    if C2 > 0:
        o_2 = tl.arange(0, T2)[None, :]
        weight_I2 = load_matrix(weight2, o_2, i_I[:, None], C2, CI).to(TYPE)
        bias_12 = tl.load(bias2 + o_2, mask=o_2 < C2, other=0.0).to(tl.float32)
    n_N1 = tl.arange(0, N)[:, None]
    for step in range(steps):
        start = (tl.program_id(0) * steps + step) * N
        left = pixels - start
        x_NI = load_pixels(features, start, n_N1, i_I[None, :], left, SI, CI)
        if GELU:
            x_NI = gelu(x_NI.to(tl.float32))
        x_NI = x_NI.to(TYPE)
        y_N1 = tl.dot(x_NI, weight_I1, input_precision="tf32")
        if HAS_BIAS:
            y_N1 += bias_11
        store_pixels(out1, start, n_N1, o_1, left, S1, C1, y_N1)
        if C2 > 0:
            y_N2 = tl.dot(x_NI, weight_I2, input_precision="tf32") + bias_12
            store_pixels(out2, start, n_N1, o_2, left, S2, C2, y_N2)


@triton.jit(do_not_specialize=["pixels", "steps"])
def _backward(
    gradient1, weight1, gradient2, weight2, features, residual, to_features, sums, pixels, steps,
    CI: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr,
    SI: tl.constexpr, S1: tl.constexpr, S2: tl.constexpr,
    TI: tl.constexpr, T1: tl.constexpr, T2: tl.constexpr, N: tl.constexpr,
    GELU: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """Write the features' gradient and this program's part of the parameters', for a tile of the inputs.

    The sums are those of both weights and of the bias: the only matrix's, or the second one's if there are
    two. RESIDUAL: add another gradient to that of the features.
    """
    TYPE: tl.constexpr = gradient1.dtype.element_ty
    i_1I = (tl.program_id(0) * TI + tl.arange(0, TI))[None, :]
    o_1 = tl.arange(0, T1)
    weight_1I = load_matrix(weight1, o_1[:, None], i_1I, C1, CI).to(TYPE)
    sum_1I = tl.zeros([T1, TI], tl.float32)
    o_2 = tl.arange(0, T2)
    bias_N2 = tl.zeros([N, T2], tl.float32)
    if C2 > 0:
        weight_2I = load_matrix(weight2, o_2[:, None], i_1I, C2, CI).to(TYPE)
        sum_2I = tl.zeros([T2, TI], tl.float32)
    n_N1 = tl.arange(0, N)[:, None]
    for step in range(steps):
        start = (tl.program_id(1) * steps + step) * N
        left = pixels - start
        g_N1 = load_pixels(gradient1, start, n_N1, o_1[None, :], left, S1, C1)
        x_NI = load_pixels(features, start, n_N1, i_1I, left, SI, CI)
        to_NI = tl.dot(g_N1, weight_1I, input_precision="tf32")
        if C2 > 0:
            g_N2 = load_pixels(gradient2, start, n_N1, o_2[None, :], left, S2, C2)
            to_NI = tl.dot(g_N2, weight_2I, to_NI, input_precision="tf32")
            bias_N2 += g_N2.to(tl.float32)
        else:
            bias_N2 += g_N1.to(tl.float32)
        if GELU:
            x_NI, slope_NI = gelu_and_slope(x_NI.to(tl.float32))
            to_NI *= slope_NI
        if RESIDUAL:
            to_NI += load_pixels(residual, start, n_N1, i_1I, left, SI, CI).to(tl.float32)
        store_pixels(to_features, start, n_N1, i_1I, left, SI, CI, to_NI)
        x_NI = x_NI.to(TYPE)
        sum_1I = tl.dot(tl.trans(g_N1), x_NI, sum_1I, input_precision="tf32")
        if C2 > 0:
            sum_2I = tl.dot(tl.trans(g_N2), x_NI, sum_2I, input_precision="tf32")
    BIASES: tl.constexpr = C2 if C2 > 0 else C1
    sums += tl.program_id(1).to(tl.int64) * ((C1 + C2) * CI + BIASES)
    tl.store(sums + o_1[:, None] * CI + i_1I, sum_1I, mask=(o_1[:, None] < C1) & (i_1I < CI))
    if C2 > 0:
        tl.store(sums + (C1 + o_2[:, None]) * CI + i_1I, sum_2I, mask=(o_2[:, None] < C2) & (i_1I < CI))
    if tl.program_id(0) == 0:
        tl.store(sums + (C1 + C2) * CI + o_2, tl.sum(bias_N2, 0), mask=o_2 < BIASES)


def tensor_cores(dtype: torch.dtype) -> bool:
    """Return whether tensor cores may compute products of a type; those of float32 become TF32."""
    return dtype != torch.float32 or torch.get_float32_matmul_precision() != "highest"


def forward_resident(second: int, *, gelu: bool) -> int:
    """Return how many programs of `_forward` a multiprocessor holds; `second`: outputs of a second matrix."""
    if gelu:
        return 3
    return 4 if second else 5


def backward_resident(second: int, *, gelu: bool) -> int:
    """Return how many programs of `_backward` a multiprocessor holds."""
    return 2 if second or gelu else 4


def _fits(dtype: torch.dtype, inputs: int, *weights: Tensor) -> bool:
    """Return whether the kernels take the products."""
    return (
        tensor_cores(dtype) and inputs <= MOST_INPUTS and all(weight.shape[0] <= MOST for weight in weights)
    )


def _by_linear(x_BHWI: Tensor, weight: Tensor, bias_O: Tensor | None, dtype: torch.dtype) -> Tensor:
    bias_O = None if bias_O is None else bias_O.to(dtype)
    return F.linear(x_BHWI.to(dtype), weight.flatten(1).to(dtype), bias_O)


def multiply(
    x_BHWI: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    outs: Sequence[Tensor],
    *,
    gelu: bool = False,
) -> None:
    """Write the products of all pixels with one or two matrices.

    Args:
        x_BHWI: contiguous features.
        weights: (O, I, 1, 1), float32 or in the type of the outputs.
        biases: of each; the second, if there is one, has one.
        outs: (B, H, W, O), of any distance between pixels; products are computed in their type.
        gelu: take the exact GELU of the features first.
    """
    dtype = outs[0].dtype
    if not _fits(dtype, x_BHWI.shape[3], *weights):
        x_BHWI = F.gelu(x_BHWI) if gelu else x_BHWI
        for weight, bias_O, out_BHWO in zip(weights, biases, outs, strict=True):
            out_BHWO.copy_(_by_linear(x_BHWI, weight, bias_O, dtype))
        return
    (first, *others), (bias, *more) = [weight.flatten(1).contiguous() for weight in weights], biases
    second, outputs2 = (others[0], others[0].shape[0]) if others else (first, 0)
    pixels, inputs = x_BHWI.numel() // x_BHWI.shape[3], x_BHWI.shape[3]
    steps = tiles_per_program(-(-pixels // FORWARD_PIXELS), forward_resident(outputs2, gelu=gelu))
    with torch.cuda.device_of(x_BHWI):
        _forward[(-(-pixels // (FORWARD_PIXELS * steps)),)](
            x_BHWI, first, first if bias is None else bias, outs[0], second, more[0] if others else first,
            outs[-1], pixels, steps, CI=inputs, C1=first.shape[0], C2=outputs2,
            SI=pixel_stride(x_BHWI), S1=pixel_stride(outs[0]), S2=pixel_stride(outs[-1]),
            TI=tile_of(inputs, MOST_INPUTS), T1=tile_of(first.shape[0]), T2=tile_of(outputs2),
            N=FORWARD_PIXELS, GELU=gelu, HAS_BIAS=bias is not None, num_warps=4, num_stages=1,
        )  # fmt: skip


def differentiate(
    gradients: Sequence[Tensor],
    x_BHWI: Tensor,
    weights: Sequence[Tensor],
    *,
    gelu: bool = False,
    residual_BHWI: Tensor | None = None,
    to_parameters_L: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of `multiply` with respect to the features and, one after the other, the rest.

    The rest are the weights and the bias: of the only product, or of the second one where there are two.

    Args:
        gradients: with respect to the outputs, in the type to compute in.
        x_BHWI: as in the forward pass, and so the next two.
        weights: see `multiply`.
        gelu: see `multiply`.
        residual_BHWI: a gradient that is added to that of the features.
        to_parameters_L: where the parameters' gradients are written; None: newly allocated.
    """
    # Any number of inputs, by tiles.
    if not _fits(gradients[0].dtype, 0, *weights):
        return _by_cublas(gradients, x_BHWI, weights, gelu, residual_BHWI, to_parameters_L)
    first, *others = [weight.flatten(1).contiguous() for weight in weights]
    second, outputs2 = (others[0], others[0].shape[0]) if others else (first, 0)
    pixels, (outputs, inputs) = x_BHWI.numel() // x_BHWI.shape[3], first.shape
    tile = tile_of(inputs)
    tiles = -(-inputs // tile)
    resident = backward_resident(outputs2, gelu=gelu)
    steps = tiles_per_program(-(-pixels // BACKWARD_PIXELS) * tiles, resident)
    programs = -(-pixels // (BACKWARD_PIXELS * steps))
    to_x_BHWI = torch.empty_like(x_BHWI)
    length = (outputs + outputs2) * inputs + (outputs2 or outputs)
    sums = torch.empty(programs, length, dtype=torch.float32, device=x_BHWI.device)
    with torch.cuda.device_of(x_BHWI):
        # One stage: the loads of other programs on the multiprocessor hide the latency of this one's.
        _backward[(tiles, programs)](
            gradients[0], first, gradients[-1], second, x_BHWI,
            x_BHWI if residual_BHWI is None else residual_BHWI, to_x_BHWI, sums, pixels, steps,
            CI=inputs, C1=outputs, C2=outputs2,
            SI=pixel_stride(x_BHWI), S1=pixel_stride(gradients[0]), S2=pixel_stride(gradients[-1]),
            TI=tile, T1=tile_of(outputs), T2=tile_of(outputs2 or outputs), N=BACKWARD_PIXELS,
            GELU=gelu, RESIDUAL=residual_BHWI is not None, num_warps=4, num_stages=1,
        )  # fmt: skip
    return to_x_BHWI, add_up(sums, to_parameters_L)


def _by_cublas(
    gradients: Sequence[Tensor],
    x_BHWI: Tensor,
    weights: Sequence[Tensor],
    gelu: bool,
    residual_BHWI: Tensor | None,
    to_parameters_L: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return what `differentiate` does."""
    dtype = gradients[0].dtype
    to_x_BHWI = sum(g @ weight.flatten(1).to(dtype) for g, weight in zip(gradients, weights, strict=True))
    assert isinstance(to_x_BHWI, Tensor)
    if gelu:
        to_x_BHWI = torch.ops.aten.gelu_backward(to_x_BHWI, x_BHWI.to(dtype))
    if residual_BHWI is not None:
        to_x_BHWI = to_x_BHWI + residual_BHWI
    x_PI = (F.gelu(x_BHWI) if gelu else x_BHWI).to(dtype).flatten(0, 2)
    gradients_PO = [g.flatten(0, 2) for g in gradients]
    parts = [(g_PO.t() @ x_PI).flatten().float() for g_PO in gradients_PO]
    flat_L = torch.cat([*parts, gradients_PO[-1].sum(0, dtype=torch.float32)])
    return to_x_BHWI.to(x_BHWI.dtype), flat_L if to_parameters_L is None else to_parameters_L.copy_(flat_L)


def tile_of(channels: int, most: int = MOST) -> int:
    """Return how many channels a tile has, so that tensor cores take it."""
    return min(max(power_of_two(channels), LEAST), most)


@torch.library.custom_op("alkdnet::pointwise", mutates_args=())
def pointwise(x_BHWI: Tensor, weight: Tensor, bias_O: Tensor | None) -> Tensor:
    """Return the products of all pixels with the weight, in the features' type.

    Args:
        x_BHWI: float32, bfloat16 or float16.
        weight: (O, I, 1, 1), in the features' type or float32.
        bias_O: in the same type; None: there is none.
    """
    x_BHWI = x_BHWI.contiguous()
    if not _fits(x_BHWI.dtype, x_BHWI.shape[3], weight):
        return _by_linear(x_BHWI, weight, bias_O, x_BHWI.dtype)
    out_BHWO = x_BHWI.new_empty(*x_BHWI.shape[:3], weight.shape[0])
    multiply(x_BHWI, [weight], [bias_O], [out_BHWO])
    return out_BHWO


@pointwise.register_fake
def _(x_BHWI: Tensor, weight: Tensor, bias_O: Tensor | None) -> Tensor:
    return x_BHWI.new_empty(*x_BHWI.shape[:3], weight.shape[0])


@torch.library.custom_op("alkdnet::pointwise_backward", mutates_args=())
def _to_all(gradient_BHWO: Tensor, x_BHWI: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients with respect to the features and, one after the other, to weight and bias."""
    return differentiate([gradient_BHWO.contiguous()], x_BHWI.contiguous(), [weight])


@_to_all.register_fake
def _(gradient_BHWO: Tensor, x_BHWI: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    values = weight.numel() + weight.shape[0]
    return torch.empty(x_BHWI.shape, dtype=x_BHWI.dtype, device=x_BHWI.device), torch.empty(
        values, dtype=torch.float32, device=x_BHWI.device
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x_BHWI, weight, bias_O = inputs
    ctx.bias_type = None if bias_O is None else bias_O.dtype
    ctx.save_for_backward(x_BHWI, weight)


def _differentiate(ctx: Any, gradient_BHWO: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    x_BHWI, weight = ctx.saved_tensors
    to_x_BHWI, flat_L = _to_all(gradient_BHWO, x_BHWI, weight)
    to_weight, to_bias = flat_L.split([weight.numel(), weight.shape[0]])
    return (
        to_x_BHWI,
        laid_out_as(to_weight, weight).to(weight.dtype),
        None if ctx.bias_type is None else to_bias.to(ctx.bias_type),
    )


pointwise.register_autograd(_differentiate, setup_context=_save)
