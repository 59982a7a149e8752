"""ALKDNet: asymmetric large kernel distillation network, with BSRN and every ablation as options.

Qu & Ke 2024, "Asymmetric Large Kernel Distillation Network for efficient single image super-resolution",
doi 10.3389/fnins.2024.1502499; details that the text leaves open as in the authors' released network.

Parameters at x2 / x3 / x4: ALKDNet 372,716 / 381,371 / 393,488; BSRN 331,628 / 340,283 / 352,400.
Shape letters: B batch, C channels, H and W the LR size, s the scale; Hs and Ws the HR size.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.attention import CCA, ESA
from alkdnet.layers.convolution import ALKConv, BSConv
from alkdnet.layers.norm import PixelNorm
from alkdnet.layers.padding import pad_to_minimum

Convolution = Literal["alkconv", "bsconv"]
Residual = Literal["fsrl", "abrl", "both"]
KERNEL_SIZE = 9


class ALKDNet(nn.Module):
    """The network of Figure 1: float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    BSRN (Li et al. 2022) is convolution "bsconv", fusion "bsconv", residual "fsrl", block_norm False and
    esa_padding 0.

    Args:
        scale: s, 1 or more.
        blocks: n, number of distillation blocks.
        channels: C of the features, a multiple of 4. A block distils C/2 channels; ESA works on C/4.
        kernel_size: k of the ALKConvs in the blocks, odd, at least 3. A BSConv is always 3 x 3: with
            convolution "bsconv" any other value than the default is an error, for it would change nothing.
        convolution: kind of convolution in the blocks.
        fusion: kind of the 3 x 3 convolution after the blocks (an ALKConv of k = 3, or a BSConv).
        residual: feature space (FSRL) and anchor-based (ABRL) residual learning, or both.
        block_norm: pixel normalisation at the end of every block.
        esa_padding: zeros around ESA's strided convolution: 1 in ALKDNet, 0 in BSRN.
        input_copies: m of Equation 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        scale: int,
        blocks: int = 8,
        channels: int = 64,
        kernel_size: int = KERNEL_SIZE,
        convolution: Convolution = "alkconv",
        fusion: Convolution = "alkconv",
        residual: Residual = "both",
        block_norm: bool = True,
        esa_padding: Literal[0, 1] = 1,
        input_copies: int = 4,
    ) -> None:
        super().__init__()
        for name, value in (("scale", scale), ("blocks", blocks), ("input_copies", input_copies)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if channels < 4 or channels % 4:
            raise ValueError(f"channels must be a multiple of 4, not {channels}")
        if convolution == "bsconv" and kernel_size != KERNEL_SIZE:
            raise ValueError(
                f"kernel_size {kernel_size} has no effect with convolution bsconv (3 x 3): leave it out"
            )
        self.scale = scale
        self.input_copies = input_copies
        self.has_fsrl = residual in ("fsrl", "both")
        self.has_abrl = residual in ("abrl", "both")
        self.shallow = BSConv(3 * input_copies, channels)
        self.blocks = nn.ModuleList(
            ALKDB(channels, convolution, kernel_size, block_norm=block_norm, esa_padding=esa_padding)
            for _ in range(blocks)
        )
        self.fusion = nn.Sequential(
            nn.Conv2d(blocks * channels, channels, 1), nn.GELU(), _convolution(fusion, channels, channels, 3)
        )
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        self.minimum_size = 15 - 2 * esa_padding

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image. Inputs smaller than ESA needs are padded by replication and cropped back."""
        height, width = x_BCHW.shape[2] * self.scale, x_BCHW.shape[3] * self.scale
        x_BCHW = pad_to_minimum(x_BCHW, self.minimum_size)

        shallow_BCHW = self.shallow(x_BCHW.repeat(1, self.input_copies, 1, 1))  # Equations 1 and 2
        features_BCHW = shallow_BCHW
        outputs = []
        for block in self.blocks:  # Equation 3
            features_BCHW = block(features_BCHW)
            outputs.append(features_BCHW)
        features_BCHW = self.fusion(torch.cat(outputs, dim=1))  # Equation 4
        if self.has_fsrl:
            features_BCHW = features_BCHW + shallow_BCHW
        out_BCHW = self.tail(features_BCHW)
        if self.has_abrl:
            # Channel order r r .. g g .. b b ..: the shuffle makes a square of each colour's s^2 copies.
            out_BCHW = out_BCHW + x_BCHW.repeat_interleave(self.scale**2, dim=1)
        y_BCHW: Tensor = self.shuffle(out_BCHW)  # Equation 5
        return y_BCHW[:, :, :height, :width]


class ALKDB(nn.Module):
    """Asymmetric large kernel distillation block (Figure 3, Equations 7 to 10); with BSConvs BSRN's ESDB.

    Args:
        channels: C of input and output.
        convolution: kind of the refinement layers.
        kernel_size: of ALKConv.
        block_norm: pixel normalisation before the block's residual addition.
        esa_padding: see ESA.
    """

    def __init__(
        self,
        channels: int,
        convolution: Convolution,
        kernel_size: int,
        *,
        block_norm: bool,
        esa_padding: Literal[0, 1],
    ) -> None:
        super().__init__()
        distilled = channels // 2
        self.distill = nn.ModuleList(nn.Conv2d(channels, distilled, 1) for _ in range(3))
        self.refine = nn.ModuleList(
            _convolution(convolution, channels, channels, kernel_size) for _ in range(3)
        )
        self.distill_last = _convolution(convolution, channels, distilled, kernel_size)
        self.condense = nn.Conv2d(4 * distilled, channels, 1)
        self.esa = ESA(channels, channels // 4, padding=esa_padding)
        self.cca = CCA(channels)
        self.norm = PixelNorm(channels, eps=1e-5) if block_norm else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the refined features."""
        refined_BCHW = x_BCHW
        distilled = []
        for distill, refine in zip(self.distill, self.refine, strict=True):  # Equation 7
            distilled.append(F.gelu(distill(refined_BCHW)))
            refined_BCHW = F.gelu(refine(refined_BCHW) + refined_BCHW)
        distilled.append(F.gelu(self.distill_last(refined_BCHW)))
        condensed_BCHW = self.condense(torch.cat(distilled, dim=1))  # Equation 8
        enhanced_BCHW: Tensor = self.norm(self.cca(self.esa(condensed_BCHW)))  # Equation 9
        return enhanced_BCHW + x_BCHW  # Equation 10


def _convolution(kind: Convolution, in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
    if kind == "alkconv":
        return ALKConv(in_channels, out_channels, kernel_size=kernel_size)
    return BSConv(in_channels, out_channels)


NETWORK = ALKDNet
