"""Spatial and channel attention.

Shape letters: B batch, C channels, H height, W width of the LR grid unless said otherwise.
Features are floating-point tensors without a fixed range.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.convolution import BSConv

# The authors' names in ESA and CCA; networks have them in their own rules (weights/released.py).
ESA_RELEASED_NAMES = (
    (r"\.esa\.conv1\.", ".esa.reduce."),
    (r"\.esa\.conv2\.", ".esa.stride."),
    (r"\.esa\.conv_max\.", ".esa.context.0."),
    (r"\.esa\.conv3\.", ".esa.context.2."),
    (r"\.esa\.conv3_\.", ".esa.context.4."),
    (r"\.esa\.conv_f\.", ".esa.skip."),
    (r"\.esa\.conv4\.", ".esa.expand."),
)
CCA_RELEASED_NAMES = ((r"\.cca\.conv_du\.", ".cca.excite."),)


class Resize(nn.Module):
    """Bilinear interpolation to a size (H, W), with pixels as areas (`align_corners=False`).

    It is a module so that tiles can replace it: inference/tiling.py.
    """

    def forward(self, x_BCHW: Tensor, size: Sequence[int]) -> Tensor:
        """Return the resized features."""
        return F.interpolate(x_BCHW, size=list(size), mode="bilinear", align_corners=False)


class ESA(nn.Module):
    """Enhanced spatial attention: a mask per pixel and channel, from features at about 1/6 the size.

    Args:
        channels: C of the input.
        width: channels inside the attention.
        padding: zeros around the input of the strided convolution: 1 in ALKDNet, 0 in BSRN and RFDN.
        separable: BSConvs and GELU, as in BSRN and ALKDNet; otherwise full convolutions and ReLU, as in RFDN.

    Source: Liu et al. 2020 (RFDN); with BSConvs Li et al. 2022 (BSRN).
    """

    def __init__(self, channels: int, width: int, *, padding: int, separable: bool = True) -> None:
        super().__init__()

        def convolution() -> nn.Module:
            return BSConv(width, width) if separable else nn.Conv2d(width, width, 3, padding=1)

        def activation() -> nn.Module:
            return nn.GELU() if separable else nn.ReLU()

        self.reduce = nn.Conv2d(channels, width, 1)
        self.stride: nn.Module = (
            BSConv(width, width, stride=2, padding=padding)
            if separable
            else nn.Conv2d(width, width, 3, stride=2, padding=padding)
        )
        self.pool = nn.MaxPool2d(7, stride=3)
        self.context = nn.Sequential(convolution(), activation(), convolution(), activation(), convolution())
        self.resize = Resize()
        self.skip = nn.Conv2d(width, width, 1)
        self.expand = nn.Conv2d(width, channels, 1)
        # The pool's 7 pixels come from a 3 x 3 convolution of stride 2.
        self.minimum_size = 15 - 2 * padding

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the input times its mask; H and W must be at least `minimum_size`."""
        a_BCHW = self.reduce(x_BCHW)
        return self.masked(x_BCHW, a_BCHW, self.context(self.pool(self.stride(a_BCHW))))

    def masked(self, x_BCHW: Tensor, a_BCHW: Tensor, context_BCHW: Tensor) -> Tensor:
        """Return the input times its mask, which is made of the reduced features and their coarse context."""
        up_BCHW = self.resize(context_BCHW, x_BCHW.shape[2:])
        out: Tensor = x_BCHW * torch.sigmoid(self.expand(up_BCHW + self.skip(a_BCHW)))
        return out

    def cells(self, size: int) -> int:
        """Return the length of the coarse grid along a side of `size` pixels."""
        return (size - self.minimum_size) // 6 + 1


class CCA(nn.Module):
    """Contrast-aware channel attention of IMDN: a weight per channel, from its mean and standard deviation.

    Args:
        channels: C of the input.
        reduction: the hidden layer has channels // reduction values, at least one.

    Source: Hui et al. 2019 (IMDN).
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        width = max(channels // reduction, 1)
        self.excite = nn.Sequential(
            nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1), nn.Sigmoid()
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the input times its weight per channel."""
        # torch.std_mean and not sqrt(var): its gradient is 0, not NaN, where a channel is constant.
        std_BC11, mean_BC11 = torch.std_mean(x_BCHW, dim=(2, 3), correction=0, keepdim=True)
        out: Tensor = x_BCHW * self.excite(std_BC11 + mean_BC11)
        return out
