"""SAFMN: spatially-adaptive feature modulation network.

Sun et al. 2023, "Spatially-adaptive feature modulation for efficient image super-resolution",
doi 10.1109/ICCV51070.2023.01213.

Parameters at x2 / x3 / x4: 227,820 / 232,695 / 239,520.
Verified with a half-precision copy of the authors' weights: Set5 and Set14 at x2.
Shape letters: B batch, C channels, H and W the LR size; Hs and Ws the HR size.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.norm import PixelNorm
from alkdnet.layers.padding import pad_to_minimum

LEVELS = 4
# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    (r"^to_feat\.", "shallow."),
    (r"^to_img\.0\.", "tail."),
    (r"^feats\.(\d+)\.norm1\.", r"blocks.\1.spatial.0."),
    (r"^feats\.(\d+)\.safm\.mfr\.", r"blocks.\1.spatial.1.depthwise."),
    (r"^feats\.(\d+)\.safm\.aggr\.", r"blocks.\1.spatial.1.aggregate."),
    (r"^feats\.(\d+)\.norm2\.", r"blocks.\1.channel.0."),
    (r"^feats\.(\d+)\.ccm\.ccm\.0\.", r"blocks.\1.channel.1."),
    (r"^feats\.(\d+)\.ccm\.ccm\.2\.", r"blocks.\1.channel.3."),
)
# The authors' layers of a block in the order of the forward pass.
LAYERS = (
    "norm1",
    *(f"safm.mfr.{level}" for level in range(LEVELS)),
    "safm.aggr",
    "norm2",
    "ccm.ccm.0",
    "ccm.ccm.2",
)


def arrange_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an ncnn file's tensors by the authors' names; ncnn only numbers layers in their order.

    Raises:
        ValueError: the file has not the layers of a whole number of blocks.
    """
    if not next(iter(tensors)).startswith("conv_"):
        return dict(tensors)
    blocks = (len(tensors) - 4) // (2 * len(LAYERS))
    of_blocks = (f"feats.{block}.{layer}" for block in range(blocks) for layer in LAYERS)
    layers = ("to_feat", *of_blocks, "to_img.0")
    names = [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
    return dict(zip(names, tensors.values(), strict=True))


class SAFMN(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        blocks: number of feature mixing modules.
        channels: C of the features, a multiple of 4: one group for each level of SAFM.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, scale: int, blocks: int = 8, channels: int = 36) -> None:
        super().__init__()
        if scale < 1 or blocks < 1:
            raise ValueError(f"scale and blocks must be at least 1, not {scale} and {blocks}")
        if channels < LEVELS or channels % LEVELS:
            raise ValueError(f"channels must be a multiple of {LEVELS}, not {channels}")
        self.scale = scale
        self.shallow = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(MixingModule(channels) for _ in range(blocks)))
        self.fusion = nn.Identity()
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        self.minimum_size = 2 ** (LEVELS - 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image. Inputs too small for the pooling are padded and cropped back."""
        height, width = x_BCHW.shape[2] * self.scale, x_BCHW.shape[3] * self.scale
        shallow_BCHW = self.shallow(pad_to_minimum(x_BCHW, self.minimum_size))
        features_BCHW = self.fusion(self.blocks(shallow_BCHW)) + shallow_BCHW
        y_BCHW: Tensor = self.shuffle(self.tail(features_BCHW))
        return y_BCHW[:, :, :height, :width]


class MixingModule(nn.Module):
    """SAFM and a convolutional channel mixer, each behind a normalisation and with its input added.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(PixelNorm(channels, eps=1e-6), SAFM(channels))
        self.channel = nn.Sequential(
            PixelNorm(channels, eps=1e-6),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * channels, channels, 1),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the mixed features."""
        x_BCHW = self.spatial(x_BCHW) + x_BCHW
        out_BCHW: Tensor = self.channel(x_BCHW) + x_BCHW
        return out_BCHW


class SAFM(nn.Module):
    """Spatially-adaptive feature modulation: four groups of channels seen at 1, 1/2, 1/4 and 1/8 of the size.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        group = channels // LEVELS
        self.depthwise = nn.ModuleList(
            nn.Conv2d(group, group, 3, padding=1, groups=group) for _ in range(LEVELS)
        )
        self.aggregate = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the input times its modulation; H and W must be at least 8."""
        height, width = x_BCHW.shape[2:]
        modulation = []
        for level, (convolution, part_BCHW) in enumerate(
            zip(self.depthwise, x_BCHW.chunk(LEVELS, dim=1), strict=True)
        ):
            if level == 0:
                modulation.append(convolution(part_BCHW))
                continue
            small_BCHW = F.adaptive_max_pool2d(part_BCHW, (height // 2**level, width // 2**level))
            modulation.append(F.interpolate(convolution(small_BCHW), size=(height, width), mode="nearest"))
        return x_BCHW * F.gelu(self.aggregate(torch.cat(modulation, dim=1)))


NETWORK = SAFMN
