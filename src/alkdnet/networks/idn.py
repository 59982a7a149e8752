"""IDN: information distillation network, on luma, with a transposed convolution added to the bicubic image.

Hui et al. 2018, "Fast and accurate single image super-resolution via information distillation network",
doi 10.1109/CVPR.2018.00082; as in the authors' Caffe network.

Parameters at every scale: 552,769.
Verified with the authors' weights: luma of Set5 and Set14 at x2 and x4.
Shape letters: B batch, C channels, H and W the LR size; Hs and Ws the HR size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.luma import LumaNetwork, bicubic

SLOPE = 0.05
# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    (r"^conv1\.", "shallow.0.0."),
    (r"^conv2\.", "shallow.1.0."),
    (r"^conv(\d+)_([123])\.", r"blocks.<\1-3>.upper.<\2-1>.0."),
    (r"^conv(\d+)_([456])\.", r"blocks.<\1-3>.lower.<\2-4>.0."),
    (r"^down(\d+)\.", r"blocks.<\1-1>.compression.0."),
    (r"^upsample\.", "reconstruction."),
)
# Channels: of the features, kept by a distillation step, passed on by it, and of a block's inside.
FEATURES, KEPT, PASSED, NARROW, INNER = 64, 16, 48, 48, 32
GROUPS = 4


class IDN(LumaNetwork):
    """A network for luma: see `LumaNetwork`.

    Args:
        scale: s, 1 to 17: the transposed convolution is 17 x 17.
        blocks: number of distillation blocks.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, scale: int, blocks: int = 4) -> None:
        super().__init__()
        if not 1 <= scale <= 17 or blocks < 1:
            raise ValueError(f"scale {scale} must be from 1 to 17, and blocks {blocks} at least 1")
        self.scale = scale
        self.shallow = nn.Sequential(_convolution(1, FEATURES), _convolution(FEATURES, FEATURES))
        self.blocks = nn.Sequential(*(DBlock() for _ in range(blocks)))
        self.reconstruction = nn.ConvTranspose2d(FEATURES, 1, 17, stride=scale, padding=8)

    def forward_luma(self, y_B1HW: Tensor) -> Tensor:
        """Return Y of the HR image."""
        residual_B1HW = self.reconstruction(self.blocks(self.shallow(y_B1HW)))
        # It has s (H - 1) + 1 rows; the authors add it to the lower right, the first s - 1 stay bicubic.
        missing = self.scale - 1
        return bicubic(y_B1HW, self.scale) + F.pad(residual_B1HW, (missing, 0, missing, 0))


class DBlock(nn.Module):
    """Enhancement unit, of which a quarter of the channels skips its second half, and compression unit."""

    def __init__(self) -> None:
        super().__init__()
        self.upper = nn.Sequential(
            _convolution(FEATURES, NARROW), _convolution(NARROW, INNER, GROUPS), _convolution(INNER, FEATURES)
        )
        self.lower = nn.Sequential(
            _convolution(PASSED, FEATURES),
            _convolution(FEATURES, NARROW, GROUPS),
            _convolution(NARROW, FEATURES + KEPT),
        )
        self.compression = nn.Sequential(nn.Conv2d(FEATURES + KEPT, FEATURES, 1), nn.LeakyReLU(SLOPE))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the refined features."""
        kept_BCHW, passed_BCHW = torch.split(self.upper(x_BCHW), [KEPT, PASSED], dim=1)
        enhanced_BCHW = self.lower(passed_BCHW) + torch.cat([x_BCHW, kept_BCHW], dim=1)
        out_BCHW: Tensor = self.compression(enhanced_BCHW)
        return out_BCHW


def _convolution(in_channels: int, out_channels: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, groups=groups), nn.LeakyReLU(SLOPE)
    )


NETWORK = IDN
