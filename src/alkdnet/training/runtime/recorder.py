"""The rows of a training's history while it goes on."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from alkdnet.results.history import HistoryRow
from alkdnet.training.runtime.monitor import Monitor


class Recorder:
    """The rows so far; the validation of the last one may still be going on.

    Args:
        rows: those of the training that is continued.
        monitor: receives every further row when it is complete.
    """

    def __init__(self, rows: Sequence[HistoryRow], monitor: Monitor) -> None:
        self._rows = list(rows)
        self._monitor = monitor
        self._awaited: Mapping[str, Future[float]] = {}
        known = (row.validation_psnr for row in reversed(self._rows) if row.validation_psnr is not None)
        self._last_psnr = next(known, None)

    @property
    def iteration(self) -> int:
        """That of the last row, 0 if there is none."""
        return self._rows[-1].iteration if self._rows else 0

    def add(self, row: HistoryRow, awaited: Mapping[str, Future[float]]) -> None:
        """Add a row, when the one before is complete; the columns in `awaited` follow."""
        self.complete()
        self._rows.append(row)
        self._awaited = awaited
        if not awaited:
            self._monitor.log(row.iteration, row.values())

    def complete(self) -> list[HistoryRow]:
        """Wait for the validation that goes on, and return all rows."""
        if self._awaited:
            found = {column: psnr.result() for column, psnr in self._awaited.items()}
            self._rows[-1] = HistoryRow(**{**self._rows[-1]._asdict(), **found})
            self._awaited = {}
            self._last_psnr = self._rows[-1].validation_psnr
            self._monitor.log(self._rows[-1].iteration, self._rows[-1].values())
        return self._rows

    def note(self) -> str:
        """Return the last row and the last PSNR that is known in short, for the line of progress."""
        if not self._rows:
            return ""
        psnr = "" if self._last_psnr is None else f", {self._last_psnr:.2f} dB"
        return f"loss {self._rows[-1].loss:.4f}{psnr}, lr {self._rows[-1].learning_rate:.1e}"
