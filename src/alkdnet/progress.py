"""Progress of long work: a bar on a terminal, a plain line a minute in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

try:
    from tqdm import tqdm
except ImportError:  # a bare GPU host: the log lines remain
    tqdm = None  # type: ignore[assignment, misc]

T = TypeVar("T")
logger = logging.getLogger(__name__)
LOG_INTERVAL_S = 60.0


class Progress:
    """Counts up to `total` units of work and shows it; use as a context manager.

    On a terminal it draws a bar on stderr. Elsewhere it logs a line at the first update after every
    `LOG_INTERVAL_S` seconds, and one at the end of anything that took longer than that.
    """

    def __init__(self, total: int | None, *, description: str, unit: str = "", initial: int = 0) -> None:
        self.total = total
        self.description = description
        self.unit = unit
        self.done = initial
        self._initial = initial
        self._note = ""
        self._started = self._logged = time.monotonic()
        self._bar = None
        if tqdm is not None and sys.stderr.isatty():
            self._bar = tqdm(
                total=total,
                desc=description,
                unit=f" {unit}" if unit else "it",
                unit_scale=unit == "B",
                initial=initial,
                dynamic_ncols=True,
            )

    def advance(self, units: int = 1, *, note: str = "") -> None:
        """Add finished units; `note` (loss, rate, file name) is shown behind the counts."""
        self.done += units
        self._note = note or self._note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(units)
        elif time.monotonic() - self._logged >= LOG_INTERVAL_S:
            self._log()

    def _log(self) -> None:
        now = time.monotonic()
        self._logged = now
        rate = (self.done - self._initial) / max(now - self._started, 1e-9)
        of_total = f"/{self.total}" if self.total is not None else ""
        left = (
            f", {(self.total - self.done) / rate:.0f} s left" if self.total is not None and rate > 0 else ""
        )
        logger.info(
            "%s: %d%s %s, %.4g/s%s%s",
            self.description,
            self.done,
            of_total,
            self.unit,
            rate,
            left,
            f", {self._note}" if self._note else "",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._logged != self._started:
            self._log()


def progress(items: Iterable[T], *, total: int | None, description: str, unit: str = "") -> Iterator[T]:
    """Yield the items while their count is shown."""
    with Progress(total, description=description, unit=unit) as shown:
        for item in items:
            yield item
            shown.advance()
