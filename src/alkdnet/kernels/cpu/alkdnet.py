"""ALKDNet and BSRN on a CPU, reordered for speed; the numbers are the network's own to about 1e-6.

What costs time in the plain forward pass is less the arithmetic than the memory: every operation reads and
writes feature maps that no cache holds. Here the image goes through in strips of rows that stay in the cache
from one image-wide operation (an attention) to the next: every layer is a generator that pulls strips from
the layer before it and runs one strip behind, since its convolutions need rows of the next strip. A depthwise
convolution and its GELU are one primitive (`fused.py`), 1x1 convolutions are matrix products, and a
concatenation before a 1x1 convolution is a sum of products.

Shape letters: P pixels of a strip (rows times W), C and D channels, H and W the LR size. See `strips.py`.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.kernels.cpu.fused import FusedConv2d, FusedLinear
from alkdnet.kernels.cpu.strips import Grid, best_strip_pixels, moments
from alkdnet.layers.attention import ESA
from alkdnet.layers.convolution import ALKConv, BSConv
from alkdnet.layers.distillation import DistillationBlock
from alkdnet.layers.norm import PixelNorm
from alkdnet.layers.padding import pad_to_minimum
from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.networks.bsrn import BSRN

Kind = TypeVar("Kind", bound=nn.Module)


class FastALKDNet:
    """The forward pass of an ALKDNet or BSRN, for float32 images on a CPU, without gradients.

    The weights are copied when the object is made: later changes of the network have no effect.

    Args:
        model: the network.
        strip_pixels: the length of a strip that is aimed at; None: by the CPU's cache.
    """

    def __init__(self, model: ALKDNet | BSRN, *, strip_pixels: int | None = None) -> None:
        self._model = model
        self._has_fsrl = model.has_fsrl if isinstance(model, BSRN) else True
        self._has_abrl = model.has_abrl if isinstance(model, BSRN) else True
        self._strip_pixels = strip_pixels or best_strip_pixels()
        # The copies of the image see the same values: their weights add up.
        self._shallow = _BSConv(model.shallow, copies=model.shallow.pointwise.in_channels // 3)
        self._blocks = [_Block(block) for block in _all(DistillationBlock, model.blocks)]
        fusion, _, refine = model.fusion
        self._fusion_bias, self._fusion_weights = _affine(fusion, len(self._blocks))
        self._fusion_refine = _refinement(refine)
        self._tail = FusedConv2d(model.tail, "none", pad=(0, 1))
        self._halo = max(1, *(block.halo for block in self._blocks))

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR images as the network does, not clipped."""
        return torch.cat([self._image(x_CHW[None]) for x_CHW in x_BCHW])

    def _image(self, x_1CHW: Tensor) -> Tensor:
        height, width = x_1CHW.shape[2] * self._model.scale, x_1CHW.shape[3] * self._model.scale
        x_1CHW = pad_to_minimum(x_1CHW, self._model.minimum_size)
        grid = Grid(x_1CHW.shape[2], x_1CHW.shape[3], pixels=self._strip_pixels, halo=self._halo)
        shallow = [y_PC for _, y_PC in self._shallow(grid.split(grid.strip(x_1CHW)), grid)]
        sums = _Sums(self._fusion_bias)
        strips: Iterable[Tensor] = shallow
        for block, weight_CC in zip(self._blocks, self._fusion_weights, strict=True):
            strips = sums.summed(block(strips, grid), weight_CC)
        for _ in strips:  # the last layer pulls the strips through all
            pass
        activated = (_gelu_(sum_PC) for sum_PC in _released(sums.strips))
        fused = (y_PC for _, y_PC in self._fusion_refine(activated, grid))
        if self._has_fsrl:
            fused = (y_PC.add_(shallow_PC) for y_PC, shallow_PC in zip(fused, shallow, strict=True))
        return self._upscaled(fused, x_1CHW, grid)[:, :, :height, :width]

    def _upscaled(self, strips: Iterable[Tensor], x_1CHW: Tensor, grid: Grid) -> Tensor:
        """Return tail, anchor-based residual and pixel shuffle, written to their place in one go."""
        s = self._model.scale
        y_1CHW = x_1CHW.new_empty(1, 3, grid.height * s, grid.width * s)
        y_CHsWs = y_1CHW.view(3, grid.height, s, grid.width, s)
        anchor_CH1W1 = x_1CHW[0, :, :, None, :, None]
        for (start, end), (_, window_QC) in zip(grid.rows, grid.windows(strips, 1), strict=True):
            out_HWCss = grid.strip(self._tail(grid.features(window_QC))).view(
                end - start, grid.width, 3, s, s
            )
            out_CHsWs = out_HWCss.permute(2, 0, 3, 1, 4)
            if self._has_abrl:
                torch.add(out_CHsWs, anchor_CH1W1[:, start:end], out=y_CHsWs[:, start:end])
            else:
                y_CHsWs[:, start:end] = out_CHsWs
        return y_1CHW


