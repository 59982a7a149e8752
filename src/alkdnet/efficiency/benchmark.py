"""The benchmark: counts of every network, and measurements by every backend unless they take too long."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from alkdnet.analysis.complexity import count, lr_size, multi_adds_by_torch
from alkdnet.device import Precision
from alkdnet.efficiency.backends import Backend, Task, available_backends
from alkdnet.efficiency.timing import matrix_rate, time_backends
from alkdnet.errors import UserError, in_one_line
from alkdnet.networks import build, network_class, network_names
from alkdnet.progress import Progress
from alkdnet.results.efficiency import Measurement

# A network is not timed if one pass would take longer than this at the rate of a matrix product.
LONGEST_PASS_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings: scale, size of the HR image in pixels, device, precision, CPU threads, timed passes.

    `exports`: folder that keeps the exported networks; None: they are not kept.
    """

    scale: int
    width: int
    height: int
    device: torch.device
    precision: Precision
    threads: int
    rounds: int
    exports: Path | None = None


def chosen_networks(names: Sequence[str]) -> list[str]:
    """Return the networks to measure: the named ones, or all that have weights.

    Raises:
        UserError: there is no such network, or it has no weights: interpolation is computed outside PyTorch.
    """
    if not names:
        return [name for name in network_names() if _has_weights(name)]
    for name in names:
        network_class(name)  # raises if there is none
        if not _has_weights(name):
            raise UserError(f"{name} has no weights: there is nothing to measure")
    return list(dict.fromkeys(names))


def benchmark(networks: Sequence[str], settings: Settings) -> list[Measurement]:
    """Return a measurement for each network and backend, in order.

    Raises:
        UserError: the precision does not exist on the device.
    """
    if settings.device.type == "cpu" and settings.precision != "float32":
        raise UserError(f"--precision {settings.precision} is for CUDA; on a CPU the backends have their own")
    height, width = lr_size(settings.scale, hr_height=settings.height, hr_width=settings.width)
    rate, backends = matrix_rate(settings.device), available_backends(settings.device.type)
    found: list[Measurement] = []
    with Progress(len(networks), description="benchmark", unit="networks") as shown:
        for name in networks:
            counted = _counted(name, settings, height, width)
            least_s = counted.multi_adds / rate
            if least_s > LONGEST_PASS_S:
                remark = f"not timed: a pass takes {least_s:.0f} s at least"
                found.append(replace(counted, remark=remark))
            else:
                found += _timed(counted, settings, backends)
            shown.advance(note=name)
    return found


def _has_weights(name: str) -> bool:
    with torch.device("meta"):
        return any(True for _ in build(name, 4, {}).parameters())


def _counted(name: str, settings: Settings, height: int, width: int) -> Measurement:
    """Return a network's counts, without measurements."""
    model = build(name, settings.scale, {})
    cost = count(model, lr_height=height, lr_width=width)
    return Measurement(
        network=name,
        scale=settings.scale,
        height=height,
        width=width,
        parameters=cost.parameters,
        multi_adds=cost.multi_adds,
        multi_adds_convolutions=cost.multi_adds_convolutions,
        multi_adds_torch=multi_adds_by_torch(model, lr_height=height, lr_width=width),
        activations=cost.activations,
        backend="plain",
        precision=settings.precision,
    )


def _timed(counted: Measurement, settings: Settings, backends: Sequence[Backend]) -> list[Measurement]:
    """Return the measurements of a network by all backends."""
    task = Task(
        network=counted.network,
        scale=counted.scale,
        height=counted.height,
        width=counted.width,
        device=settings.device.type,
        precision=settings.precision,
        threads=settings.threads,
    )
    with tempfile.TemporaryDirectory() as temporary:
        problem = ""
        if any(backend.package for backend in backends):
            onnx = (settings.exports or Path(temporary)) / f"{counted.network}_x{counted.scale}.onnx"
            problem = _export(task.model(), onnx)
            task = replace(task, onnx=onnx)
        usable = [backend.name for backend in backends if not (backend.package and problem)]
        timings = time_backends(task, usable, rounds=settings.rounds)
    found = []
    for backend in backends:
        own = replace(counted, backend=backend.name, precision=backend.precision or settings.precision)
        timing = timings.get(backend.name, problem)
        found.append(replace(own, remark=timing) if isinstance(timing, str) else replace(own, **vars(timing)))
    return found


def _export(model: nn.Module, path: Path) -> str:
    """Export a network to ONNX; return the reason of a failure, or an empty string."""
    from alkdnet.export.model import export_onnx

    try:
        export_onnx(model, path, metadata={})
    except Exception as error:  # of any type: PyTorch's backends are measured all the same
        return f"not exported: {in_one_line(error)}"
    return ""
