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
    """Mean loss by the recipe, of values in [0, 1], over the steps since the row before."""
    learning_rate: float
    """Of the row's own step."""
    validation_psnr: float | None
    """Mean over the validation images in dB; None where it was not measured."""
    validation_psnr_ema: float | None = None
    """The same with the average of the weights; None also where the recipe has none."""
    gradient_norm: float | None = None
    """Of the row's own step before clipping; None: the recipe does not clip."""

    def values(self) -> dict[str, float]:
        """Return the columns besides the iteration, those without a value left out."""
        values = self._asdict()
        del values["iteration"]
        return {name: value for name, value in values.items() if value is not None}


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
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):  # cut off, maybe within a number
            raise ValueError("its last line is not complete")
        header, *lines = csv.reader(text.splitlines())
        if tuple(header) != HistoryRow._fields:
            raise ValueError(f"its columns are not {', '.join(HistoryRow._fields)}")
        return [
            HistoryRow(int(iteration), float(loss), float(rate), _number(psnr), _number(ema), _number(norm))
            for iteration, loss, rate, psnr, ema, norm in lines
        ]
    except (OSError, ValueError, csv.Error) as error:
        raise damaged(path, str(error)) from None


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
