"""The rows of a run's history and the file that holds them."""

import csv
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from alkdnet.files import atomic_path
from alkdnet.training.runtime.monitor import Monitor


class Row(NamedTuple):
    """What is known of the training at one iteration."""

    iteration: int
    """Finished optimiser steps, from 1."""
    loss: float
    """Mean L1 loss, of values in [0, 1], of the steps since the row before."""
    learning_rate: float
    """Of the row's own step."""
    validation_psnr: float | None
    """Mean over the validation images in dB; None where it was not measured."""

    def values(self) -> dict[str, float]:
        """Return the columns besides the iteration, those without a value left out."""
        values = {"loss": self.loss, "learning_rate": self.learning_rate}
        return values if self.validation_psnr is None else {**values, "validation_psnr": self.validation_psnr}


class History:
    """The rows so far; the validation of the last one may still be going on.

    Args:
        rows: those of the training that is continued.
        monitor: told of every further row when it is complete.
    """

    def __init__(self, rows: Sequence[Row], monitor: Monitor) -> None:
        self._rows = list(rows)
        self._monitor = monitor
        self._awaited: Future[float] | None = None
        known = (row.validation_psnr for row in reversed(self._rows) if row.validation_psnr is not None)
        self._last_psnr = next(known, None)

    @property
    def iteration(self) -> int:
        """That of the last row, 0 if there is none."""
        return self._rows[-1].iteration if self._rows else 0

    def add(self, iteration: int, loss: float, learning_rate: float, psnr: Future[float] | None) -> None:
        """Add a row, when the one before is complete; its PSNR may follow."""
        self.complete()
        self._rows.append(Row(iteration, loss, learning_rate, None))
        self._awaited = psnr
        if psnr is None:
            self._monitor.log(iteration, self._rows[-1].values())

    def complete(self) -> list[Row]:
        """Wait for the validation that goes on, and return all rows."""
        if self._awaited is not None:
            self._last_psnr = self._awaited.result()
            self._rows[-1] = self._rows[-1]._replace(validation_psnr=self._last_psnr)
            self._awaited = None
            self._monitor.log(self._rows[-1].iteration, self._rows[-1].values())
        return self._rows

    def note(self) -> str:
        """Return the last row and the last PSNR that is known in short, for the line of progress."""
        if not self._rows:
            return ""
        psnr = "" if self._last_psnr is None else f", {self._last_psnr:.2f} dB"
        return f"loss {self._rows[-1].loss:.4f}{psnr}, lr {self._rows[-1].learning_rate:.1e}"


def write_history(path: Path, rows: Iterable[Row]) -> None:
    """Write history.csv: a line for each row with all digits; an empty cell where there is no value."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)
