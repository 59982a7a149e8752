"""System metrics as MLflow's `log_system_metrics` measures them."""

import contextlib
import time
from typing import Any

from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from alkdnet.tracking.settings import Point

INTERVAL_S = 30.0


class SystemMetrics:
    """The metrics without MLflow's own writing thread; those of GPUs need nvidia-ml-py."""

    def __init__(self) -> None:
        self._monitors: list[Any] = [kind() for kind in (CPUMonitor, DiskMonitor, NetworkMonitor)]
        with contextlib.suppress(Exception):  # no GPU, or no library for it
            self._monitors.append(GPUMonitor())  # type: ignore[no-untyped-call]
        for monitor in self._monitors:  # the processor's use is measured since the call before
            monitor.collect_metrics()
            monitor.clear_metrics()
        self._next = time.monotonic() + INTERVAL_S

    def points(self, iteration: int) -> list[Point]:
        """Return the present values, every `INTERVAL_S` seconds."""
        if time.monotonic() < self._next:
            return []
        self._next = time.monotonic() + INTERVAL_S
        now_ms = time.time_ns() // 1_000_000
        points = []
        for monitor in self._monitors:
            monitor.collect_metrics()
            values = monitor.aggregate_metrics()
            points += [Point(f"system/{key}", iteration, value, now_ms) for key, value in values.items()]
            monitor.clear_metrics()
        return points
