"""The distillation block that ALKDNet and BSRN share.

Shape letters: B batch, C channels, H height, W width of the LR grid.
Features are floating-point tensors without a fixed range.
"""

from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.attention import CCA, CCA_RELEASED_NAMES, ESA, ESA_RELEASED_NAMES
from alkdnet.layers.norm import PixelNorm

# The authors' names in a block and its convolutions.
BLOCK_RELEASED_NAMES = (
    (r"\.c(\d)_d\.", r".distill.<\1-1>."),
    (r"\.c(\d)_r\.", r".refine.<\1-1>."),
    (r"\.c4\.", ".distill_last."),
    (r"\.c5\.", ".condense."),
    *ESA_RELEASED_NAMES,
    *CCA_RELEASED_NAMES,
    (r"\.pixel_norm\.", ".norm."),
    (r"\.pw\.", ".pointwise."),
    (r"\.dw\.", ".depthwise."),
    (r"\.LoRA1\.", ".vertical."),
    (r"\.LoRA2\.", ".horizontal."),
    (r"\.small_conv\.", ".square."),
    (r"^B(\d+)\.", r"blocks.<\1-1>."),
)


class MakeConvolution(Protocol):
    """Makes a convolution that keeps H and W."""

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """Return the convolution with new weights."""


class DistillationBlock(nn.Module):
    """Figure 3, Equations 7 to 10: with ALKConvs the paper's ALKDB, with BSConvs BSRN's ESDB.

    Args:
        channels: C of input and output, a multiple of 4. C/2 are distilled; ESA works on C/4.
        convolution: makes the refinement layers.
        block_norm: pixel normalisation before the block's residual addition.
        esa_padding: zeros around ESA's strided convolution: 1 in ALKDNet, 0 in BSRN.
    """

    def __init__(
        self,
        *,
        channels: int,
        convolution: MakeConvolution,
        block_norm: bool,
        esa_padding: Literal[0, 1],
    ) -> None:
        super().__init__()
        distilled = channels // 2
        self.distill = nn.ModuleList(nn.Conv2d(channels, distilled, 1) for _ in range(3))
        self.refine = nn.ModuleList(convolution(channels, channels) for _ in range(3))
        self.distill_last = convolution(channels, distilled)
        self.condense = nn.Conv2d(4 * distilled, channels, 1)
        self.esa = ESA(channels, channels // 4, padding=esa_padding)
        self.cca = CCA(channels)
        self.norm = PixelNorm(channels, eps=1e-5) if block_norm else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the refined features; H and W must be at least ESA's `minimum_size`."""
        return self.enhance(self.distil(x_BCHW), x_BCHW)

    def distil(self, x_BCHW: Tensor) -> Tensor:
        """Return the condensed features, before the attention."""
        refined_BCHW = x_BCHW
        distilled = []
        for distill, refine in zip(self.distill, self.refine, strict=True):  # Equation 7
            distilled.append(F.gelu(distill(refined_BCHW)))
            refined_BCHW = F.gelu(refine(refined_BCHW) + refined_BCHW)
        distilled.append(F.gelu(self.distill_last(refined_BCHW)))
        condensed_BCHW: Tensor = self.condense(torch.cat(distilled, dim=1))  # Equation 8
        return condensed_BCHW

    def enhance(self, condensed_BCHW: Tensor, x_BCHW: Tensor) -> Tensor:
        """Return the condensed features after attention and normalisation, plus the block's input."""
        enhanced_BCHW: Tensor = self.norm(self.cca(self.esa(condensed_BCHW)))  # Equation 9
        return enhanced_BCHW + x_BCHW  # Equation 10


def check_size(*, scale: int, blocks: int, channels: int) -> None:
    """Raise ValueError unless a network of such blocks can have this size."""
    for name, value in (("scale", scale), ("blocks", blocks)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    if channels < 4 or channels % 4:
        raise ValueError(f"channels must be a multiple of 4, not {channels}")
