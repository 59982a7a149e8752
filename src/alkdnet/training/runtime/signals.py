"""Requests to stop: a signal, or the end of the process that waits for the outputs."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from alkdnet.process import is_alive

# Shells that live on when the program that started a command through them is gone.
SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "fish", "ash"))


class Stopped(Exception):  # noqa: N818 - nothing went wrong: it is a request that was fulfilled
    """The training was asked to stop; the message says how it continues, `exit_code` is that of a shell."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class StopRequest:
    """Remembers the first reason to stop.

    Args:
        parent: id of the process that waits for the outputs: without it nobody would record them, and its
            successor would start a second training. None: do not watch.
    """

    def __init__(self, parent: int | None) -> None:
        self.parent = parent
        self.signal: int | None = None

    def reason(self) -> Stopped | None:
        """Return why to stop now, or None."""
        if self.signal is not None:
            return Stopped(signal.Signals(self.signal).name, 128 + self.signal)
        if self.parent is not None and not is_alive(self.parent):
            return Stopped(f"the end of process {self.parent}, which started it", 1)
        return None

    def receive(self, signal_number: int, frame: FrameType | None) -> None:
        """Handle a signal: note it, so that the iteration is finished first."""
        self.signal = signal_number


@contextmanager
def stop_requests(parent: int | None) -> Iterator[StopRequest]:
    """Turn signals into requests while the block runs, if it does in the main thread.

    SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 (what schedulers send before a time limit or a preemption); SIGHUP, a
    closed terminal, stays ignored where it is, as under nohup.
    """
    request = StopRequest(parent)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    earlier = {number: signal.signal(number, request.receive) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def waiting_process() -> int:
    """Return the id of the process that waits for this one: its parent, past shells that run one command.

    DVC starts a stage by the user's shell and `-c`.
    """
    import psutil  # comes with DVC; only trainings that DVC starts call this

    for parent in psutil.Process().parents():
        if not (parent.name() in SHELLS and "-c" in parent.cmdline()):
            return int(parent.pid)
    return 1
