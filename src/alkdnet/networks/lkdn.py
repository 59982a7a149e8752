"""LKDN: large kernel distillation network, in the form that its re-parameterised convolutions merge to.

Xie et al. 2023, "Large kernel distillation network for efficient single image super-resolution",
CVPR workshops 2023, arXiv 2407.14340; as in the authors' released network.
It is BSRN (bsrn.py) with large kernel attention in place of BSRN's two attentions, and without the skip
connections around the refinement: BSRN's successor, trained on the same data as ALKDNet.

Parameters at x2 / x3 / x4: 303,812 / 311,387 / 321,992.
Verified with the authors' weights: Set5 at x2 and x4.
Shape letters: B batch, C channels, H and W the LR size, s the scale; Hs and Ws the HR size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.convolution import BSConv
from alkdnet.layers.distillation import BLOCK_RELEASED_NAMES
from alkdnet.layers.norm import PixelNorm

INPUT_COPIES = 4
# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    *BLOCK_RELEASED_NAMES,
    (r"^fea_conv\.", "shallow."),
    (r"^c1\.", "fusion.0."),
    (r"^c2\.", "fusion.2."),
    (r"^upsampler\.0\.", "tail."),
    (r"\.atten\.depthwise_dilated\.", ".attention.dilated."),
    (r"\.atten\.", ".attention."),
    (r"\.c6\.", ".project."),
)


class LKDN(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        blocks: number of distillation blocks.
        channels: C of the features, even.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, scale: int, blocks: int = 8, channels: int = 56) -> None:
        super().__init__()
        if scale < 1 or blocks < 1:
            raise ValueError(f"scale and blocks must be at least 1, not {scale} and {blocks}")
        if channels < 2 or channels % 2:
            raise ValueError(f"channels must be a multiple of 2, not {channels}")
        self.scale = scale
        self.shallow = BSConv(3 * INPUT_COPIES, channels)
        self.blocks = nn.ModuleList(LargeKernelDistillation(channels) for _ in range(blocks))
        self.fusion = nn.Sequential(
            nn.Conv2d(blocks * channels, channels, 1), nn.GELU(), BSConv(channels, channels)
        )
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image."""
        shallow_BCHW = self.shallow(x_BCHW.repeat(1, INPUT_COPIES, 1, 1))
        features_BCHW = shallow_BCHW
        outputs = []
        for block in self.blocks:
            features_BCHW = block(features_BCHW)
            outputs.append(features_BCHW)
        features_BCHW = self.fusion(torch.cat(outputs, dim=1)) + shallow_BCHW
        y_BCHW: Tensor = self.shuffle(self.tail(features_BCHW))
        return y_BCHW


class LargeKernelDistillation(nn.Module):
    """LKDB: four distillation steps, large kernel attention, and pixel normalisation.

    Args:
        channels: C of input and output; every step distils C/2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        distilled = channels // 2
        self.distill = nn.ModuleList(nn.Conv2d(channels, distilled, 1) for _ in range(3))
        self.refine = nn.ModuleList(BSConv(channels, channels) for _ in range(3))
        self.distill_last = BSConv(channels, distilled)
        self.condense = nn.Conv2d(4 * distilled, channels, 1)
        self.attention = LargeKernelAttention(channels)
        self.project = nn.Conv2d(channels, channels, 1)
        self.norm = PixelNorm(channels, eps=1e-5)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the refined features."""
        refined_BCHW = x_BCHW
        distilled = []
        for distill, refine in zip(self.distill, self.refine, strict=True):
            distilled.append(F.gelu(distill(refined_BCHW)))
            refined_BCHW = F.gelu(refine(refined_BCHW))
        distilled.append(F.gelu(self.distill_last(refined_BCHW)))
        condensed_BCHW = self.condense(torch.cat(distilled, dim=1))
        out_BCHW: Tensor = self.norm(self.project(self.attention(condensed_BCHW)))
        return out_BCHW + x_BCHW


class LargeKernelAttention(nn.Module):
    """The input times a mask that sees 17 x 17 pixels: depthwise 5 x 5, then 5 x 5 with a dilation of 3.

    Args:
        channels: C of input and output.

    Source: Guo et al. 2023 (VAN), with the 1x1 convolution first.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.dilated = nn.Conv2d(channels, channels, 5, padding=6, dilation=3, groups=channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the attended features."""
        out_BCHW: Tensor = x_BCHW * self.dilated(self.depthwise(self.pointwise(x_BCHW)))
        return out_BCHW


NETWORK = LKDN
