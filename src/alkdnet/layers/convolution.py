"""Separable and large-kernel convolutions.

Shape letters: B batch, C channels, H height, W width of the LR grid unless said otherwise.
Features are floating-point tensors without a fixed range.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.layers.norm import PixelNorm


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


def require_odd(kernel_size: int) -> None:
    """Raise ValueError unless the kernel size is odd (it has a centre) and at least 3 (it has an extent)."""
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and at least 3, not {kernel_size}")
