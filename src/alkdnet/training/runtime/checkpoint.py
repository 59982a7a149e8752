"""The state of a run on disk: written whole or not at all, with one owner, checked when read."""

import dataclasses
import hashlib
import io
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from alkdnet.errors import UserError, in_one_line
from alkdnet.files import atomic_path
from alkdnet.results.history import HistoryRow

logger = logging.getLogger(__name__)

# Part of the identity of a run: to be raised with any change of the file's layout.
FORMAT = "alkdnet-checkpoint 3"


@dataclasses.dataclass(frozen=True)
class State:
    """All that the rest of a run follows from, besides its configuration and data."""

    iteration: int
    """Finished optimiser steps."""
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    """The average of the weights; empty: the recipe has none."""
    optimizer: dict[str, Any]
    rows: list[HistoryRow]
    loss_sum: float
    """Sum of the losses since the last row."""
    monitor: str
    """What the monitor asked to keep."""


class CheckpointFile:
    """The checkpoint of one run: `folder/<run>-<start of its identity>.ckpt`, or .finished after its end.

    The first line holds the format, the identity and the SHA-256 of the rest, so that a torn or foreign file
    is distinguished from a good one.

    A finished run's checkpoint stays until the run is trained again: whoever kills DVC before it has recorded
    the outputs makes it delete them, and the next start must not train again.

    Args:
        folder: where checkpoints lie; it outlives the run's outputs.
        run: name of the run.
        identity: digest of all that determines the run (see identity.py).
    """

    def __init__(self, folder: Path, run: str, identity: str) -> None:
        self.folder = folder
        self.run = run
        self.identity = identity
        self.path = folder / f"{run}-{identity[:16]}.ckpt"
        self.finished = self.path.with_suffix(".finished")

    @property
    def existing(self) -> Path:
        """The file to continue from: the checkpoint, or without one that of a finished run."""
        return self.path if self.path.exists() else self.finished

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's lock while the block runs; the operating system frees it if the process dies.

        Raises:
            UserError: another process trains the same run.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.run}: another process trains this very run already (it holds {lock.lock_file}); "
                "wait for it, or stop it: its checkpoint will be continued"
            ) from None
        with lock:
            yield

    def write(self, state: State) -> None:
        """Replace the checkpoint; after an OSError (disk full) the one before is still there."""
        buffer = io.BytesIO()
        fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
        torch.save({**fields, "rows": [tuple(row) for row in state.rows]}, buffer)
        content = buffer.getbuffer()
        header = f"{FORMAT} {self.identity} {hashlib.sha256(content).hexdigest()}\n"
        with atomic_path(self.path) as temporary, temporary.open("wb") as file:
            file.write(header.encode())
            file.write(content)

    def read(self) -> State | None:
        """Return the state to continue from, or None when the run starts at the beginning, and say which.

        A damaged file is moved aside under the suffix .damaged, checkpoints of the run under another identity
        are left alone; both are said in the log.
        """
        path = self.existing
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            for other in self.folder.glob(f"{self.run}-????????????????.finished"):
                other.unlink(missing_ok=True)  # another experiment may do the same
            for other in sorted(self.folder.glob(f"{self.run}-????????????????.ckpt")):
                logger.warning("%s: not continued, it is of other settings, data or code", other)
            return None
        header, _, payload = content.partition(b"\n")
        expected = f"{FORMAT} {self.identity} {hashlib.sha256(payload).hexdigest()}"
        try:
            if header != expected.encode():
                raise ValueError("its first line or digest is wrong")
            state = _state(payload)
        except ValueError as error:
            aside = path.replace(self.path.with_suffix(".damaged"))
            logger.warning(
                "%s: damaged or of another format (%s); moved aside as %s; the training starts at the "
                "beginning",
                path,
                error,
                aside.name,
            )
            return None
        logger.info("%s: continued after iteration %d", self.run, state.iteration)
        return state

    def finish(self) -> None:
        """Mark the checkpoint as that of a finished run."""
        if self.path.exists():
            self.path.replace(self.finished)


def _state(payload: bytes) -> State:
    """Return the state that `CheckpointFile.write` packed; raise ValueError if it is something else."""
    try:
        content: Any = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes may raise almost any exception in torch
        raise ValueError(in_one_line(error)) from None
    names = {field.name for field in dataclasses.fields(State)}
    if not isinstance(content, dict) or content.keys() != names:
        raise ValueError(f"it does not hold {', '.join(sorted(names))}")
    right = {
        "iteration": _is_count(content["iteration"]),
        "model": _is_tensors(content["model"]),
        "average": _is_tensors(content["average"]),
        "optimizer": _is_dict(content["optimizer"], str),
        "rows": isinstance(content["rows"], list) and all(map(_is_row, content["rows"])),
        "loss_sum": isinstance(content["loss_sum"], float) and math.isfinite(content["loss_sum"]),
        "monitor": isinstance(content["monitor"], str),
    }
    if wrong := [name for name in right if not right[name]]:
        raise ValueError(f"wrong {', '.join(wrong)}")
    return State(**{**content, "rows": [HistoryRow(*row) for row in content["rows"]]})


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_dict(value: object, keys: type) -> bool:
    return isinstance(value, dict) and all(isinstance(key, keys) for key in value)


def _is_tensors(value: object) -> bool:
    return isinstance(value, dict) and _is_dict(value, str) and all(map(torch.is_tensor, value.values()))


def _is_row(value: object) -> bool:
    if not isinstance(value, tuple) or len(value) != len(HistoryRow._fields):
        return False
    iteration, loss, rate, *optional = value
    numbers = [loss, rate, *(number for number in optional if number is not None)]
    return _is_count(iteration) and all(isinstance(number, float) for number in numbers)
