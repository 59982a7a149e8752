"""The history of a training: `models/<run>/history.csv`."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from alkdnet.files import atomic_path
from alkdnet.results.records import damaged


class HistoryRow(NamedTuple):
    """What is recorded of a training at one iteration."""

    iteration: int
    """Finished optimiser steps, from 1."""
    loss: float
    """Mean L1 loss, of values in [0, 1], over the steps since the row before."""
    learning_rate: float
    """Of the row's own step."""
    validation_psnr: float | None
    """Mean over the validation images in dB; None where it was not measured."""

    def values(self) -> dict[str, float]:
        """Return the columns besides the iteration, those without a value left out."""
        values = {"loss": self.loss, "learning_rate": self.learning_rate}
        return values if self.validation_psnr is None else {**values, "validation_psnr": self.validation_psnr}


def write_history(path: Path, rows: Iterable[HistoryRow]) -> None:
    """Write history.csv: a line for each row with all digits; an empty cell where there is no value."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HistoryRow._fields)
        writer.writerows(rows)


def read_history(path: Path) -> list[HistoryRow]:
    """Return the rows that `write_history` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
        if tuple(header) != HistoryRow._fields:
            raise ValueError(f"its columns are not {', '.join(HistoryRow._fields)}")
        return [
            HistoryRow(int(iteration), float(loss), float(rate), float(psnr) if psnr else None)
            for iteration, loss, rate, psnr in lines
        ]
    except (OSError, ValueError, csv.Error) as error:
        raise damaged(path, str(error)) from None
