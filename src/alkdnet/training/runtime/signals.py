"""Being asked to stop: by Ctrl-C, by SIGTERM, or because the process that wanted the result is gone."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

# Known by the name of the program.
SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "fish", "ash"))


class Stopped(Exception):  # noqa: N818 - nothing went wrong: it is a request that was fulfilled
    """The training was asked to stop; the message tells how it goes on, `exit_code` is that of a shell."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class StopRequest:
    """Remembers the first reason to stop.

    Args:
        starter: process id of the program that started the training and waits for its outputs; when it has
            died, nobody would take them, and its successor would start a second trainer. None: do not watch.
    """

    def __init__(self, starter: int | None) -> None:
        self.starter = starter
        self.signal: int | None = None

    def reason(self) -> Stopped | None:
        """Return why to stop now, or None."""
        if self.signal is not None:
            return Stopped(signal.Signals(self.signal).name, 128 + self.signal)
        if self.starter is not None and not is_alive(self.starter):
            return Stopped(f"process {self.starter}, which started it, is gone", 1)
        return None

    def receive(self, signal_number: int, frame: FrameType | None) -> None:
        """Handle a signal: note it, so that the iteration is finished first."""
        self.signal = signal_number


@contextmanager
def stop_requests(starter: int | None) -> Iterator[StopRequest]:
    """Turn SIGINT, SIGTERM and SIGHUP into requests while the block runs, if it does in the main thread.

    SIGHUP, a closed terminal, stays ignored where it is, as under nohup.
    """
    request = StopRequest(starter)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    earlier = {number: signal.signal(number, request.receive) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def is_alive(process: int) -> bool:
    """Return whether there is a process of this id that has not ended (a zombie has)."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:  # no /proc on this system, or it ended just now: the next look will tell
        return True
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def caller() -> int:
    """Return the id of the process that waits for this one: its parent, past those that only pass on work.

    These are shells that run one command (DVC starts a stage by the user's shell and `-c`); they live on when
    the program that called them is gone.
    """
    process = os.getppid()
    while process > 1:
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
            status = Path(f"/proc/{process}/stat").read_text()
        except OSError:  # no /proc on this system: the parent must do
            break
        if not (Path(words[0]).name.lstrip("-") in SHELLS and "-c" in words):
            break
        process = int(status.rpartition(")")[2].split()[1])
    return process
