"""BSRN: blueprint separable residual network, the baseline of the paper, with its ablations as options.

Li et al. 2022, "Blueprint separable residual network for efficient image super-resolution",
doi 10.1109/CVPRW56347.2022.00099; as in the authors' released network.
Tables 1 to 3 of the paper change one part of it at a time: `kernel_size` (with `convolution` "alkconv"),
`residual` and `block_norm`. ALKDNet (alkdnet.py) is more than all of them: it also has an ALKConv in the
fusion and padding in ESA.

Parameters at x2 / x3 / x4: 331,628 / 340,283 / 352,400.
Verified with the authors' weights: Set5 and Set14 at x2, x3 and x4; the ablations have no published weights.
Shape letters: B batch, C channels, H and W the LR size, s the scale; Hs and Ws the HR size.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from alkdnet.layers.convolution import ALKConv, BSConv
from alkdnet.layers.distillation import BLOCK_RELEASED_NAMES, DistillationBlock, MakeConvolution, check_size
from alkdnet.layers.padding import pad_to_minimum

INPUT_COPIES = 4
KERNEL_SIZE = 9

# Names in the authors' files: see weights/released.py.
RELEASED_NAMES = (
    *BLOCK_RELEASED_NAMES,
    (r"^fea_conv\.", "shallow."),
    (r"^c1\.", "fusion.0."),
    (r"^c2\.", "fusion.2."),
    # As in BSRN's code, and as in ALKDNet's, which the ablations come from.
    (r"^(upsampler\.upsampleOneStep\.0|c_up)\.", "tail."),
)


class BSRN(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Args:
        scale: s, 1 or more.
        blocks: number of distillation blocks.
        channels: C of the features, a multiple of 4.
        convolution: kind of the convolutions in the blocks.
        kernel_size: k of the ALKConvs, odd, at least 3. A BSConv is always 3 x 3: with convolution "bsconv"
            any other value than the default is an error, for it would change nothing.
        residual: feature space (FSRL) and anchor-based (ABRL) residual learning, or both.
        block_norm: pixel normalisation at the end of every block.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        scale: int,
        blocks: int = 8,
        channels: int = 64,
        convolution: Literal["bsconv", "alkconv"] = "bsconv",
        kernel_size: int = KERNEL_SIZE,
        residual: Literal["fsrl", "abrl", "both"] = "fsrl",
        block_norm: bool = False,
    ) -> None:
        super().__init__()
        check_size(scale=scale, blocks=blocks, channels=channels)
        if convolution == "bsconv" and kernel_size != KERNEL_SIZE:
            raise ValueError(
                f"kernel_size {kernel_size} has no effect with convolution bsconv (3 x 3): leave it out"
            )
        make_convolution: MakeConvolution = (
            partial(ALKConv, kernel_size=kernel_size) if convolution == "alkconv" else BSConv
        )
        self.scale = scale
        self.has_fsrl = residual in ("fsrl", "both")
        self.has_abrl = residual in ("abrl", "both")
        self.shallow = BSConv(3 * INPUT_COPIES, channels)
        self.blocks = nn.ModuleList(
            DistillationBlock(
                channels=channels, convolution=make_convolution, block_norm=block_norm, esa_padding=0
            )
            for _ in range(blocks)
        )
        self.fusion = nn.Sequential(
            nn.Conv2d(blocks * channels, channels, 1), nn.GELU(), BSConv(channels, channels)
        )
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        self.minimum_size = 15  # ESA's pooling needs it

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image. Inputs smaller than ESA needs are padded by replication and cropped back."""
        height, width = x_BCHW.shape[2] * self.scale, x_BCHW.shape[3] * self.scale
        x_BCHW = pad_to_minimum(x_BCHW, self.minimum_size)

        shallow_BCHW = self.shallow(x_BCHW.repeat(1, INPUT_COPIES, 1, 1))
        features_BCHW = shallow_BCHW
        outputs = []
        for block in self.blocks:
            features_BCHW = block(features_BCHW)
            outputs.append(features_BCHW)
        features_BCHW = self.fusion(torch.cat(outputs, dim=1))
        if self.has_fsrl:
            features_BCHW = features_BCHW + shallow_BCHW
        out_BCHW = self.tail(features_BCHW)
        if self.has_abrl:
            # Channel order r r .. g g .. b b ..: the shuffle makes a square of each colour's s^2 copies.
            out_BCHW = out_BCHW + x_BCHW.repeat_interleave(self.scale**2, dim=1)
        y_BCHW: Tensor = self.shuffle(out_BCHW)
        return y_BCHW[:, :, :height, :width]


NETWORK = BSRN
