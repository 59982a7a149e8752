"""RFDN: residual feature distillation network.

Liu et al. 2020, "Residual feature distillation network for lightweight image super-resolution",
doi 10.1007/978-3-030-67070-2_2.

The published parameter counts (534K, 541K, 550K) fit six blocks of 48 channels whose attention is one over
channels (inferred by counting); the authors' code has ESA there. Both are offered.
Not verified at the published size: no weights of it are public. E-RFDN is verified with the authors' weights:
Set5 and Set14 at x4.

Parameters at x2 / x3 / x4: 534,036 / 540,531 / 549,624; with ESA 566,364 / 572,859 / 581,952; with ESA, 4
blocks and 50 channels (the authors' E-RFDN of the AIM 2020 challenge) 417,212 / 423,977 / 433,448.
Shape letters: B batch, C channels, H and W the LR size; Hs and Ws the HR size.
"""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.attention import ESA, ESA_RELEASED_NAMES
from alkdnet.layers.padding import pad_to_minimum

SLOPE = 0.05
# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    *ESA_RELEASED_NAMES,
    (r"\.esa\.", ".attention."),
    (r"\.c(\d)_d\.", r".distill.<\1-1>."),
    (r"\.c(\d)_r\.", r".refine.<\1-1>."),
    (r"\.c4\.", ".distill_last."),
    (r"\.c5\.", ".condense."),
    (r"^B(\d+)\.", r"blocks.<\1-1>."),
    (r"^fea_conv\.", "shallow."),
    (r"^c\.0\.", "fusion.0."),
    (r"^LR_conv\.", "fusion.2."),
    (r"^upsampler\.0\.", "tail."),
)
# The authors' network takes and gives 0 to 255.
FACTORS = {"fea_conv.weight": 255.0, "upsampler.0.weight": 1 / 255, "upsampler.0.bias": 1 / 255}


def arrange_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the authors' weights for a network that takes and gives 0 to 1."""
    return {name: tensor * FACTORS.get(name, 1) for name, tensor in tensors.items()}


class RFDN(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        blocks: number of distillation blocks.
        channels: C of the features, even and at least 4.
        attention: at the end of a block: over channels, or ESA.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        scale: int,
        blocks: int = 6,
        channels: int = 48,
        attention: Literal["channel", "esa"] = "channel",
    ) -> None:
        super().__init__()
        if scale < 1 or blocks < 1:
            raise ValueError(f"scale and blocks must be at least 1, not {scale} and {blocks}")
        if channels < 4 or channels % 2:
            raise ValueError(f"channels must be even and at least 4, not {channels}")
        self.scale = scale
        self.shallow = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(RFDB(channels, attention) for _ in range(blocks))
        self.fusion = nn.Sequential(
            nn.Conv2d(blocks * channels, channels, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        self.minimum_size = 15 if attention == "esa" else 1

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image. Inputs smaller than ESA needs are padded by replication and cropped back."""
        height, width = x_BCHW.shape[2] * self.scale, x_BCHW.shape[3] * self.scale
        shallow_BCHW = self.shallow(pad_to_minimum(x_BCHW, self.minimum_size))
        features_BCHW = shallow_BCHW
        outputs = []
        for block in self.blocks:
            features_BCHW = block(features_BCHW)
            outputs.append(features_BCHW)
        features_BCHW = self.fusion(torch.cat(outputs, dim=1)) + shallow_BCHW
        y_BCHW: Tensor = self.shuffle(self.tail(features_BCHW))
        return y_BCHW[:, :, :height, :width]


class RFDB(nn.Module):
    """Residual feature distillation block; nothing is added around it.

    Args:
        channels: C of input and output.
        attention: see RFDN.
    """

    def __init__(self, channels: int, attention: Literal["channel", "esa"]) -> None:
        super().__init__()
        distilled = channels // 2
        self.distill = nn.ModuleList(nn.Conv2d(channels, distilled, 1) for _ in range(3))
        self.refine = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))
        self.distill_last = nn.Conv2d(channels, distilled, 3, padding=1)
        self.condense = nn.Conv2d(4 * distilled, channels, 1)
        self.attention: nn.Module = (
            ESA(channels, channels // 4, padding=0, separable=False)
            if attention == "esa"
            else ChannelAttention(channels, channels // 4)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the refined features."""
        distilled = []
        for distill, refine in zip(self.distill, self.refine, strict=True):
            distilled.append(F.leaky_relu(distill(x_BCHW), SLOPE))
            x_BCHW = F.leaky_relu(refine(x_BCHW) + x_BCHW, SLOPE)
        distilled.append(F.leaky_relu(self.distill_last(x_BCHW), SLOPE))
        out_BCHW: Tensor = self.attention(self.condense(torch.cat(distilled, dim=1)))
        return out_BCHW


class ChannelAttention(nn.Module):
    """A weight per channel from the channels' means.

    Args:
        channels: C of input and output.
        width: of the hidden layer.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.excite = nn.Sequential(
            nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1), nn.Sigmoid()
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the input times its weight per channel."""
        out_BCHW: Tensor = x_BCHW * self.excite(self.pool(x_BCHW))
        return out_BCHW


NETWORK = RFDN
