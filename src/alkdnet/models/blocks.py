"""Building blocks that several networks share.

Shape letters: B batch, C channels, H height, W width of the LR grid unless said otherwise. All tensors are
floating-point features without a fixed range.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PixelNorm(nn.LayerNorm):
    """Layer normalisation over the channels, at every pixel by itself (the paper's "pixel normalisation").

    The permutation is free for tensors in channels-last memory, and the result is channels-last, so that the
    convolutions after the first normalisation stay in that layout.

    Args:
        channels: C of the input.
        eps: added to the variance.
    """

    def __init__(self, channels: int, *, eps: float) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise the C values of every pixel, then scale and shift them; the shape stays."""
        y_BHWC = F.layer_norm(
            x_BCHW.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return y_BHWC.permute(0, 3, 1, 2)


class BSConv(nn.Module):
    """Blueprint separable convolution (paper, Figure 2): 1x1 without bias, then depthwise k x k with bias.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: odd k of the depthwise part.
        stride: of the depthwise part.
        padding: zeros around the input of the depthwise part; None keeps the size at stride 1.

    Source: Haase & Amthor 2020, "BSConv-U".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        require_odd(kernel_size)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.depthwise = nn.Conv2d(
            out_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2 if padding is None else padding,
            groups=out_channels,
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return features of `out_channels` channels."""
        out: Tensor = self.depthwise(self.pointwise(x_BCHW))
        return out


class ALKConv(nn.Module):
    """Asymmetric large kernel convolution (paper, Figure 4 and Equation 11).

    A 1x1 convolution without bias, then three depthwise branches k x 1, 1 x k and 3 x 3, GELU after each,
    their sum, and pixel normalisation.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: odd k of the long branches, at least 3.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int) -> None:
        super().__init__()
        require_odd(kernel_size)
        k, c = kernel_size, out_channels
        self.pointwise = nn.Conv2d(in_channels, c, 1, bias=False)
        self.vertical = nn.Conv2d(c, c, (k, 1), padding=(k // 2, 0), groups=c)
        self.horizontal = nn.Conv2d(c, c, (1, k), padding=(0, k // 2), groups=c)
        self.square = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.norm = PixelNorm(c, eps=1e-6)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return features of `out_channels` channels, same H and W."""
        x_BCHW = self.pointwise(x_BCHW)
        sum_BCHW = (
            F.gelu(self.vertical(x_BCHW)) + F.gelu(self.horizontal(x_BCHW)) + F.gelu(self.square(x_BCHW))
        )
        out: Tensor = self.norm(sum_BCHW)
        return out


class Resize(nn.Module):
    """Bilinear interpolation to a size (H, W), with pixels as areas (`align_corners=False`).

    It is a module so that tiles can exchange it: models/tiling.py.
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
        context_BCHW = self.context(self.pool(self.stride(a_BCHW)))
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


def require_odd(kernel_size: int) -> None:
    """Raise ValueError unless the kernel size is odd (it has a centre) and at least 3 (it has an extent)."""
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and at least 3, not {kernel_size}")


def pad_to_minimum(x_BCHW: Tensor, minimum: int) -> Tensor:
    """Repeat the last row and column until H and W are at least `minimum`; return larger inputs as they are.

    Replication, since reflection is not defined for an input of one pixel.
    """
    below = max(minimum - x_BCHW.shape[2], 0)
    right = max(minimum - x_BCHW.shape[3], 0)
    if below == 0 and right == 0:
        return x_BCHW
    return F.pad(x_BCHW, (0, right, 0, below), mode="replicate")
