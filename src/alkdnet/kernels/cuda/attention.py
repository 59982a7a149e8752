"""The second half of a distillation block, from its attentions to its residual, as one operator.

Equations 9 and 10. Written as layers, this reads and writes features of full width a dozen times forward and
twice as often backward. Here it is two passes each, since CCA must have seen all pixels before it weights the
first: one up to the sums over the image, one from there. The mask of ESA is computed again in every pass,
from F channels instead of C. Tiles are channels by pixels, so that what is one value per channel takes few
registers. Products are computed as in pointwise.py, sums over pixels in one fixed order.

Shape letters: B batch, H height, W width, h and w those of ESA's coarse grid, C channels, F channels inside
ESA, R inside CCA, N pixels of a tile, K programs of an image looked at together, L values of all parameters
together. Features are channels-last.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alkdnet.kernels.cuda.elementary import sigmoid
from alkdnet.kernels.cuda.launching import laid_out_as, power_of_two, tiles_per_program
from alkdnet.kernels.cuda.pointwise import (
    BACKWARD_PIXELS,
    FORWARD_PIXELS,
    load_matrix,
    load_pixels,
    store_pixels,
    tile_of,
)
from alkdnet.kernels.cuda.resampling import interpolated, to_small
from alkdnet.kernels.cuda.sums import add_up
from alkdnet.layers.norm import PixelNorm

# Programs of an image whose sums are loaded at once.
TOGETHER = 32
# What is kept of every image and channel: mean, standard deviation and weight.
STATISTICS = 3
# How many programs of each kernel a multiprocessor holds.
RESIDENT = {"_attend": 4, "_finish": 3, "_to_weight": 3, "_to_features": 2}


@triton.jit
def _values(parameter, i, count: tl.constexpr):
    """Return one parameter for each index, zero beyond their number."""
    return tl.load(parameter + i, mask=i < count, other=0.0).to(tl.float32)


@triton.jit
def _mask(expand_CF, context_FN, bias_C1):
    """Return ESA's mask."""
    return sigmoid(tl.dot(expand_CF, context_FN, input_precision="tf32") + bias_C1)


@triton.jit
def _normalised(z_CN, real_C1, eps, C: tl.constexpr):
    """Return the features of zero mean and unit variance over the channels, and the inverse deviation."""
    from_mean_CN = tl.where(real_C1, z_CN - tl.sum(z_CN, 0)[None, :] * (1.0 / C), 0.0)
    inverse_1N = tl.rsqrt(tl.sum(from_mean_CN * from_mean_CN, 0)[None, :] * (1.0 / C) + eps)
    return from_mean_CN * inverse_1N, inverse_1N


@triton.jit
def _through_norm(gradient_CN, normal_CN, inverse_1N, scale_C1, C: tl.constexpr):
    """Return the gradient with respect to what was normalised."""
    to_normal_CN = gradient_CN * scale_C1
    mean_1N = tl.sum(to_normal_CN, 0)[None, :] * (1.0 / C)
    along_1N = tl.sum(to_normal_CN * normal_CN, 0)[None, :] * (1.0 / C)
    return inverse_1N * (to_normal_CN - mean_1N - normal_CN * along_1N)


