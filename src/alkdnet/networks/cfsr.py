"""CFSR: ConvFormer-based network, in the form that its edge-preserving training branches merge to.

Wu et al. 2024, "Transforming image super-resolution: a ConvFormer-based efficient approach",
doi 10.1109/TIP.2024.3477350.

Parameters at x2 / x3 / x4: 291,324 / 297,819 / 306,912.
Verified with the authors' weights: Set5 and Set14 at x2 and x4.
Shape letters: B batch, C channels, H and W the LR size; Hs and Ws the HR size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.norm import PixelNorm

# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    (r"^conv_first\.", "shallow."),
    (r"^norm\.", "fusion.0."),
    (r"^conv_after_body\.", "fusion.1."),
    (r"^upsample\.0\.", "tail."),
    (r"^layers\.(\d+)\.conv\.", r"blocks.\1.convolution."),
    (r"^layers\.", "blocks."),
    (r"\.layer_scale_1$", ".modulation_scale"),
    (r"\.layer_scale_2$", ".feed_forward_scale"),
    (r"\.attn\.a\.2\.lkb_reparam\.", ".modulation.context.2."),
    (r"\.attn\.a\.0\.", ".modulation.context.0."),
    (r"\.attn\.v\.", ".modulation.value."),
    (r"\.attn\.proj\.", ".modulation.project."),
    (r"\.attn\.norm\.", ".modulation.norm."),
    (r"\.mlp\.fc1\.", ".feed_forward.expand."),
    (r"\.mlp\.pos\.", ".feed_forward.depthwise."),
    (r"\.mlp\.fc2\.", ".feed_forward.reduce."),
    (r"\.mlp\.norm\.", ".feed_forward.norm."),
)
# Mean colour of DIV2K in [0, 1], taken from the input and added to the output.
MEAN = (0.4488, 0.4371, 0.4040)


class CFSR(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        layers: number of residual groups.
        blocks: number of ConvFormer blocks in a group.
        channels: C of the features.

    Raises:
        ValueError: an argument is out of its range.
    """

    mean: Tensor

    def __init__(self, *, scale: int, layers: int = 2, blocks: int = 6, channels: int = 48) -> None:
        super().__init__()
        if min(scale, layers, blocks, channels) < 1:
            raise ValueError("scale, layers, blocks and channels must be at least 1")
        self.scale = scale
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.shallow = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualGroup(channels, blocks) for _ in range(layers)))
        self.fusion = nn.Sequential(
            PixelNorm(channels, eps=1e-6), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image."""
        shallow_BCHW = self.shallow(x_BCHW - self.mean)
        features_BCHW = self.fusion(self.blocks(shallow_BCHW)) + shallow_BCHW
        y_BCHW: Tensor = self.shuffle(self.tail(features_BCHW))
        return y_BCHW + self.mean


class ResidualGroup(nn.Module):
    """ConvFormer blocks, then a 1x1 convolution with its own input, the blocks' output, added.

    Args:
        channels: C of input and output.
        blocks: number of blocks.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ConvFormer(channels) for _ in range(blocks)))
        self.convolution = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the refined features."""
        refined_BCHW = self.blocks(x_BCHW)
        out_BCHW: Tensor = self.convolution(refined_BCHW) + refined_BCHW
        return out_BCHW


class ConvFormer(nn.Module):
    """Large-kernel modulation and a feed-forward network, each scaled per channel and added to its input.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.modulation = Modulation(channels)
        self.feed_forward = FeedForward(channels)
        self.modulation_scale = nn.Parameter(torch.full((channels,), 1e-6))
        self.feed_forward_scale = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the refined features."""
        x_BCHW = x_BCHW + self.modulation_scale[:, None, None] * self.modulation(x_BCHW)
        out_BCHW: Tensor = x_BCHW + self.feed_forward_scale[:, None, None] * self.feed_forward(x_BCHW)
        return out_BCHW


class Modulation(nn.Module):
    """Values times the context that a depthwise 9 x 9 convolution gathers.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = PixelNorm(channels, eps=1e-6)
        self.context = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 9, padding=4, groups=channels),
        )
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the modulated features."""
        x_BCHW = self.norm(x_BCHW)
        out_BCHW: Tensor = self.project(self.context(x_BCHW) * self.value(x_BCHW))
        return out_BCHW


class FeedForward(nn.Module):
    """Two 1x1 convolutions with a depthwise 3 x 3 convolution between them.

    Args:
        channels: C of input and output; the inside has 2 C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = PixelNorm(channels, eps=1e-6)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.reduce = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the transformed features."""
        y_BCHW = F.gelu(self.expand(self.norm(x_BCHW)))
        y_BCHW = y_BCHW + F.gelu(self.depthwise(y_BCHW))
        out_BCHW: Tensor = self.reduce(y_BCHW)
        return out_BCHW


NETWORK = CFSR
