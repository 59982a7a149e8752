"""LKFMixer: large kernel feature mixer, of the size that its authors call LKFMixer-B.

Tang & Hu 2025, "LKFMixer: exploring large kernel feature for efficient image super-resolution",
arXiv 2508.11391; as in the authors' released network.

Parameters at x2 / x3 / x4: 357,228 / 363,723 / 372,816.
Verified with the authors' weights: Set5 at x2 and x4.
Shape letters: B batch, C channels, H and W the LR size, s the scale; Hs and Ws the HR size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.padding import pad_to_minimum

KERNEL_SIZE = 31
# A quarter of the channels passes through the large kernels.
PARTS = 4
# The modulation sees the features at 1/8 of their size.
REDUCTION = 8
# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    (r"^conv_first\.", "shallow."),
    (r"^conv\.", "fusion.0."),
    (r"^upsampler\.upsampleOneStep\.0\.", "tail."),
    (r"^layers\.layers\.", "blocks."),
    (r"\.FDB\.c(\d)_d\.", r".distillation.distill.<\1-1>."),
    (r"\.FDB\.c(\d)_r\.", r".distillation.refine.<\1-1>."),
    (r"\.FDB\.c4\.", ".distillation.distill_last."),
    (r"\.FDB\.c5\.", ".distillation.condense."),
    (r"\.SFMB\.DWConv_3\.", ".modulation.context.0."),
    (r"\.SFMB\.conv1_1\.", ".modulation.context.1."),
    (r"\.SFMB\.conv1_2\.", ".modulation.project."),
    (r"\.SFMB\.", ".modulation."),
    (r"\.FSB\.conv1_1\.", ".selection.weigh."),
    (r"\.FSB\.", ".selection."),
    (r"\.PLKB\.conv1\.", ".large.project."),
    (r"\.PLKB\.DWConv_Kx1\.", ".large.vertical."),
    (r"\.PLKB\.DWConv_1xK\.", ".large.horizontal."),
    (r"\.DWConv_?3\.", ".local."),
    (r"\.conv1\.", ".project."),
)


class LKFMixer(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        blocks: number of feature modulation blocks.
        channels: C of the features, a multiple of 4.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, scale: int, blocks: int = 8, channels: int = 48) -> None:
        super().__init__()
        if scale < 1 or blocks < 1:
            raise ValueError(f"scale and blocks must be at least 1, not {scale} and {blocks}")
        if channels < PARTS or channels % PARTS:
            raise ValueError(f"channels must be a multiple of {PARTS}, not {channels}")
        self.scale = scale
        self.shallow = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(FeatureModulation(channels) for _ in range(blocks)))
        self.fusion = nn.Sequential(_depthwise(channels), nn.GELU())
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        self.minimum_size = REDUCTION

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image. Inputs too small for the pooling are padded and cropped back."""
        height, width = x_BCHW.shape[2] * self.scale, x_BCHW.shape[3] * self.scale
        shallow_BCHW = self.shallow(pad_to_minimum(x_BCHW, self.minimum_size))
        features_BCHW = self.fusion(self.blocks(shallow_BCHW)) + shallow_BCHW
        y_BCHW: Tensor = self.shuffle(self.tail(features_BCHW))
        return y_BCHW[:, :, :height, :width]


class FeatureModulation(nn.Module):
    """FMB: distillation, spatial modulation and selection one after the other, the input added.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.distillation = FeatureDistillation(channels)
        self.modulation = SpatialModulation(channels)
        self.selection = FeatureSelection(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the modulated features."""
        out_BCHW: Tensor = self.selection(self.modulation(self.distillation(x_BCHW)))
        return out_BCHW + x_BCHW


class FeatureDistillation(nn.Module):
    """FDB: three feature fusion blocks; half of the channels is distilled before and after each.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        distilled = channels // 2
        self.distill = nn.ModuleList(nn.Conv2d(channels, distilled, 1) for _ in range(3))
        self.refine = nn.ModuleList(FeatureFusion(channels) for _ in range(3))
        self.distill_last = nn.Conv2d(channels, distilled, 1)
        self.condense = nn.Conv2d(4 * distilled, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the distilled features."""
        distilled = []
        for distill, refine in zip(self.distill, self.refine, strict=True):
            distilled.append(F.gelu(distill(x_BCHW)))
            x_BCHW = refine(x_BCHW)
        distilled.append(F.gelu(self.distill_last(x_BCHW)))
        out_BCHW: Tensor = self.condense(torch.cat(distilled, dim=1))
        return out_BCHW


class FeatureFusion(nn.Module):
    """FFB: the sum of local features, of a 3 x 3 convolution, and of those of the large kernels.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.large = PartialLargeKernel(channels)
        self.local = _depthwise(channels)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the fused features."""
        return F.gelu(self.project(self.local(x_BCHW) + self.large(x_BCHW)))


class SpatialModulation(nn.Module):
    """SFMB: to the features of the large kernels, coarse ones weighted by channel are added.

    The coarse ones come from maxima over 8 x 8 pixels, the weights from the means over the whole image.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.large = PartialLargeKernel(channels)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.context = nn.Sequential(_depthwise(channels), nn.Conv2d(channels, channels, 1), nn.GELU())
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the modulated features; H and W must be at least 8."""
        height, width = x_BCHW.shape[2:]
        small_BCHW = self.context(F.adaptive_max_pool2d(x_BCHW, (height // REDUCTION, width // REDUCTION)))
        coarse_BCHW = F.interpolate(small_BCHW, size=(height, width), mode="bilinear", align_corners=False)
        coarse_BCHW = torch.sigmoid(self.mean(x_BCHW)) * coarse_BCHW
        return F.gelu(self.project(self.large(x_BCHW) + coarse_BCHW))


class FeatureSelection(nn.Module):
    """FSB: a weighted mean, at every pixel and channel, of local features and those of the large kernels.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.large = PartialLargeKernel(channels)
        self.local = _depthwise(channels)
        self.weigh = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the selected features."""
        large_BCHW, local_BCHW = self.large(x_BCHW), self.local(x_BCHW)
        weight_BCHW = torch.sigmoid(F.gelu(self.weigh(torch.cat((large_BCHW, local_BCHW), dim=1))))
        out_BCHW: Tensor = large_BCHW * weight_BCHW + local_BCHW * (1 - weight_BCHW)
        return out_BCHW


class PartialLargeKernel(nn.Module):
    """PLKB: depthwise 1 x 31 and 31 x 1 convolutions of a quarter of the channels, then a 1x1 one of all.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        k, c = KERNEL_SIZE, channels // PARTS
        self.split = [c, channels - c]
        self.horizontal = nn.Conv2d(c, c, (1, k), padding=(0, k // 2), groups=c)
        self.vertical = nn.Conv2d(c, c, (k, 1), padding=(k // 2, 0), groups=c)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the non-local features."""
        part_BCHW, rest_BCHW = torch.split(x_BCHW, self.split, dim=1)
        part_BCHW = self.vertical(self.horizontal(part_BCHW))
        return F.gelu(self.project(torch.cat((part_BCHW, rest_BCHW), dim=1)))


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels)


NETWORK = LKFMixer