class _BSConv:
    """Pairs of input strip and BSConv of it."""

    def __init__(self, conv: BSConv, *, copies: int = 1) -> None:
        self.halo = conv.depthwise.kernel_size[0] // 2
        self._weight_CD = torch.stack(_matrices(conv.pointwise, copies)).sum(0)
        self._depthwise = FusedConv2d(conv.depthwise, "none", pad=(0, self.halo))

    def __call__(self, strips: Iterable[Tensor], grid: Grid) -> Iterator[tuple[Tensor, Tensor]]:
        for strip_PC, window_QD in grid.windows(strips, self.halo, self._weight_CD):
            yield strip_PC, grid.strip(self._depthwise(grid.features(window_QD)))


class _ALKConv:
    """Pairs of input strip and ALKConv of it."""

    def __init__(self, conv: ALKConv) -> None:
        self.halo = conv.vertical.kernel_size[0] // 2
        (self._weight_CD,) = _matrices(conv.pointwise, 1)
        self._vertical = FusedConv2d(conv.vertical, "gelu", pad=(0, 0))
        self._horizontal = FusedConv2d(conv.horizontal, "gelu", pad=(0, self.halo))
        self._square = FusedConv2d(conv.square, "gelu", pad=(0, 1))
        self._norm = conv.norm

    def __call__(self, strips: Iterable[Tensor], grid: Grid) -> Iterator[tuple[Tensor, Tensor]]:
        edge, row = self.halo * grid.width, grid.width
        for strip_PC, window_QD in grid.windows(strips, self.halo, self._weight_CD):
            end = len(window_QD) - edge
            sum_PD = grid.strip(self._vertical(grid.features(window_QD)))
            sum_PD += grid.strip(self._horizontal(grid.features(window_QD[edge:end])))
            sum_PD += grid.strip(self._square(grid.features(window_QD[edge - row : end + row])))
            yield strip_PC, _normalised(self._norm, sum_PD)


def _refinement(conv: nn.Module) -> "_ALKConv | _BSConv":
    if isinstance(conv, ALKConv):
        return _ALKConv(conv)
    if isinstance(conv, BSConv):
        return _BSConv(conv)
    raise TypeError(f"no fast path for {type(conv).__name__}")


class _Block:
    """A block: strips to strips. The attentions need all of the input before the first strip comes out."""

    def __init__(self, block: DistillationBlock) -> None:
        self._distill = [FusedLinear(conv, "gelu") for conv in _all(nn.Conv2d, block.distill)]
        self._refine = [_refinement(conv) for conv in block.refine]
        self._distill_last = _refinement(block.distill_last)
        self._condense_bias, self._condense_weights = _affine(block.condense, len(self._distill) + 1)
        self._esa = _ESA(block.esa)
        self._cca = block.cca
        self._norm = block.norm
        self.halo = self._distill_last.halo

    def __call__(self, strips: Iterable[Tensor], grid: Grid) -> Iterator[Tensor]:
        inputs: list[Tensor] = []
        sums = _Sums(self._condense_bias)
        *weights, last_weight_DC = self._condense_weights
        refined = _kept(strips, inputs)
        for distill, refine, weight_DC in zip(self._distill, self._refine, weights, strict=True):
            refined = sums.distilled(refined, distill, weight_DC)
            refined = (_gelu_(y_PC.add_(x_PC)) for x_PC, y_PC in refine(refined, grid))
        last = (_gelu_(y_PD) for _, y_PD in self._distill_last(refined, grid))
        for _ in sums.summed(last, last_weight_DC):
            pass
        enhanced = self._esa(sums.strips, grid)
        std_C, mean_C = moments(enhanced)
        weight_C = self._cca.excite((std_C + mean_C)[None, :, None, None]).flatten()
        for x_PC, y_PC in zip(_released(inputs), _released(enhanced), strict=True):
            y_PC *= weight_C
            yield (_normalised(self._norm, y_PC) if isinstance(self._norm, PixelNorm) else y_PC).add_(x_PC)


