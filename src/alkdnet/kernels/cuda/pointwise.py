"""1x1 convolutions on CUDA: matrix products over the channels, and a kernel for the parameters' gradients.

The product over all pixels of two narrow matrices is what cuBLAS is slow at; here every program multiplies a
range of pixels and adds up the bias's gradient from the same loads. Every program writes its part to a place
of its own, and the parts are added up in one fixed order: the same bits every time. All else is cuBLAS, as is
everything in float32 proper, for which there are no tensor cores.

Shape letters: B batch, H height, W width, O output and I input channels, P pixels of
all images, N pixels of a tile, L values of weight and bias together. Features are channels-last.
"""

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from alkdnet.kernels.cuda.launching import laid_out_as, power_of_two

# A launch aims at that many programs: three on each of 132 multiprocessors.
PROGRAMS = 396
PIXELS = 64
# A tile has at most that many channels of input and of output, and at least what a tensor core takes.
MOST, LEAST = 64, 16


@triton.jit(do_not_specialize=["pixels", "steps"])
def _to_parameters(
    gradient, features, sums, pixels, steps, outputs, inputs,
    TO: tl.constexpr, TI: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Write this program's part of the gradients of a tile of the weight, and of the bias."""
    i_I = tl.program_id(0) * TI + tl.arange(0, TI)
    o_O = tl.program_id(1) * TO + tl.arange(0, TO)
    sum_OI = tl.zeros([TO, TI], tl.float32)
    bias_NO = tl.zeros([N, TO], tl.float32)
    for step in range(steps):
        n_N1 = ((tl.program_id(2) * steps + step) * N + tl.arange(0, N))[:, None]
        from_NO, from_NI = (
            n_N1.to(tl.int64) * outputs + o_O[None, :],
            n_N1.to(tl.int64) * inputs + i_I[None, :],
        )
        g_NO = tl.load(gradient + from_NO, mask=(n_N1 < pixels) & (o_O < outputs)[None, :], other=0.0)
        x_NI = tl.load(features + from_NI, mask=(n_N1 < pixels) & (i_I < inputs)[None, :], other=0.0)
        sum_OI = tl.dot(tl.trans(g_NO), x_NI, sum_OI, input_precision="tf32")
        bias_NO += g_NO.to(tl.float32)
    sums += tl.program_id(2).to(tl.int64) * (outputs * (inputs + 1))
    inside_OI = (o_O < outputs)[:, None] & (i_I < inputs)[None, :]
    tl.store(sums + o_O[:, None] * inputs + i_I[None, :], sum_OI, mask=inside_OI)
    if tl.program_id(0) == 0:
        tl.store(sums + outputs * inputs + o_O, tl.sum(bias_NO, 0), mask=o_O < outputs)


@torch.library.custom_op("alkdnet::pointwise", mutates_args=())
def pointwise(x_BHWI: Tensor, weight: Tensor, bias_O: Tensor | None) -> Tensor:
    """Return the products of all pixels with the weight, in the features' type.

    Args:
        x_BHWI: float32, bfloat16 or float16.
        weight: (O, I, 1, 1), in the features' type or float32.
        bias_O: in the same type; None: there is none.
    """
    bias_O = None if bias_O is None else bias_O.to(x_BHWI.dtype)
    return F.linear(x_BHWI.contiguous(), weight.flatten(1).to(x_BHWI.dtype), bias_O)


@pointwise.register_fake
def _(x_BHWI: Tensor, weight: Tensor, bias_O: Tensor | None) -> Tensor:
    return x_BHWI.new_empty(*x_BHWI.shape[:3], weight.shape[0])


@torch.library.custom_op("alkdnet::pointwise_backward", mutates_args=())
def to_parameters(gradient_BHWO: Tensor, x_BHWI: Tensor) -> Tensor:
    """Return the gradients with respect to weight and bias, one after the other, in float32."""
    gradient_PO, x_PI = (each.contiguous().flatten(0, 2) for each in (gradient_BHWO, x_BHWI))
    if x_PI.dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest":
        return torch.cat([(gradient_PO.t() @ x_PI).flatten(), gradient_PO.sum(0)])
    return _by_tensor_cores(gradient_PO, x_PI).sum(0)


@to_parameters.register_fake
def _(gradient_BHWO: Tensor, x_BHWI: Tensor) -> Tensor:
    values = gradient_BHWO.shape[3] * (x_BHWI.shape[3] + 1)
    return torch.empty(values, dtype=torch.float32, device=x_BHWI.device)


def _by_tensor_cores(gradient_PO: Tensor, x_PI: Tensor) -> Tensor:
    """Return every program's part of the gradients."""
    (pixels, outputs), inputs = gradient_PO.shape, x_PI.shape[1]
    tile_o, tile_i = (min(max(power_of_two(c), LEAST), MOST) for c in (outputs, inputs))
    tiles = (-(-inputs // tile_i), -(-outputs // tile_o))
    steps = -(-pixels * tiles[0] * tiles[1] // (PIXELS * PROGRAMS))
    programs = -(-pixels // (PIXELS * steps))
    sums = torch.empty(programs, outputs * (inputs + 1), dtype=torch.float32, device=x_PI.device)
    with torch.cuda.device_of(x_PI):
        # One stage: the loads of other programs on the multiprocessor hide the latency of this one's.
        _to_parameters[(*tiles, programs)](
            gradient_PO, x_PI, sums, pixels, steps, outputs, inputs,
            TO=tile_o, TI=tile_i, N=PIXELS, num_warps=4, num_stages=1,
        )  # fmt: skip
    return sums


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x_BHWI, weight, bias_O = inputs
    ctx.bias_type = None if bias_O is None else bias_O.dtype
    ctx.save_for_backward(x_BHWI, weight)


def _differentiate(ctx: Any, gradient_BHWO: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    x_BHWI, weight = ctx.saved_tensors
    flat_L = to_parameters(gradient_BHWO, x_BHWI)
    to_weight, to_bias = flat_L.split([weight.numel(), weight.shape[0]])
    return (
        gradient_BHWO @ weight.flatten(1).to(gradient_BHWO.dtype),
        laid_out_as(to_weight, weight).to(weight.dtype),
        None if ctx.bias_type is None else to_bias.to(ctx.bias_type),
    )


pointwise.register_autograd(_differentiate, setup_context=_save)
