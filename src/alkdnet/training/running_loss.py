"""The loss that the history records: the mean over the steps since its last row, and over all processes."""

import torch
from torch import Tensor

from alkdnet.training.distributed import Ranks


class RunningLoss:
    """Sums losses on their device, in float64, until the next row of the history.

    Args:
        device: where the losses are.
        ranks: the processes of the training.
    """

    def __init__(self, device: torch.device, ranks: Ranks) -> None:
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self._ranks = ranks
        self._steps = 0

    def add(self, loss: Tensor) -> None:
        """Add the loss of a step; on a GPU nothing waits for it."""
        self._sum += loss.detach()
        self._steps += 1

    def total(self) -> float:
        """Return the sum over the steps, averaged over the processes."""
        return self._ranks.mean(self._sum).item()

    def mean(self) -> float:
        """Return the mean over the steps and the processes; 0 if there is no step."""
        return self.total() / max(self._steps, 1)

    def reset(self, total: float = 0.0, steps: int = 0) -> None:
        """Begin at nothing, or at what a checkpoint kept."""
        self._sum.fill_(total)
        self._steps = steps
