"""Starting the processes of one training on this host."""

import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import torch.distributed as dist


def launched() -> bool:
    """Return whether this is one of the processes that `launch` or torchrun started."""
    return dist.is_torchelastic_launched()


def local_rank() -> int:
    """Return the number of this process among those of its host, from 0."""
    return dist.get_node_local_rank(fallback_rank=0)


def launch(work: Callable[..., None], arguments: tuple[Any, ...], *, processes: int) -> None:
    """Run `work(*arguments)` in several processes; when one fails, stop the others and exit with its code."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.5,
    )
    try:
        elastic_launch(config, work)(*arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        sys.exit(failure.exitcode if failure.exitcode > 0 else 1)
    except SignalException as error:
        sys.exit(128 + int(error.sigval))
