"""Normalisation over the channels.

Shape letters: B batch, C channels, H height, W width of the LR grid unless said otherwise.
"""

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