class _ESA:
    """Enhanced spatial attention, which multiplies all strips of an image in place."""

    def __init__(self, esa: ESA) -> None:
        self._esa = esa
        self._reduce_bias, (self._reduce_CF,) = _affine(esa.reduce, 1)
        self._skip_bias, (self._skip_FF,) = _affine(esa.skip, 1)
        self._mask = FusedLinear(esa.expand, "sigmoid")

    def __call__(self, strips: list[Tensor], grid: Grid) -> list[Tensor]:
        reduced_PF = strips[0].new_empty(grid.height * grid.width, len(self._reduce_bias))
        for strip_PC, a_PF in zip(strips, grid.split(reduced_PF), strict=True):
            torch.addmm(self._reduce_bias, strip_PC, self._reduce_CF, out=a_PF)
        low_1FHW = self._esa.context(self._esa.pool(self._esa.stride(grid.features(reduced_PF))))
        up_1FHW = F.interpolate(
            low_1FHW, size=(grid.height, grid.width), mode="bilinear", align_corners=False
        )
        for strip_PC, a_PF, up_PF in zip(
            strips, grid.split(reduced_PF), grid.split(grid.strip(up_1FHW)), strict=True
        ):
            context_PF = torch.addmm(self._skip_bias, a_PF, self._skip_FF).add_(up_PF)
            strip_PC *= self._mask(context_PF)
        return strips


class _Sums:
    """The strips of a 1x1 convolution of a concatenation: a sum of products, a summand for each part.

    A strip appears with its first summand, which must run ahead of the others.

    Args:
        bias_C: of the convolution.
    """

    def __init__(self, bias_C: Tensor) -> None:
        self.strips: list[Tensor] = []
        self._bias_C = bias_C

    def summed(self, parts: Iterable[Tensor], weight_DC: Tensor) -> Iterator[Tensor]:
        """Pass the strips PD of a part on; add their products with its weight."""
        for index, part_PD in enumerate(parts):
            self._add(index, part_PD, weight_DC)
            yield part_PD

    def distilled(
        self, strips: Iterable[Tensor], distill: FusedLinear, weight_DC: Tensor
    ) -> Iterator[Tensor]:
        """Pass strips PC on; add the products of what is distilled from them."""
        for index, strip_PC in enumerate(strips):
            self._add(index, distill(strip_PC), weight_DC)
            yield strip_PC

    def _add(self, index: int, part_PD: Tensor, weight_DC: Tensor) -> None:
        if index == len(self.strips):
            self.strips.append(torch.addmm(self._bias_C, part_PD, weight_DC))
        else:
            self.strips[index].addmm_(part_PD, weight_DC)


def _released(strips: list[Tensor]) -> Iterator[Tensor]:
    """Yield strips from the first to the last without holding on to those that were yielded."""
    while strips:
        yield strips.pop(0)


def _kept(strips: Iterable[Tensor], kept: list[Tensor]) -> Iterator[Tensor]:
    for strip_PC in strips:
        kept.append(strip_PC)
        yield strip_PC


def _gelu_(x_PC: Tensor) -> Tensor:
    """Return the exact GELU in place: the tensor is in the cache, a new one is not."""
    y_PC: Tensor = torch.ops.aten.gelu_(x_PC)
    return y_PC


def _normalised(norm: PixelNorm, x_PC: Tensor) -> Tensor:
    return F.layer_norm(x_PC, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _all(kind: type[Kind], modules: Iterable[nn.Module]) -> list[Kind]:
    chosen = [module for module in modules if isinstance(module, kind)]
    if len(chosen) < len(list(modules)):
        raise TypeError(f"no fast path for anything but {kind.__name__} here")
    return chosen


def _affine(conv: nn.Module, parts: int) -> tuple[Tensor, list[Tensor]]:
    """Return bias and matrices of a 1x1 convolution."""
    if not isinstance(conv, nn.Conv2d) or conv.bias is None:
        raise TypeError("no fast path for anything but a 1x1 convolution with bias here")
    return conv.bias.detach().clone(), _matrices(conv, parts)


def _matrices(conv: nn.Conv2d, parts: int) -> list[Tensor]:
    """Return the weight of a 1x1 convolution as matrices CD to multiply from the right, one per part of C."""
    weight_DC = conv.weight.detach()[:, :, 0, 0]
    return [part_DC.t().contiguous() for part_DC in weight_DC.chunk(parts, dim=1)]
