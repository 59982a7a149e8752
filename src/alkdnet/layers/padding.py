"""Padding of inputs that are smaller than a network needs.

Shape letters: B batch, C channels, H height, W width.
"""

import torch.nn.functional as F
from torch import Tensor


def pad_to_minimum(x_BCHW: Tensor, minimum: int) -> Tensor:
    """Repeat the last row and column until H and W are at least `minimum`; return larger inputs as they are.

    Replication, since reflection is not defined for an input of one pixel.
    """
    below = max(minimum - x_BCHW.shape[2], 0)
    right = max(minimum - x_BCHW.shape[3], 0)
    if below == 0 and right == 0:
        return x_BCHW
    return F.pad(x_BCHW, (0, right, 0, below), mode="replicate")
