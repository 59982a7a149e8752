"""One optimiser step: the gradients of a batch's loss, then new weights.

Shape letters: B batch (this process's share), C colours, H and W the patch size, LR or HR.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from alkdnet.training.averaging import WeightAverage
from alkdnet.training.cuda_graph import GraphedFunction
from alkdnet.training.losses import BatchLoss


class TrainingStep:
    """Changes the weights by the gradients of one batch.

    Args:
        optimizer: holds the weights.
        batch_loss: the function from a batch (LR, HR) to its loss.
        clip_norm: the norm over all gradients above which they are scaled down to it; None: never.
        average: takes the new weights in; None: there is none.
        device: where both are.
        graph: record the step as a CUDA graph and replay it. For one process on a CUDA device.
    """

    def __init__(
        self,
        *,
        optimizer: torch.optim.Optimizer,
        batch_loss: BatchLoss,
        device: torch.device,
        graph: bool,
        clip_norm: float | None = None,
        average: WeightAverage | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._batch_loss = batch_loss
        self._clip_norm = clip_norm
        self._average = average
        self._weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        self.gradient_norm: Tensor | None = None
        """Norm over all gradients of the last step before they were clipped; None: they are not clipped."""
        # On CUDA a tensor, recorded or not: the same bits, and a change of its value queues like the rest.
        self._rate = torch.zeros((), device=device) if device.type == "cuda" else None
        self._run = GraphedFunction(self.update) if graph else self.update

    def __call__(self, lr_BCHW: Tensor, hr_BCHW: Tensor, rate: float) -> Tensor:
        """Take one step at a learning rate; return the batch's loss before it, on its device.

        The next call may overwrite the returned tensor. On CUDA nothing waits for the device.
        """
        self.set_learning_rate(rate)
        return self._run(lr_BCHW, hr_BCHW)

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of all weights."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate if self._rate is None else self._rate.fill_(rate)

    def update(self, lr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
        """Take one step at the learning rate that is set.

        A CUDA graph records this method and replays it: what changes from step to step must be in tensors,
        and nothing may look at a tensor's value.
        """
        self._optimizer.zero_grad()
        loss = self._batch_loss(lr_BCHW, hr_BCHW)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._clip_norm is not None:
            self.gradient_norm = clip_grad_norm_(self._weights, self._clip_norm)
        recorded = loss.is_cuda and torch.cuda.is_current_stream_capturing()
        with _capturable(self._optimizer) if recorded else nullcontext():
            self._optimizer.step()
        if self._average is not None:
            self._average.update()
        return loss.detach()


@contextmanager
def _capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let PyTorch's fused optimizers be recorded: they keep all in tensors, and refuse unless `capturable`.

    If that were set at all times, PyTorch would warn of steps outside of a graph, and a checkpoint of a GPU
    would not be one of a CPU.
    """
    groups = [group for group in optimizer.param_groups if "capturable" in group]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False
