"""IMDN: information multi-distillation network.

Hui et al. 2019, "Lightweight image super-resolution with information multi-distillation network",
doi 10.1145/3343031.3351084; as in the authors' released network.

Parameters at x2 / x3 / x4: 694,404 / 703,059 / 715,176.
Verified with the authors' weights: Set5 and Set14 at x2, x3 and x4.
Shape letters: B batch, C channels, H and W the LR size; Hs and Ws the HR size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.attention import CCA, CCA_RELEASED_NAMES

SLOPE = 0.05
# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    *CCA_RELEASED_NAMES,
    (r"^fea_conv\.", "shallow."),
    (r"^c\.0\.", "fusion.0."),
    (r"^LR_conv\.", "fusion.2."),
    (r"^upsampler\.0\.", "tail."),
    (r"\.c([123])\.", r".refine.<\1-1>."),
    (r"\.c4\.", ".refine_last."),
    (r"\.c5\.", ".condense."),
    (r"^IMDB(\d+)\.", r"blocks.<\1-1>."),
)


class IMDN(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        blocks: number of multi-distillation blocks.
        channels: C of the features, a multiple of 4; every distillation step keeps C/4 of them.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, scale: int, blocks: int = 6, channels: int = 64) -> None:
        super().__init__()
        if scale < 1 or blocks < 1:
            raise ValueError(f"scale and blocks must be at least 1, not {scale} and {blocks}")
        if channels < 4 or channels % 4:
            raise ValueError(f"channels must be a multiple of 4, not {channels}")
        self.scale = scale
        self.shallow = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(IMDB(channels) for _ in range(blocks))
        self.fusion = nn.Sequential(
            nn.Conv2d(blocks * channels, channels, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image."""
        shallow_BCHW = self.shallow(x_BCHW)
        features_BCHW = shallow_BCHW
        outputs = []
        for block in self.blocks:
            features_BCHW = block(features_BCHW)
            outputs.append(features_BCHW)
        features_BCHW = self.fusion(torch.cat(outputs, dim=1)) + shallow_BCHW
        y_BCHW: Tensor = self.shuffle(self.tail(features_BCHW))
        return y_BCHW


class IMDB(nn.Module):
    """Multi-distillation block: three times a quarter of the channels is kept and the rest refined further.

    Args:
        channels: C of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        kept = channels // 4
        self.split = [kept, channels - kept]
        self.refine = nn.ModuleList(
            nn.Conv2d(width, channels, 3, padding=1) for width in (channels, channels - kept, channels - kept)
        )
        self.refine_last = nn.Conv2d(channels - kept, kept, 3, padding=1)
        self.cca = CCA(channels)
        self.condense = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the refined features."""
        rest_BCHW = x_BCHW
        distilled = []
        for refine in self.refine:
            kept_BCHW, rest_BCHW = torch.split(F.leaky_relu(refine(rest_BCHW), SLOPE), self.split, dim=1)
            distilled.append(kept_BCHW)
        distilled.append(self.refine_last(rest_BCHW))
        out_BCHW: Tensor = self.condense(self.cca(torch.cat(distilled, dim=1)))
        return out_BCHW + x_BCHW


NETWORK = IMDN
