"""LKMN: large kernel modulation network, of the size that its authors call LKMN-T.

Hu et al. 2025, "Large kernel modulation network for efficient image super-resolution", arXiv 2508.11893;
as in the authors' released network.

Parameters at x2 / x3 / x4: 206,004 / 210,879 / 217,704.
Verified with the authors' weights: Set5 at x2 and x4.
Shape letters: B batch, C channels, H and W the LR size, s the scale; Hs and Ws the HR size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.norm import PixelNorm

KERNEL_SIZE = 31
# A quarter of the channels passes through the large kernels.
PARTS = 4
# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    (r"^conv_first\.", "shallow."),
    (r"^conv\.", "fusion.0."),
    (r"^upsampler\.0\.", "tail."),
    (r"^layers\.", "blocks."),
    (r"\.norm1\.", ".distillation_norm."),
    (r"\.norm2\.", ".feed_forward_norm."),
    (r"\.HFDB\.c(\d)_d\.", r".distillation.distill.<\1-1>."),
    (r"\.HFDB\.c(\d)_r\.", r".distillation.refine.<\1-1>."),
    (r"\.HFDB\.c4\.", ".distillation.distill_last."),
    (r"\.HFDB\.c5\.", ".distillation.condense."),
    (r"\.CGFN\.scaler1\.scale$", ".feed_forward.large_scale"),
    (r"\.CGFN\.scaler2\.scale$", ".feed_forward.local_scale"),
    (r"\.CGFN\.", ".feed_forward."),
    (r"\.PLKB\.conv1\.", ".large.project."),
    (r"\.PLKB\.DWConv_Kx1\.", ".large.vertical."),
    (r"\.PLKB\.DWConv_1xK\.", ".large.horizontal."),
    (r"\.DWConv_?3\.", ".local."),
    (r"\.conv1\.", ".project."),
)


class LKMN(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        blocks: number of residual feature modulation groups.
        channels: C of the features, a multiple of 4.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, scale: int, blocks: int = 8, channels: int = 36) -> None:
        super().__init__()
        if scale < 1 or blocks < 1:
            raise ValueError(f"scale and blocks must be at least 1, not {scale} and {blocks}")
        if channels < PARTS or channels % PARTS:
            raise ValueError(f"channels must be a multiple of {PARTS}, not {channels}")
        self.scale = scale
        self.shallow = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualModulation(channels) for _ in range(blocks)))
        self.fusion = nn.Sequential(_depthwise(channels), nn.GELU())
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image."""
        shallow_BCHW = self.shallow(x_BCHW)
        features_BCHW = self.fusion(self.blocks(shallow_BCHW)) + shallow_BCHW
        y_BCHW: Tensor = self.shuffle(self.tail(features_BCHW))
        return y_BCHW


class ResidualModulation(nn.Module):
    """RFMG: distillation and a feed-forward network, each behind a normalisation and with its input added.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.distillation_norm = PixelNorm(channels, eps=1e-6)
        self.distillation = HybridDistillation(channels)
        self.feed_forward_norm = PixelNorm(channels, eps=1e-6)
        self.feed_forward = CrossGate(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the modulated features."""
        x_BCHW = self.distillation(self.distillation_norm(x_BCHW)) + x_BCHW
        out_BCHW: Tensor = self.feed_forward(self.feed_forward_norm(x_BCHW)) + x_BCHW
        return out_BCHW


class HybridDistillation(nn.Module):
    """HFDB: three hybrid aggregation blocks; half of the channels is distilled before and after each.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        distilled = channels // 2
        self.distill = nn.ModuleList(nn.Conv2d(channels, distilled, 1) for _ in range(3))
        self.refine = nn.ModuleList(HybridAggregation(channels) for _ in range(3))
        self.distill_last = nn.Conv2d(channels, distilled, 1)
        self.condense = nn.Conv2d(4 * distilled, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the distilled features."""
        distilled = []
        for distill, refine in zip(self.distill, self.refine, strict=True):
            distilled.append(F.gelu(distill(x_BCHW)))
            x_BCHW = refine(x_BCHW)
        distilled.append(F.gelu(self.distill_last(x_BCHW)))
        return F.gelu(self.condense(torch.cat(distilled, dim=1)))


class HybridAggregation(nn.Module):
    """HFAB: a 1x1 convolution of local features, of a 3 x 3 convolution, and those of the large kernels.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.large = PartialLargeKernel(channels)
        self.local = _depthwise(channels)
        self.project = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the aggregated features."""
        return F.gelu(self.project(torch.cat((self.local(x_BCHW), self.large(x_BCHW)), dim=1)))


class CrossGate(nn.Module):
    """CGFN: local and non-local features, each multiplied by what the other one changed of the input.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.large = PartialLargeKernel(channels)
        self.local = _depthwise(channels)
        self.large_scale = nn.Parameter(torch.full((1, channels, 1, 1), 1e-5))
        self.local_scale = nn.Parameter(torch.full((1, channels, 1, 1), 1e-5))
        self.project = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the gated features."""
        large_BCHW, local_BCHW = self.large(x_BCHW), self.local(x_BCHW)
        gated = (
            large_BCHW * ((x_BCHW - local_BCHW) * self.local_scale),
            local_BCHW * ((x_BCHW - large_BCHW) * self.large_scale),
        )
        return F.gelu(self.project(torch.cat(gated, dim=1)))


class PartialLargeKernel(nn.Module):
    """EPLKB: channel attention and depthwise 1 x 31 and 31 x 1 convolutions of every fourth channel.

    The channels are shuffled, so that these come first; a 1x1 convolution then mixes all.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        k, c = KERNEL_SIZE, channels // PARTS
        self.split = [c, channels - c]
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.horizontal = nn.Conv2d(c, c, (1, k), padding=(0, k // 2), groups=c)
        self.vertical = nn.Conv2d(c, c, (k, 1), padding=(k // 2, 0), groups=c)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the non-local features."""
        shuffled_BCHW = torch.unflatten(x_BCHW, 1, (-1, PARTS)).transpose(1, 2).flatten(1, 2)
        part_BCHW, rest_BCHW = torch.split(shuffled_BCHW, self.split, dim=1)
        part_BCHW = torch.sigmoid(self.mean(part_BCHW)) * part_BCHW
        part_BCHW = self.vertical(self.horizontal(part_BCHW))
        return F.gelu(self.project(torch.cat((part_BCHW, rest_BCHW), dim=1)))


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels)


NETWORK = LKMN
