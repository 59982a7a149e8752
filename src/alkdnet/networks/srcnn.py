"""SRCNN: the first convolutional network for super-resolution, on the luma of the bicubic image.

Dong et al. 2014 and 2016, "Image super-resolution using deep convolutional networks",
doi 10.1109/TPAMI.2015.2439281. Every convolution repeats the border, as the authors' test code does.

Parameters at every scale: 57,281 (9-5-5), 8,129 (9-1-5).
Shape letters: B batch, H and W the LR size; Hs and Ws the HR size.
"""

from typing import Literal

from torch import Tensor, nn

from alkdnet.layers.luma import bicubic, luma, with_luma


class SRCNN(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped; the network proper sees luma alone.

    Args:
        scale: s, 1 or more.
        kernels: sizes of the three convolutions. The published PSNRs and Multi-Adds are of 9-5-5, the
            published parameter count of 9-1-5.

    Raises:
        ValueError: the scale is less than 1.
    """

    def __init__(self, *, scale: int, kernels: Literal["9-5-5", "9-1-5"] = "9-5-5") -> None:
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale must be at least 1, not {scale}")
        self.scale = scale
        self.extraction = _convolution(1, 64, 9)
        self.mapping = _convolution(64, 32, 5 if kernels == "9-5-5" else 1)
        self.reconstruction = _convolution(32, 1, 5)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image."""
        bicubic_BCHW = bicubic(x_BCHW, self.scale)
        features_BCHW = self.extraction(luma(bicubic_BCHW)).relu()
        features_BCHW = self.mapping(features_BCHW).relu()
        return with_luma(bicubic_BCHW, self.reconstruction(features_BCHW))


def _convolution(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, padding=kernel_size // 2, padding_mode="replicate"
    )


NETWORK = SRCNN
