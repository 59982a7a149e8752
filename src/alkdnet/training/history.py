"""The rows of a run's history and the file that holds them."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from alkdnet.files import atomic_path


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


def write_history(path: Path, rows: Iterable[Row]) -> None:
    """Write history.csv: a line for each row with all digits; an empty cell where there is no value."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)
