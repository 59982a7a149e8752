"""What networks for the luma channel share: RGB in, RGB out, the chroma carried by bicubic interpolation.

Early networks (SRCNN to IDN) super-resolve Y of BT.601 alone. Their RGB output here is the bicubic image with
its Y replaced and its Cb and Cr kept, as their authors make colour images. All of it is linear in RGB and
differentiable, in float, without rounding; clipping an out-of-gamut colour to [0, 1] later may change Y.

Shape letters: B batch, C channels, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Y = (65.481 R + 128.553 G + 24.966 B + 16) / 255 for R, G, B in 0..1: studio range, 16/255 to 235/255.
BT601 = (65.481, 128.553, 24.966)
WEIGHTS = tuple(weight / 255 for weight in BT601)
OFFSET = 16 / 255
# The cubic kernel reaches two pixels to each side.
REACH = 2


class LumaNetwork(nn.Module):
    """A network for luma alone: float RGB in [0, 1], (B, 3, H, W) -> (B, 3, Hs, Ws), not clipped.

    Attributes:
        scale: s.
    """

    scale: int

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the HR image: its Y by `forward_luma`, its Cb and Cr by bicubic interpolation."""
        return with_luma(bicubic(x_BCHW, self.scale), self.forward_luma(luma(x_BCHW)))

    def forward_luma(self, y_B1HW: Tensor) -> Tensor:
        """Return Y of the HR image, shape (B, 1, Hs, Ws), from that of the LR image."""
        raise NotImplementedError


def luma(x_B3HW: Tensor) -> Tensor:
    """Return Y of RGB in [0, 1], shape B1HW, from 16/255 to 235/255."""
    red, green, blue = WEIGHTS
    y_B1HW: Tensor = red * x_B3HW[:, :1] + green * x_B3HW[:, 1:2] + blue * x_B3HW[:, 2:] + OFFSET
    return y_B1HW


def with_luma(x_B3HW: Tensor, y_B1HW: Tensor) -> Tensor:
    """Return the RGB image whose Y is `y_B1HW` and whose Cb and Cr are those of `x_B3HW`.

    A change of Y at constant chroma is the same change of R, G and B, so no other matrix is needed.
    """
    return x_B3HW + (y_B1HW - luma(x_B3HW)) / sum(WEIGHTS)


def bicubic(x_BCHW: Tensor, scale: int) -> Tensor:
    """Enlarge as MATLAB's `imresize` does (cubic kernel with a = -0.5, symmetric border), not rounded.

    The figures that the networks are verified with were measured with this border, that of MATLAB since about
    2015. The earlier one, replicated, changes them by up to 0.006 dB.
    """
    rows, columns = (_mirrored(size, x_BCHW.device) for size in x_BCHW.shape[2:])
    padded_BCHW = x_BCHW.float()[:, :, rows][:, :, :, columns]
    # antialias=True for its kernel: without it torch uses a = -0.75. When enlarging nothing is smoothed.
    y_BCHW = F.interpolate(padded_BCHW, scale_factor=scale, mode="bicubic", antialias=True)
    margin = REACH * scale
    return y_BCHW[:, :, margin:-margin, margin:-margin].to(x_BCHW.dtype)


def _mirrored(size: int, device: torch.device) -> Tensor:
    """Return the indices of -REACH to size + REACH when the outside is a mirror image: .. 1 0 | 0 1 .."""
    index_N = torch.arange(-REACH, size + REACH, device=device)
    index_N = torch.maximum(index_N, -1 - index_N)
    # Of a single pixel, the image of the image lies outside too.
    return torch.minimum(index_N, 2 * size - 1 - index_N).clamp(min=0)
