"""Geometric self-ensemble: the mean over the eight flips and rotations of the input."""

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor, nn


class SelfEnsemble(nn.Module):
    """A network whose output is another's mean over the eight symmetries of the square ("x8", often "+").

    The outputs are averaged before they are clipped and rounded (Timofte et al. 2016, section 3.7; EDSR+).

    Args:
        network: maps (B, C, H, W) to (B, C, Hs, Ws); it is called eight times for each input.
    """

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the mean output."""
        outputs = (self._transformed(x_BCHW, turns, flip) for turns in range(4) for flip in (False, True))
        return reduce(torch.add, outputs) / 8

    def _transformed(self, x_BCHW: Tensor, quarter_turns: int, flip: bool) -> Tensor:
        turned = torch.rot90(x_BCHW, quarter_turns, (2, 3))
        output = self.network(turned.flip(3) if flip else turned)
        return torch.rot90(output.flip(3) if flip else output, -quarter_turns, (2, 3))
