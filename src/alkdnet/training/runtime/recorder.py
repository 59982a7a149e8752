"""The rows of a training's history while it goes on."""

from collections.abc import Sequence
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
        self._rows.append(HistoryRow(iteration, loss, learning_rate, None))
        self._awaited = psnr
        if psnr is None:
            self._monitor.log(iteration, self._rows[-1].values())

    def complete(self) -> list[HistoryRow]:
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
