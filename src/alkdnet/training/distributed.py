"""The processes that train one run together, each with its share of every batch, behind one object."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from alkdnet.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The processes that train one run together; by default one alone.

    Attributes:
        rank: the number of this process, from 0.
        world_size: how many there are.
        control: the process group for everything but gradients; None: the default group.
    """

    rank: int = 0
    world_size: int = 1
    control: dist.ProcessGroup | None = None

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the process that writes, validates and tracks."""
        return self.rank == 0

    def broadcast(self, value: T) -> T:
        """Return rank 0's value on every rank."""
        if self.world_size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor over the ranks, on every rank."""
        if self.world_size > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.world_size
        return value

    def any(self, value: bool) -> bool:
        """Return whether `value` holds on any rank, on every rank."""
        if self.world_size == 1:
            return value
        flag = torch.tensor(int(value))
        dist.all_reduce(flag, dist.ReduceOp.MAX, group=self.control)
        return bool(flag)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model with gradients averaged over the ranks in every backward pass."""
        if self.world_size == 1:
            return model
        return DistributedDataParallel(model, gradient_as_bucket_view=True)


@contextmanager
def join_ranks(device_type: str) -> Iterator[Ranks]:
    """Join the process group (NCCL on CUDA, gloo on CPU) if torchrun started this process.

    Raises:
        UserError: there are fewer CUDA devices than processes on this host.
    """
    if not dist.is_torchelastic_launched():
        yield Ranks()
        return
    if device_type == "cuda":
        local_rank = dist.get_node_local_rank()
        if (devices := torch.cuda.device_count()) <= local_rank:
            raise UserError(
                f"execution.processes: this host has {devices} CUDA devices, and each process needs one"
            )
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    # Over NCCL a message would wait for all work queued on the device.
    control = dist.new_group(backend="gloo") if device_type == "cuda" else None
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), control)
    finally:
        dist.destroy_process_group()
