"""The first half of a distillation block of ALKConvs as one operator: Equations 7 and 8.

In each of the three steps the distilled and the refined features are products of the same features, so one
kernel reads them once for both; backward it adds up the gradients from both and from the residual. All
distilled parts are written next to one another, where the condensing product reads them: nothing is
concatenated. They are kept as they are before their GELU, which the product takes and its gradient needs.

Shape letters: B batch, H height, W width, C channels, D distilled channels, L values of all parameters
together. Features are channels-last.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from alkdnet.kernels.cuda import alkconv, pointwise
from alkdnet.kernels.cuda.launching import laid_out_as
from alkdnet.layers.convolution import ALKConv
from alkdnet.layers.distillation import DistillationBlock

STEPS = 3
# Parameters of a step: refining and distilling weight, distilling bias, and those of an ALKConv.
PRODUCTS, PER_STEP = 3, 11


def parameters_of(block: DistillationBlock) -> list[Tensor]:
    """Return the parameters of a block of ALKConvs in the order of the operators' gradients."""

    def after_product(conv: ALKConv) -> list[Any]:
        branches = (conv.vertical, conv.horizontal, conv.square)
        weights, biases = [branch.weight for branch in branches], [branch.bias for branch in branches]
        return [*weights, *biases, conv.norm.weight, conv.norm.bias]

    parameters: list[Any] = []
    for distill, refine in zip(block.distill, cast(Iterable[ALKConv], block.refine), strict=True):
        parameters += [refine.pointwise.weight, distill.weight, distill.bias, *after_product(refine)]
    last = cast(ALKConv, block.distill_last)
    parameters += [last.pointwise.weight, *after_product(last)]
    return [*parameters, block.condense.weight, block.condense.bias]


def _run(
    x_BHWC: Tensor, parameters: Sequence[Tensor], eps: float, dtype: torch.dtype, *, keep: bool
) -> list[Tensor]:
    """Return the condensed features.

    With `keep` the distilled ones too, what the ALKConvs took and what they made of it; without, their memory
    is free as soon as the next step does not need it.
    """
    x_BHWC = x_BHWC.contiguous()
    size, distilled = x_BHWC.shape[:3], parameters[1].shape[0]
    joined = x_BHWC.new_empty(*size, (STEPS + 1) * distilled, dtype=dtype)
    *parts, last = joined.split(distilled, dim=3)
    taken, refined = [], [x_BHWC]
    for i, part in enumerate(parts):
        refine, distill, bias, *others = parameters[i * PER_STEP : (i + 1) * PER_STEP]
        taken.append(torch.empty_like(x_BHWC, dtype=dtype))
        pointwise.multiply(refined[-1], [refine, distill], [None, bias], [taken[-1], part])
        refined.append(torch.empty_like(x_BHWC))
        alkconv.convolve(taken[-1], refined[-2], others, eps, refined[-1])
        if not keep:
            del taken[:], refined[:-1]
    weight, *others, condense, bias = parameters[STEPS * PER_STEP :]
    taken.append(x_BHWC.new_empty(*size, distilled, dtype=dtype))
    pointwise.multiply(refined[-1], [weight], [None], [taken[-1]])
    alkconv.convolve(taken[-1], None, others, eps, last)
    condensed = torch.empty_like(x_BHWC, dtype=dtype)
    pointwise.multiply(joined, [condense], [bias], [condensed], gelu=True)
    return [condensed, joined, *taken, *refined[1:]] if keep else [condensed]


@torch.library.custom_op("alkdnet::distilled", mutates_args=())
def distilled(x_BHWC: Tensor, parameters: list[Tensor], eps: float, dtype: torch.dtype) -> Tensor:
    """Return the condensed features of a block, without what a backward pass needs.

    Args:
        x_BHWC: float32, bfloat16 or float16.
        parameters: of `parameters_of`, float32 or in the type of the products.
        eps: of the normalisations.
        dtype: of products and distilled features; refined ones are in the type of `x_BHWC`.
    """
    return _run(x_BHWC, parameters, eps, dtype, keep=False)[0]


@distilled.register_fake
def _(x_BHWC: Tensor, parameters: list[Tensor], eps: float, dtype: torch.dtype) -> Tensor:
    return torch.empty(x_BHWC.shape, dtype=dtype, device=x_BHWC.device)


