"""Processes of this host: whether one is alive, and the peak memory of this one."""

import os
import sys


def is_alive(process: int) -> bool:
    """Return whether a process of this id runs; a zombie does not, where psutil is installed to tell."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    try:
        import psutil  # comes with DVC
    except ImportError:
        return True
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def peak_memory_mib() -> float | None:
    """Return the peak resident memory of this process so far; None: the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