@triton.jit(do_not_specialize=["H", "W", "coarse_height", "coarse_width", "steps"])
def _attend(
    features, reduced, coarse, skip, skip_bias, expand, expand_bias, context, moments,
    H, W, coarse_height, coarse_width, ratio_h, ratio_w, steps,
    C: tl.constexpr, CP: tl.constexpr, F: tl.constexpr, FP: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Write what ESA's mask is computed from; and of the masked features, mean and squared deviations.

    Moments are of this program's pixels: (B, programs, 2, C). Those of its tiles are combined as in
    kernels/cpu/strips.py.
    """
    TYPE: tl.constexpr = context.dtype.element_ty
    b, pixels = tl.program_id(0).to(tl.int64), H * W
    features, reduced, context = features + b * pixels * C, reduced + b * pixels * F, context + b * pixels * F
    coarse += b * coarse_height * coarse_width * F
    n_1N, f_F1, c_C1 = tl.arange(0, N)[None, :], tl.arange(0, FP)[:, None], tl.arange(0, CP)[:, None]
    f_1F = tl.arange(0, FP)[None, :]
    skip_FF = load_matrix(skip, f_F1, f_1F, F, F).to(TYPE)
    expand_CF = load_matrix(expand, c_C1, f_1F, C, F).to(TYPE)
    skip_bias_F1, bias_C1 = _values(skip_bias, f_F1, F), _values(expand_bias, c_C1, C)
    seen = 0.0
    mean_C, squares_C = tl.zeros([CP], tl.float32), tl.zeros([CP], tl.float32)
    for step in range(steps):
        start = (tl.program_id(1) * steps + step) * N
        left = pixels - start
        a_FN = load_pixels(reduced, start, n_1N, f_F1, left, F, F)
        inside_FN = (n_1N < left) & (f_F1 < F)
        row_1N, column_1N = (start + n_1N) // W, (start + n_1N) % W
        up_FN = interpolated(
            coarse, row_1N, column_1N, f_F1, inside_FN, coarse_height, coarse_width,
            ratio_h, ratio_w, F,
        )  # fmt: skip
        context_FN = tl.dot(skip_FF, a_FN, input_precision="tf32") + skip_bias_F1 + up_FN
        context_FN = tl.where(inside_FN, context_FN, 0.0).to(TYPE)
        store_pixels(context, start, n_1N, f_F1, left, F, F, context_FN)
        x_CN = load_pixels(features, start, n_1N, c_C1, left, C, C).to(tl.float32)
        y_CN = x_CN * _mask(expand_CF, context_FN, bias_C1)
        count = tl.minimum(tl.maximum(left, 0), N).to(tl.float32)
        share = count / tl.maximum(seen + count, 1.0)
        tile_mean_C = tl.sum(y_CN, 1) / tl.maximum(count, 1.0)
        from_mean_CN = tl.where(n_1N < left, y_CN - tile_mean_C[:, None], 0.0)
        apart_C = tile_mean_C - mean_C
        squares_C += tl.sum(from_mean_CN * from_mean_CN, 1) + apart_C * apart_C * seen * share
        mean_C += apart_C * share
        seen += count
    moments += (b * tl.num_programs(1) + tl.program_id(1)) * 2 * C
    c_C = tl.arange(0, CP)
    tl.store(moments + c_C, mean_C, mask=c_C < C)
    tl.store(moments + C + c_C, squares_C, mask=c_C < C)


@triton.jit
def _hidden(
    std_C, mean_C, squeeze, squeeze_bias, C: tl.constexpr, CP: tl.constexpr, R: tl.constexpr, RP: tl.constexpr
):
    """Return the hidden layer of CCA."""
    r_R, c_1C = tl.arange(0, RP), tl.arange(0, CP)[None, :]
    weight_RC = load_matrix(squeeze, r_R[:, None], c_1C, R, C).to(tl.float32)
    sums_R = tl.sum(weight_RC * (std_C + mean_C)[None, :], 1)
    return tl.maximum(sums_R + _values(squeeze_bias, r_R, R), 0.0)


@triton.jit(do_not_specialize=["pixels", "programs", "per_program"])
def _weigh(
    moments, squeeze, squeeze_bias, excite, excite_bias, statistics, pixels, programs, per_program,
    C: tl.constexpr, CP: tl.constexpr, R: tl.constexpr, RP: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Write mean, standard deviation and CCA's weight of every channel of an image."""
    b = tl.program_id(0).to(tl.int64)
    c_C, r_1R = tl.arange(0, CP), tl.arange(0, RP)[None, :]
    moments += b * programs * 2 * C
    mean_C, squares_C = tl.zeros([CP], tl.float32), tl.zeros([CP], tl.float32)
    for sweep in tl.static_range(2):
        for first in range(0, programs, K):
            k_K1 = (first + tl.arange(0, K))[:, None]
            inside_KC = (k_K1 < programs) & (c_C < C)[None, :]
            mean_KC = tl.load(moments + k_K1 * 2 * C + c_C[None, :], mask=inside_KC, other=0.0)
            count_K1 = tl.minimum(tl.maximum(pixels - k_K1 * per_program, 0), per_program).to(tl.float32)
            if sweep == 0:
                mean_C += tl.sum(count_K1 * mean_KC, 0) / pixels
            else:
                apart_KC = mean_KC - mean_C[None, :]
                squares_KC = tl.load(moments + (k_K1 * 2 + 1) * C + c_C[None, :], mask=inside_KC, other=0.0)
                squares_C += tl.sum(tl.where(inside_KC, squares_KC + count_K1 * apart_KC * apart_KC, 0.0), 0)
    std_C = tl.sqrt(squares_C / pixels)
    hidden_R = _hidden(std_C, mean_C, squeeze, squeeze_bias, C, CP, R, RP)
    excite_CR = load_matrix(excite, c_C[:, None], r_1R, C, R).to(tl.float32)
    weight_C = sigmoid(tl.sum(excite_CR * hidden_R[None, :], 1) + _values(excite_bias, c_C, C))
    statistics += b * 3 * C + c_C
    tl.store(statistics, mean_C, mask=c_C < C)
    tl.store(statistics + C, std_C, mask=c_C < C)
    tl.store(statistics + 2 * C, weight_C, mask=c_C < C)


@triton.jit(do_not_specialize=["pixels", "steps"])
def _finish(
    features, context, residual, expand, expand_bias, statistics, scale, shift, out, pixels, steps, eps,
    C: tl.constexpr, CP: tl.constexpr, F: tl.constexpr, FP: tl.constexpr, N: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """Weight the masked features, normalise them and add the residual."""
    TYPE: tl.constexpr = context.dtype.element_ty
    b = tl.program_id(0).to(tl.int64)
    features, residual, out = (features + b * pixels * C, residual + b * pixels * C, out + b * pixels * C)
    context += b * pixels * F
    n_1N, f_F1, c_C1 = tl.arange(0, N)[None, :], tl.arange(0, FP)[:, None], tl.arange(0, CP)[:, None]
    f_1F = tl.arange(0, FP)[None, :]
    expand_CF = load_matrix(expand, c_C1, f_1F, C, F).to(TYPE)
    bias_C1 = _values(expand_bias, c_C1, C)
    weight_C1 = _values(statistics + (b * 3 + 2) * C, c_C1, C)
    if NORM:
        scale_C1, shift_C1 = _values(scale, c_C1, C), _values(shift, c_C1, C)
    for step in range(steps):
        start = (tl.program_id(1) * steps + step) * N
        left = pixels - start
        context_FN = load_pixels(context, start, n_1N, f_F1, left, F, F)
        x_CN = load_pixels(features, start, n_1N, c_C1, left, C, C).to(tl.float32)
        residual_CN = load_pixels(residual, start, n_1N, c_C1, left, C, C).to(tl.float32)
        z_CN = x_CN * _mask(expand_CF, context_FN, bias_C1) * weight_C1
        if NORM:
            normal_CN, _ = _normalised(z_CN, c_C1 < C, eps, C)
            z_CN = normal_CN * scale_C1 + shift_C1
        store_pixels(out, start, n_1N, c_C1, left, C, C, z_CN + residual_CN)


@triton.jit(do_not_specialize=["pixels", "steps"])
def _to_weight(
    gradient, features, context, expand, expand_bias, statistics, scale, sums, pixels, steps, eps,
    C: tl.constexpr, CP: tl.constexpr, F: tl.constexpr, FP: tl.constexpr, N: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """Write this program's part of the gradients of CCA's weight, and of the scale and shift of the norm."""
    TYPE: tl.constexpr = context.dtype.element_ty
    b = tl.program_id(0).to(tl.int64)
    gradient, features, context = (
        gradient + b * pixels * C,
        features + b * pixels * C,
        context + b * pixels * F,
    )
    n_1N, f_F1, c_C1 = tl.arange(0, N)[None, :], tl.arange(0, FP)[:, None], tl.arange(0, CP)[:, None]
    f_1F = tl.arange(0, FP)[None, :]
    expand_CF = load_matrix(expand, c_C1, f_1F, C, F).to(TYPE)
    bias_C1 = _values(expand_bias, c_C1, C)
    weight_C1 = _values(statistics + (b * 3 + 2) * C, c_C1, C)
    if NORM:
        scale_C1 = _values(scale, c_C1, C)
    weight_CN, scale_CN = tl.zeros([CP, N], tl.float32), tl.zeros([CP, N], tl.float32)
    shift_CN = tl.zeros([CP, N], tl.float32)
    for step in range(steps):
        start = (tl.program_id(1) * steps + step) * N
        left = pixels - start
        context_FN = load_pixels(context, start, n_1N, f_F1, left, F, F)
        x_CN = load_pixels(features, start, n_1N, c_C1, left, C, C).to(tl.float32)
        to_CN = load_pixels(gradient, start, n_1N, c_C1, left, C, C).to(tl.float32)
        y_CN = x_CN * _mask(expand_CF, context_FN, bias_C1)
        if NORM:
            normal_CN, inverse_1N = _normalised(y_CN * weight_C1, c_C1 < C, eps, C)
            scale_CN += to_CN * normal_CN
            shift_CN += to_CN
            to_CN = _through_norm(to_CN, normal_CN, inverse_1N, scale_C1, C)
        weight_CN += to_CN * y_CN
    sums += (b * tl.num_programs(1) + tl.program_id(1)) * 3 * C
    c_C = tl.arange(0, CP)
    tl.store(sums + c_C, tl.sum(weight_CN, 1), mask=c_C < C)
    tl.store(sums + C + c_C, tl.sum(scale_CN, 1), mask=c_C < C)
    tl.store(sums + 2 * C + c_C, tl.sum(shift_CN, 1), mask=c_C < C)


@triton.jit(do_not_specialize=["programs"])
def _to_statistics(
    sums, statistics, squeeze, squeeze_bias, excite, to_statistics, to_parameters, programs,
    C: tl.constexpr, CP: tl.constexpr, R: tl.constexpr, RP: tl.constexpr, K: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """Write the gradients of an image's statistics, and its part of those of CCA's and the norm's parameters.

    Mean and standard deviation have one gradient, as CCA adds them.
    """
    b = tl.program_id(0).to(tl.int64)
    c_C, r_R = tl.arange(0, CP), tl.arange(0, RP)
    sums += b * programs * 3 * C
    to_weight_C, to_scale_C, to_shift_C = (
        tl.zeros([CP], tl.float32), tl.zeros([CP], tl.float32), tl.zeros([CP], tl.float32)
    )  # fmt: skip
    for first in range(0, programs, K):
        k_K1 = (first + tl.arange(0, K))[:, None]
        at_KC = sums + k_K1 * 3 * C + c_C[None, :]
        inside_KC = (k_K1 < programs) & (c_C < C)[None, :]
        to_weight_C += tl.sum(tl.load(at_KC, mask=inside_KC, other=0.0), 0)
        if NORM:
            to_scale_C += tl.sum(tl.load(at_KC + C, mask=inside_KC, other=0.0), 0)
            to_shift_C += tl.sum(tl.load(at_KC + 2 * C, mask=inside_KC, other=0.0), 0)
    statistics += b * 3 * C
    mean_C, std_C = _values(statistics, c_C, C), _values(statistics + C, c_C, C)
    weight_C = _values(statistics + 2 * C, c_C, C)
    hidden_R = _hidden(std_C, mean_C, squeeze, squeeze_bias, C, CP, R, RP)
    to_excited_C = to_weight_C * weight_C * (1.0 - weight_C)
    excite_CR = load_matrix(excite, c_C[:, None], r_R[None, :], C, R).to(tl.float32)
    to_hidden_R = tl.where(hidden_R > 0.0, tl.sum(excite_CR * to_excited_C[:, None], 0), 0.0)
    squeeze_RC = load_matrix(squeeze, r_R[:, None], c_C[None, :], R, C).to(tl.float32)
    tl.store(to_statistics + b * C + c_C, tl.sum(squeeze_RC * to_hidden_R[:, None], 0), mask=c_C < C)
    LENGTH: tl.constexpr = 2 * R * C + R + C + (2 * C if NORM else 0)
    to_parameters += b * LENGTH
    at_RC = to_parameters + r_R[:, None] * C + c_C[None, :]
    tl.store(
        at_RC, to_hidden_R[:, None] * (std_C + mean_C)[None, :], mask=(r_R < R)[:, None] & (c_C < C)[None, :]
    )
    to_parameters += R * C
    tl.store(to_parameters + r_R, to_hidden_R, mask=r_R < R)
    to_parameters += R
    at_CR = to_parameters + c_C[:, None] * R + r_R[None, :]
    tl.store(at_CR, to_excited_C[:, None] * hidden_R[None, :], mask=(c_C < C)[:, None] & (r_R < R)[None, :])
    to_parameters += R * C
    tl.store(to_parameters + c_C, to_excited_C, mask=c_C < C)
    if NORM:
        tl.store(to_parameters + C + c_C, to_scale_C, mask=c_C < C)
        tl.store(to_parameters + 2 * C + c_C, to_shift_C, mask=c_C < C)


@triton.jit(do_not_specialize=["pixels", "steps"])
def _to_features(
    gradient, features, reduced, context, skip, expand, expand_bias, statistics, to_statistics, scale,
    to_features, to_reduced, to_context, sums, pixels, steps, eps,
    C: tl.constexpr, CP: tl.constexpr, F: tl.constexpr, FP: tl.constexpr, N: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """Write the gradients of all features, and this program's part of those of the mask's parameters."""
    TYPE: tl.constexpr = context.dtype.element_ty
    b = tl.program_id(0).to(tl.int64)
    gradient, features, to_features = (
        gradient + b * pixels * C, features + b * pixels * C, to_features + b * pixels * C
    )  # fmt: skip
    reduced, context = reduced + b * pixels * F, context + b * pixels * F
    to_reduced, to_context = to_reduced + b * pixels * F, to_context + b * pixels * F
    n_1N, f_F1, c_C1 = tl.arange(0, N)[None, :], tl.arange(0, FP)[:, None], tl.arange(0, CP)[:, None]
    f_1F = tl.arange(0, FP)[None, :]
    skip_FF = load_matrix(skip, f_1F, f_F1, F, F).to(TYPE)  # transposed
    expand_CF = load_matrix(expand, c_C1, f_1F, C, F).to(TYPE)
    expand_FC = load_matrix(expand, tl.arange(0, CP)[None, :], f_F1, C, F).to(TYPE)
    bias_C1 = _values(expand_bias, c_C1, C)
    mean_C1 = _values(statistics + b * 3 * C, c_C1, C)
    std_C1 = _values(statistics + (b * 3 + 1) * C, c_C1, C)
    weight_C1 = _values(statistics + (b * 3 + 2) * C, c_C1, C)
    to_mean_C1 = _values(to_statistics + b * C, c_C1, C) / pixels
    # The standard deviation of a constant channel has the gradient 0.
    to_deviation_C1 = tl.where(std_C1 > 0.0, to_mean_C1 / tl.where(std_C1 > 0.0, std_C1, 1.0), 0.0)
    if NORM:
        scale_C1 = _values(scale, c_C1, C)
    expand_sum_CF, skip_sum_FF = tl.zeros([CP, FP], tl.float32), tl.zeros([FP, FP], tl.float32)
    expand_bias_CN, skip_bias_FN = tl.zeros([CP, N], tl.float32), tl.zeros([FP, N], tl.float32)
    for step in range(steps):
        start = (tl.program_id(1) * steps + step) * N
        left = pixels - start
        context_FN = load_pixels(context, start, n_1N, f_F1, left, F, F)
        x_CN = load_pixels(features, start, n_1N, c_C1, left, C, C).to(tl.float32)
        to_CN = load_pixels(gradient, start, n_1N, c_C1, left, C, C).to(tl.float32)
        a_FN = load_pixels(reduced, start, n_1N, f_F1, left, F, F)
        mask_CN = _mask(expand_CF, context_FN, bias_C1)
        y_CN = x_CN * mask_CN
        if NORM:
            normal_CN, inverse_1N = _normalised(y_CN * weight_C1, c_C1 < C, eps, C)
            to_CN = _through_norm(to_CN, normal_CN, inverse_1N, scale_C1, C)
        to_CN = to_CN * weight_C1 + to_mean_C1 + to_deviation_C1 * (y_CN - mean_C1)
        store_pixels(to_features, start, n_1N, c_C1, left, C, C, to_CN * mask_CN)
        # Beyond the image the features are zero, and so is what follows.
        to_expanded_CN = to_CN * y_CN * (1.0 - mask_CN)
        expand_bias_CN += to_expanded_CN
        to_expanded_CN = to_expanded_CN.to(TYPE)
        expand_sum_CF = tl.dot(to_expanded_CN, tl.trans(context_FN), expand_sum_CF, input_precision="tf32")
        to_context_FN = tl.dot(expand_FC, to_expanded_CN, input_precision="tf32")
        skip_bias_FN += to_context_FN
        to_context_FN = to_context_FN.to(TYPE)
        store_pixels(to_context, start, n_1N, f_F1, left, F, F, to_context_FN)
        skip_sum_FF = tl.dot(to_context_FN, tl.trans(a_FN), skip_sum_FF, input_precision="tf32")
        to_reduced_FN = tl.dot(skip_FF, to_context_FN, input_precision="tf32")
        store_pixels(to_reduced, start, n_1N, f_F1, left, F, F, to_reduced_FN)
    sums += (b * tl.num_programs(1) + tl.program_id(1)) * (C * F + C + F * F + F)
    tl.store(sums + c_C1 * F + f_1F, expand_sum_CF, mask=(c_C1 < C) & (f_1F < F))
    sums += C * F
    c_C = tl.arange(0, CP)
    tl.store(sums + c_C, tl.sum(expand_bias_CN, 1), mask=c_C < C)
    sums += C
    tl.store(sums + f_F1 * F + f_1F, skip_sum_FF, mask=(f_F1 < F) & (f_1F < F))
    f_F = tl.arange(0, FP)
    tl.store(sums + F * F + f_F, tl.sum(skip_bias_FN, 1), mask=f_F < F)


def parameters_of(block: Any) -> list[Tensor]:
    """Return the parameters of a block's attentions and norm in the order of the operator's gradients."""
    squeeze, _, excite, _ = block.cca.excite
    layers = [squeeze, excite]
    if isinstance(block.norm, PixelNorm):
        layers.append(block.norm)
    layers += [block.esa.expand, block.esa.skip]
    return [parameter for layer in layers for parameter in (layer.weight, layer.bias)]


class _Launch:
    """Sizes, the parameters by name, and the constants of the kernels' launches."""

    def __init__(self, condensed_BHWC: Tensor, parameters: Sequence[Tensor]) -> None:
        self.batch, self.height, self.width, self.channels = condensed_BHWC.shape
        self.pixels = self.height * self.width
        flat = [
            parameter.flatten(1).contiguous() if parameter.dim() > 1 else parameter
            for parameter in parameters
        ]
        self.squeeze, self.squeeze_bias, self.excite, self.excite_bias, *norm = flat[:-4]
        self.expand, self.expand_bias, self.skip, self.skip_bias = flat[-4:]
        self.has_norm = bool(norm)
        # Not read if there is no normalisation.
        self.scale, self.shift = norm or (self.expand_bias, self.expand_bias)
        self.width_inside = self.skip.shape[0]
        self.of_channels = {"C": self.channels, "CP": tile_of(self.channels)}
        self.of_esa = self.of_channels | {"F": self.width_inside, "FP": tile_of(self.width_inside)}
        hidden = self.squeeze.shape[0]
        self.of_cca = self.of_channels | {"R": hidden, "RP": power_of_two(hidden), "K": TOGETHER}

    def programs(self, pixels: int, resident: int) -> tuple[int, tuple[int, int]]:
        """Return how many tiles of pixels a program takes, and the grid: images, parts of an image."""
        tiles = -(-self.pixels // pixels)
        steps = tiles_per_program(self.batch * tiles, resident)
        return steps, (self.batch, -(-tiles // steps))


@torch.library.custom_op("alkdnet::enhance", mutates_args=())
def enhance(
    condensed_BHWC: Tensor,
    reduced_BHWF: Tensor,
    coarse_BhwF: Tensor,
    residual_BHWC: Tensor,
    parameters: list[Tensor],
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a block's output, what ESA's mask is computed from, and the statistics (B, 3, C) of CCA.

    Args:
        condensed_BHWC: float32, bfloat16 or float16; at most 64 channels.
        reduced_BHWF: what ESA reduced them to, in the same type.
        coarse_BhwF: what it made of that on its coarse grid, in the same type.
        residual_BHWC: the block's input.
        parameters: of `parameters_of`, float32 or in the features' type.
        eps: of the normalisation.
        dtype: of the output.
    """
    condensed_BHWC, reduced_BHWF, coarse_BhwF, residual_BHWC = (
        each.contiguous() for each in (condensed_BHWC, reduced_BHWF, coarse_BhwF, residual_BHWC)
    )
    launch = _Launch(condensed_BHWC, parameters)
    steps, grid = launch.programs(FORWARD_PIXELS, RESIDENT["_attend"])
    steps_after, grid_after = launch.programs(FORWARD_PIXELS, RESIDENT["_finish"])
    coarse_height, coarse_width = coarse_BhwF.shape[1:3]
    context_BHWF = torch.empty_like(reduced_BHWF)
    moments = condensed_BHWC.new_empty(*grid, 2, launch.channels, dtype=torch.float32)
    statistics = condensed_BHWC.new_empty(launch.batch, STATISTICS, launch.channels, dtype=torch.float32)
    out_BHWC = torch.empty_like(condensed_BHWC, dtype=dtype)
    with torch.cuda.device_of(condensed_BHWC):
        _attend[grid](
            condensed_BHWC, reduced_BHWF, coarse_BhwF, launch.skip, launch.skip_bias, launch.expand,
            launch.expand_bias, context_BHWF, moments, launch.height, launch.width,
            coarse_height, coarse_width, coarse_height / launch.height, coarse_width / launch.width, steps,
            **launch.of_esa, N=FORWARD_PIXELS, num_warps=4, num_stages=1,
        )  # fmt: skip
        _weigh[(launch.batch,)](
            moments, launch.squeeze, launch.squeeze_bias, launch.excite, launch.excite_bias, statistics,
            launch.pixels, grid[1], steps * FORWARD_PIXELS, **launch.of_cca, num_warps=4,
        )  # fmt: skip
        _finish[grid_after](
            condensed_BHWC, context_BHWF, residual_BHWC, launch.expand, launch.expand_bias, statistics,
            launch.scale, launch.shift, out_BHWC, launch.pixels, steps_after, eps,
            **launch.of_esa, N=FORWARD_PIXELS, NORM=launch.has_norm, num_warps=4, num_stages=1,
        )  # fmt: skip
    return out_BHWC, context_BHWF, statistics


@enhance.register_fake
def _(
    condensed_BHWC: Tensor,
    reduced_BHWF: Tensor,
    coarse_BhwF: Tensor,
    residual_BHWC: Tensor,
    parameters: list[Tensor],
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=condensed_BHWC.device)

    statistics = condensed_BHWC.shape[0], STATISTICS, condensed_BHWC.shape[3]
    return (
        empty(condensed_BHWC.shape, dtype),
        empty(reduced_BHWF.shape, reduced_BHWF.dtype),
        empty(statistics, torch.float32),
    )


@torch.library.custom_op("alkdnet::enhance_backward", mutates_args=())
def _backward(
    gradient_BHWC: Tensor, saved: list[Tensor], parameters: list[Tensor], eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of condensed and reduced features, of the mask's context, and of all parameters.

    Args:
        gradient_BHWC: with respect to the block's output.
        saved: condensed and reduced features, and what `enhance` returned after the output.
        parameters: as in the forward pass.
        eps: as in the forward pass.
    """
    gradient_BHWC, condensed_BHWC, reduced_BHWF, context_BHWF, statistics = (
        each.contiguous() for each in (gradient_BHWC, *saved)
    )
    launch = _Launch(condensed_BHWC, parameters)
    steps, grid = launch.programs(BACKWARD_PIXELS, RESIDENT["_to_weight"])
    steps_after, grid_after = launch.programs(BACKWARD_PIXELS, RESIDENT["_to_features"])
    channels, inside = launch.channels, launch.width_inside
    options: dict[str, Any] = {"NORM": launch.has_norm, "num_warps": 4}
    of_pixels: dict[str, Any] = {**launch.of_esa, **options, "N": BACKWARD_PIXELS, "num_stages": 1}

    def sums(rows: int, length: int) -> Tensor:
        return condensed_BHWC.new_empty(rows, length, dtype=torch.float32)

    of_mask = channels * inside + channels + inside * inside + inside
    of_others = sum(parameter.numel() for parameter in parameters) - of_mask
    to_weight, to_statistics = sums(launch.batch * grid[1], 3 * channels), sums(launch.batch, channels)
    to_others, to_mask = sums(launch.batch, of_others), sums(launch.batch * grid_after[1], of_mask)
    to_condensed_BHWC, to_reduced_BHWF, to_context_BHWF = (
        torch.empty_like(each) for each in (condensed_BHWC, reduced_BHWF, context_BHWF)
    )
    flat_L = condensed_BHWC.new_empty(of_others + of_mask, dtype=torch.float32)
    with torch.cuda.device_of(condensed_BHWC):
        _to_weight[grid](
            gradient_BHWC, condensed_BHWC, context_BHWF, launch.expand, launch.expand_bias, statistics,
            launch.scale, to_weight, launch.pixels, steps, eps, **of_pixels,
        )  # fmt: skip
        _to_statistics[(launch.batch,)](
            to_weight, statistics, launch.squeeze, launch.squeeze_bias, launch.excite, to_statistics,
            to_others, grid[1], **launch.of_cca, **options,
        )  # fmt: skip
        _to_features[grid_after](
            gradient_BHWC, condensed_BHWC, reduced_BHWF, context_BHWF, launch.skip, launch.expand,
            launch.expand_bias, statistics, to_statistics, launch.scale, to_condensed_BHWC, to_reduced_BHWF,
            to_context_BHWF, to_mask, launch.pixels, steps_after, eps, **of_pixels,
        )  # fmt: skip
    add_up(to_others, flat_L[:of_others])
    add_up(to_mask, flat_L[of_others:])
    return to_condensed_BHWC, to_reduced_BHWF, to_context_BHWF, flat_L


@_backward.register_fake
def _(
    gradient_BHWC: Tensor, saved: list[Tensor], parameters: list[Tensor], eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    values = sum(parameter.numel() for parameter in parameters)
    features = [torch.empty(each.shape, dtype=each.dtype, device=each.device) for each in saved[:3]]
    return *features, torch.empty(values, dtype=torch.float32, device=gradient_BHWC.device)  # type: ignore[return-value]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    condensed_BHWC, reduced_BHWF, coarse_BhwF, residual_BHWC, parameters, ctx.eps, _ = inputs
    ctx.coarse, ctx.residual = coarse_BhwF.shape[1:3], residual_BHWC.dtype
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(condensed_BHWC, reduced_BHWF, *output[1:], *parameters)


def _differentiate(ctx: Any, gradient_BHWC: Tensor, *_: object) -> tuple[Any, ...]:
    saved, parameters = list(ctx.saved_tensors[:4]), list(ctx.saved_tensors[4:])
    to_condensed_BHWC, to_reduced_BHWF, to_context_BHWF, flat_L = _backward(
        gradient_BHWC, saved, parameters, ctx.eps
    )
    parts = flat_L.split([parameter.numel() for parameter in parameters])
    return (
        to_condensed_BHWC,
        to_reduced_BHWF,
        to_small(to_context_BHWF, *ctx.coarse),
        gradient_BHWC.to(ctx.residual),
        [
            laid_out_as(part, parameter).to(parameter.dtype)
            for part, parameter in zip(parts, parameters, strict=True)
        ],
        None,
        None,
    )


enhance.register_autograd(_differentiate, setup_context=_save)
