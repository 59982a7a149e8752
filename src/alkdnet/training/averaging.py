"""The exponential moving average of the weights."""

import copy

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """A copy of a network whose weights are the average of the network's so far.

    In every step: average = decay * average + (1 - decay) * weight.

    Args:
        model: the network; the average begins at its weights.
        decay: of the average in a step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._averages = list(self.model.parameters())
        self._weights = list(model.parameters())
        self._update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Take the network's present weights in; on a GPU nothing waits."""
        self._update(self._averages, self._weights, 0)
