"""VDSR: twenty convolutions that learn the difference from the bicubic image.

Kim et al. 2016, "Accurate image super-resolution using very deep convolutional networks",
doi 10.1109/CVPR.2016.182. The authors train one network for all scales.

Parameters at every scale: 665,921.
Shape letters: B batch, H and W the LR size; Hs and Ws the HR size.
"""

from torch import Tensor, nn

from alkdnet.layers.luma import bicubic, luma, with_luma


class VDSR(nn.Module):
    """Float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped; the network proper sees luma alone.

    Args:
        scale: s, 1 or more.
        layers: number of convolutions, at least 2.
        channels: C of the features.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, scale: int, layers: int = 20, channels: int = 64) -> None:
        super().__init__()
        if scale < 1 or layers < 2 or channels < 1:
            raise ValueError(
                f"scale {scale}, layers {layers}, channels {channels} must be at least 1, 2 and 1"
            )
        self.scale = scale
        self.layers = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.ReLU())
        for _ in range(layers - 2):
            self.layers.append(nn.Conv2d(channels, channels, 3, padding=1))
            self.layers.append(nn.ReLU())
        self.layers.append(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image."""
        bicubic_BCHW = bicubic(x_BCHW, self.scale)
        y_B1HW = luma(bicubic_BCHW)
        return with_luma(bicubic_BCHW, y_B1HW + self.layers(y_B1HW))


NETWORK = VDSR