@torch.library.custom_op("alkdnet::distil", mutates_args=())
def distil(
    x_BHWC: Tensor, parameters: list[Tensor], eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the condensed features and, for the backward pass, the others of `_run`."""
    out: Any = tuple(_run(x_BHWC, parameters, eps, dtype, keep=True))
    return out  # type: ignore[no-any-return]


@distil.register_fake
def _(x_BHWC: Tensor, parameters: list[Tensor], eps: float, dtype: torch.dtype) -> tuple[Tensor, ...]:
    def features(channels: int, kind: torch.dtype = dtype) -> Tensor:
        return torch.empty(*x_BHWC.shape[:3], channels, dtype=kind, device=x_BHWC.device)

    channels, part = x_BHWC.shape[3], parameters[1].shape[0]
    taken = [*(features(channels) for _ in range(STEPS)), features(part)]
    refined = [features(channels, x_BHWC.dtype) for _ in range(STEPS)]
    return features(channels), features((STEPS + 1) * part), *taken, *refined


@torch.library.custom_op("alkdnet::distil_backward", mutates_args=())
def _backward(
    gradient_BHWC: Tensor, saved: list[Tensor], parameters: list[Tensor], eps: float
) -> tuple[Tensor, Tensor]:
    """Return the gradients with respect to the features and, one after the other, to all parameters.

    Args:
        gradient_BHWC: with respect to the condensed features.
        saved: the features, and what `distil` returned after the condensed ones.
        parameters: as in the forward pass, and so the next.
        eps: see `distilled`.
    """
    x_BHWC, joined, *others = (each.contiguous() for each in saved)
    taken, refined = others[: STEPS + 1], [x_BHWC, *others[STEPS + 1 :]]
    flat_L = torch.empty(sum(each.numel() for each in parameters), dtype=torch.float32, device=x_BHWC.device)
    to_each = list(flat_L.split([each.numel() for each in parameters]))

    def place(first: int, last: int) -> Tensor:
        """Return the memory of the gradients of some parameters in a row."""
        start = to_each[first].storage_offset()
        return flat_L[start : to_each[last].storage_offset() + to_each[last].numel()]

    tail = STEPS * PER_STEP
    end = len(parameters) - 1
    to_joined, _ = pointwise.differentiate(
        [gradient_BHWC.contiguous()],
        joined,
        [parameters[end - 1]],
        gelu=True,
        to_parameters_L=place(end - 1, end),
    )
    *to_parts, to_last = to_joined.split(parameters[1].shape[0], dim=3)
    to_taken, _, _ = alkconv.differentiate(
        to_last, taken[STEPS], None, parameters[tail + 1 : end - 1], eps, place(tail + 1, end - 2)
    )
    gradient_BHWC, weight_and_bias_L = pointwise.differentiate([to_taken], refined[STEPS], [parameters[tail]])
    to_each[tail].copy_(weight_and_bias_L[: to_each[tail].numel()])  # there is no bias
    for i in reversed(range(STEPS)):
        first = i * PER_STEP
        refine, distill = parameters[first : first + 2]
        to_taken, _, to_residual = alkconv.differentiate(
            gradient_BHWC,
            taken[i],
            refined[i],
            parameters[first + PRODUCTS : first + PER_STEP],
            eps,
            place(first + PRODUCTS, first + PER_STEP - 1),
        )
        gradient_BHWC, _ = pointwise.differentiate(
            [to_taken, to_parts[i]],
            refined[i],
            [refine, distill],
            residual_BHWI=to_residual,
            to_parameters_L=place(first, first + PRODUCTS - 1),
        )
    return gradient_BHWC, flat_L


@_backward.register_fake
def _(
    gradient_BHWC: Tensor, saved: list[Tensor], parameters: list[Tensor], eps: float
) -> tuple[Tensor, Tensor]:
    x_BHWC, values = saved[0], sum(each.numel() for each in parameters)
    return torch.empty(x_BHWC.shape, dtype=x_BHWC.dtype, device=x_BHWC.device), torch.empty(
        values, dtype=torch.float32, device=x_BHWC.device
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x_BHWC, parameters, ctx.eps, _ = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(x_BHWC, *output[1:], *parameters)


def _differentiate(ctx: Any, gradient_BHWC: Tensor, *_: object) -> tuple[Tensor, list[Tensor], None, None]:
    kept = 3 + 2 * STEPS
    saved, parameters = list(ctx.saved_tensors[:kept]), list(ctx.saved_tensors[kept:])
    to_x_BHWC, flat_L = _backward(gradient_BHWC, saved, parameters, ctx.eps)
    parts = flat_L.split([parameter.numel() for parameter in parameters])
    return to_x_BHWC, [laid_out_as(*each) for each in zip(parts, parameters, strict=True)], None, None


distil.register_autograd(_differentiate, setup_context=_save)
