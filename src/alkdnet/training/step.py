"""One optimiser step: the gradients of a batch's loss, then new weights.

Shape letters: B batch (this process's share), C colours, H and W the patch size, LR or HR.
"""

import torch
from torch import Tensor

from alkdnet.training.recipe import BatchLoss


class TrainingStep:
    """Changes the weights by the gradients of one batch.

    Args:
        optimizer: holds the weights.
        batch_loss: the function from a batch (LR, HR) to its loss.
    """

    def __init__(self, *, optimizer: torch.optim.Optimizer, batch_loss: BatchLoss) -> None:
        self._optimizer = optimizer
        self._batch_loss = batch_loss

    def __call__(self, lr_BCHW: Tensor, hr_BCHW: Tensor, rate: float) -> Tensor:
        """Take one step at a learning rate; return the batch's loss before it, on its device."""
        self.set_learning_rate(rate)
        return self.update(lr_BCHW, hr_BCHW)

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of all weights."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def update(self, lr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
        """Take one step at the learning rate that is set.

        A CUDA graph records this method and replays it: what changes from step to step must be in tensors,
        and nothing may look at a tensor's value.
        """
        self._optimizer.zero_grad()
        loss = self._batch_loss(lr_BCHW, hr_BCHW)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.detach()
