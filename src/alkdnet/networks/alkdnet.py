"""ALKDNet: asymmetric large kernel distillation network.

Qu & Ke 2024, "Asymmetric Large Kernel Distillation Network for efficient single image super-resolution",
doi 10.3389/fnins.2024.1502499; details that the text leaves open as in the authors' released network.
The ablations of the paper's Tables 1 to 3 are options of BSRN (bsrn.py), which they start from.

Parameters at x2 / x3 / x4: 372,716 / 381,371 / 393,488.
Verified with the authors' weights: Table 4 to its last digit on Set5 and Set14 at x2, x3 and x4.
Shape letters: B batch, C channels, H and W the LR size, s the scale; Hs and Ws the HR size.
"""

from functools import partial

import torch
from torch import Tensor, nn

from alkdnet.layers.convolution import ALKConv, BSConv
from alkdnet.layers.distillation import BLOCK_RELEASED_NAMES, DistillationBlock, check_size
from alkdnet.layers.padding import pad_to_minimum

INPUT_COPIES = 4  # m of Equation 1
FUSION_KERNEL_SIZE = 3

# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    *BLOCK_RELEASED_NAMES,
    (r"^fea_conv\.", "shallow."),
    (r"^c1\.", "fusion.0."),
    (r"^c2\.", "fusion.2."),
    (r"^c_up\.", "tail."),
)


class ALKDNet(nn.Module):
    """The network of Figure 1: float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        blocks: n, number of distillation blocks.
        channels: C of the features, a multiple of 4.
        kernel_size: k of the ALKConvs in the blocks, odd, at least 3.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, scale: int, blocks: int = 8, channels: int = 64, kernel_size: int = 9) -> None:
        super().__init__()
        check_size(scale=scale, blocks=blocks, channels=channels)
        self.scale = scale
        self.shallow = BSConv(3 * INPUT_COPIES, channels)
        self.blocks = nn.ModuleList(
            DistillationBlock(
                channels=channels,
                convolution=partial(ALKConv, kernel_size=kernel_size),
                block_norm=True,
                esa_padding=1,
            )
            for _ in range(blocks)
        )
        self.fusion = nn.Sequential(
            nn.Conv2d(blocks * channels, channels, 1),
            nn.GELU(),
            ALKConv(channels, channels, kernel_size=FUSION_KERNEL_SIZE),
        )
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        self.minimum_size = 13  # ESA's pooling needs it

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image. Inputs smaller than ESA needs are padded by replication and cropped back."""
        height, width = x_BCHW.shape[2] * self.scale, x_BCHW.shape[3] * self.scale
        x_BCHW = pad_to_minimum(x_BCHW, self.minimum_size)

        shallow_BCHW = self.shallow(x_BCHW.repeat(1, INPUT_COPIES, 1, 1))  # Equations 1 and 2
        features_BCHW = shallow_BCHW
        outputs = []
        for block in self.blocks:  # Equation 3
            features_BCHW = block(features_BCHW)
            outputs.append(features_BCHW)
        fused_BCHW = self.fusion(torch.cat(outputs, dim=1)) + shallow_BCHW  # Equation 4, with FSRL
        # ABRL. Channel order r r .. g g .. b b ..: the shuffle makes a square of each colour's s^2 copies.
        anchor_BCHW = x_BCHW.repeat_interleave(self.scale**2, dim=1)
        y_BCHW: Tensor = self.shuffle(self.tail(fused_BCHW) + anchor_BCHW)  # Equation 5
        return y_BCHW[:, :, :height, :width]


NETWORK = ALKDNet
