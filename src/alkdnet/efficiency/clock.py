"""The time of a call, and the load by other processes meanwhile."""

import time
from collections.abc import Callable
from pathlib import Path


def timed(call: Callable[[], object], *, processors: int) -> tuple[float, float]:
    """Return the seconds of a call, and the load by other processes as a share of `processors`."""
    busy, own, start = _busy(), time.process_time(), time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    others = _busy() - busy - (time.process_time() - own) - 0.02  # the kernel counts in 0.01 s
    return seconds, max(others, 0.0) / (seconds * processors)


def _busy() -> float:
    """Return the seconds that all processors have worked so far; 0 where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / 100
