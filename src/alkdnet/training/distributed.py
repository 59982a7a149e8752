"""One training on several processes: torchrun starts them, each takes its share of every batch."""

import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from alkdnet.errors import UserError

T = TypeVar("T")

# A crashed worker (a lost GPU, a broken connection) restarts all of them from the checkpoint, so many times.
RESTARTS = 3
# To be set for torchrun: every restart then meets in a store of its own. By default they share one, and new
# workers may find the addresses of their predecessors there: seen to fail or hang with torch 2.13.
TORCHRUN_ENVIRONMENT = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
# Seconds that a host waits for the others.
PATIENCE_S = 600
# Seconds between two agreements on whether to stop, each a small message: torchrun kills workers that have
# not stopped 30 seconds after it has asked them to.
AGREEMENT_S = 1.0


@dataclass(frozen=True)
class Group:
    """The processes that train one run together.

    `rank` of `size`; `messages`: how they talk of other things than gradients, None for the same way.
    """

    rank: int = 0
    size: int = 1
    messages: dist.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes, validates and tracks."""
        return self.rank == 0

    def same(self, value: T) -> T:
        """Return rank 0's value on every rank."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.messages)
        return values[0]

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor over the ranks, on every rank."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.size
        return value

    def each(self, value: T) -> list[T]:
        """Return the values of all ranks, on every rank."""
        values: list[T] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value, group=self.messages)
        return values

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model with gradients averaged over the ranks in every backward pass."""
        return model if self.size == 1 else DistributedDataParallel(model, gradient_as_bucket_view=True)


class Agreement:
    """Whether any process wants something: asked about every second, at the same iterations on all of them.

    `iteration`: the one after which the training begins or goes on.
    """

    def __init__(self, group: Group, iteration: int) -> None:
        self._group = group
        self._asked, self._asked_at = iteration, time.monotonic()
        self._due = iteration

    def any(self, iteration: int, value: bool) -> bool:
        """Return whether `value` holds on any rank; False between two questions."""
        if self._group.size == 1:
            return value
        if iteration < self._due:
            return False
        now = time.monotonic()
        rate = (iteration - self._asked) / max(now - self._asked_at, 1e-3)
        answers = self._group.each((value, max(int(rate * AGREEMENT_S), 1)))
        _, ahead = answers[0]  # all go by the first one's clock
        self._asked, self._asked_at, self._due = iteration, now, iteration + ahead
        return any(wanted for wanted, _ in answers)


@contextmanager
def process_group(device_type: str, *, processes: int) -> Iterator[Group]:
    """Join the group if torchrun started this process (NCCL on CUDA, gloo on CPU); leave it at the end.

    Raises:
        UserError: there are fewer CUDA devices than `processes`, those on each host.
    """
    if not under_torchrun():
        yield Group()
        return
    if device_type == "cuda":
        local_rank = dist.get_node_local_rank()
        # All of them compare, so that all of them raise.
        if (devices := torch.cuda.device_count()) < max(processes, local_rank + 1):
            raise UserError(
                f"train.processes: this host has {devices} CUDA devices, and each process needs one"
            )
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    # Talking through NCCL would wait for the device.
    messages = dist.new_group(backend="gloo") if device_type == "cuda" else None
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), messages)
    finally:
        dist.destroy_process_group()


@contextmanager
def no_restart_after_refusal() -> Iterator[None]:
    """Let a UserError, which all processes meet, end torchrun: it would restart them, to meet it again.

    The first process on each host tells it.
    """
    try:
        yield
    except UserError:
        if under_torchrun():
            if dist.get_node_local_rank() > 0:
                time.sleep(10)  # until torchrun ends this process, or by its own end restarts the others
                sys.exit(1)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which torchrun sends in return: to tell it first
            os.kill(os.getppid(), signal.SIGTERM)
        raise


def under_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return dist.is_torchelastic_launched()


def torchrun_command(
    script: Sequence[str], *, processes: int, hosts: int = 1, rendezvous: str | None = None, name: str = ""
) -> list[str]:
    """Return the command that runs a Python script with its arguments in several processes.

    It wants TORCHRUN_ENVIRONMENT.

    Args:
        script: the script's path and arguments.
        processes: on each host.
        hosts: all of them run this command.
        rendezvous: where they meet, HOST:PORT with a host that is one of them; for one host not asked.
        name: of what they do together: a host that came for something else is not let in.

    Raises:
        UserError: several hosts have no place to meet.
    """
    if hosts == 1:
        meeting = ["--standalone"]
    else:
        if rendezvous is None or not re.fullmatch(r".+:\d{1,5}", rendezvous):
            instead = f", not {rendezvous!r}" if rendezvous else ""
            raise UserError(
                f"train.hosts is {hosts}: on each of them, set ALKDNET_RENDEZVOUS to HOST:PORT, the name of "
                f"one and a free port on it{instead}"
            )
        meeting = [
            *(f"--nnodes={hosts}", "--rdzv-backend=c10d", f"--rdzv-endpoint={rendezvous}"),
            *(f"--rdzv-id={name}", f"--rdzv-conf=read_timeout={PATIENCE_S},join_timeout={PATIENCE_S}"),
        ]
    return [
        *(sys.executable, "-m", "torch.distributed.run", *meeting, f"--nproc-per-node={processes}"),
        # Without the dashes torchrun takes the script's `--run` for the beginning of an option of its own.
        *(f"--max-restarts={RESTARTS}", "--", *script),
    ]
