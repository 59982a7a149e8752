"""FMEN: fast and memory-efficient network, in the plain form that its training form merges to.

Du et al. 2022, "Fast and memory-efficient network towards efficient image super-resolution",
doi 10.1109/CVPRW56347.2022.00101.

The authors' code has the small FMEN-S only. The defaults here are the most natural of the configurations that
fit the published counts of FMEN (748K, 757K, 769K; inferred by counting).
Not verified at the published size: no weights of it are public. FMEN-S is verified with the authors' weights:
Set5 and Set14 at x4.

Parameters at x2 / x3 / x4: 748,656 / 757,311 / 769,428. FMEN-S (channels 50, attention_channels 16,
attention_blocks 1, first_attention_blocks 2): 324,830 / 331,595 / 341,066.
Shape letters: B batch, C channels, H and W the LR size; Hs and Ws the HR size.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1
# The first attention is narrower than the others by this many channels.
NARROWER = 4
# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    (r"^head\.", "shallow."),
    (r"^ERBs\.(\d+)\.", r"blocks.\1.0."),
    (r"^HFABs\.(\d+)\.", r"blocks.\1.1."),
    (r"\.convs\.", ".blocks."),
    (r"\.conv1\.rep_conv\.", ".0."),
    (r"\.conv2\.rep_conv\.", ".2."),
    (r"\.excitate\.", ".excite."),
    (r"^lr_conv\.", "fusion."),
    (r"^tail\.0\.", "tail."),
)
# The authors' network takes and gives 0 to 255.
FACTORS = {"head.weight": 255.0, "tail.0.weight": 1 / 255, "tail.0.bias": 1 / 255}


def arrange_released(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the authors' weights for a network that takes and gives 0 to 1."""
    return {name: tensor * FACTORS.get(name, 1) for name, tensor in tensors.items()}


class FMEN(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        blocks: number of pairs of a residual block and an attention.
        channels: C of the features.
        attention_channels: inside the attentions, at least 5.
        attention_blocks: residual blocks inside every attention but the first.
        first_attention_blocks: residual blocks inside the first attention.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        scale: int,
        blocks: int = 4,
        channels: int = 64,
        attention_channels: int = 32,
        attention_blocks: int = 2,
        first_attention_blocks: int = 3,
    ) -> None:
        super().__init__()
        if min(scale, blocks, channels) < 1:
            raise ValueError(f"scale {scale}, blocks {blocks} and channels {channels} must be at least 1")
        if attention_channels <= NARROWER or min(attention_blocks, first_attention_blocks) < 0:
            raise ValueError(f"attention_channels must be above {NARROWER}, numbers of blocks at least 0")
        self.scale = scale
        self.shallow = nn.Conv2d(3, channels, 3, padding=1)
        self.warmup = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            HFAB(channels, attention_channels - NARROWER, first_attention_blocks),
        )
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(_erb(channels), HFAB(channels, attention_channels, attention_blocks))
                for _ in range(blocks)
            )
        )
        self.fusion = nn.Conv2d(channels, channels, 3, padding=1)
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image."""
        shallow_BCHW = self.shallow(x_BCHW)
        features_BCHW = self.fusion(self.blocks(self.warmup(shallow_BCHW))) + shallow_BCHW
        y_BCHW: Tensor = self.shuffle(self.tail(features_BCHW))
        return y_BCHW


class HFAB(nn.Module):
    """High-frequency attention block: a mask per pixel and channel from a narrow stack of convolutions.

    Args:
        channels: C of input and output.
        width: channels of the stack.
        blocks: residual blocks in the stack.
    """

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(_erb(width) for _ in range(blocks)))
        self.excite = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the input times its mask."""
        narrow_BCHW = self.blocks(F.leaky_relu(self.squeeze(x_BCHW), SLOPE))
        mask_BCHW = torch.sigmoid(self.excite(F.leaky_relu(narrow_BCHW, SLOPE)))
        return x_BCHW * mask_BCHW


def _erb(channels: int) -> nn.Sequential:
    """Enhanced residual block; its two additions are merged into the convolutions' weights."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(channels, channels, 3, padding=1),
    )


NETWORK = FMEN
