"""Progress of long work: a bar on a terminal, a plain line a minute in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar

try:
    from tqdm import tqdm
except ImportError:  # a bare GPU host: the log lines remain
    tqdm = None  # type: ignore[assignment, misc]

T = TypeVar("T")
logger = logging.getLogger(__name__)
LOG_INTERVAL_S = 60.0
# Short, so that 80 columns hold a note too: tqdm cuts off what is longer.
_BAR = "{desc} |{bar:6}| {n_fmt}/{total_fmt} {remaining} {rate_fmt}{postfix}"
# Units as a bar shows them.
_SHORT = {"": "it", "iterations": "it"}


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
        self._note = ""
        self._started = self._logged = time.monotonic()
        self._initial = self._logged_done = initial
        self._bar = None
        if tqdm is not None and sys.stderr.isatty():
            self._bar = tqdm(
                total=total,
                desc=description,
                unit=_SHORT.get(unit, f" {unit}"),
                unit_scale=unit == "B",
                initial=initial,
                dynamic_ncols=True,
                bar_format=None if total is None else _BAR,
                smoothing=0.02,  # a minute's pace rather than a second's
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
        # Since the last line: what came before may have been slower, a compiler or a first download.
        rate = (self.done - self._logged_done) / max(now - self._logged, 1e-9)
        self._logged, self._logged_done = now, self.done
        of_total = f"/{self.total}" if self.total is not None else ""
        left = ""
        if self.done == self.total:
            left = f", {timedelta(seconds=round(now - self._started))} in all"
        elif self.total is not None and rate > 0:
            left = f", {timedelta(seconds=round((self.total - self.done) / rate))} left"
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
            self._logged, self._logged_done = self._started, self._initial  # the mean of it all
            self._log()


def progress(items: Iterable[T], *, total: int | None, description: str, unit: str = "") -> Iterator[T]:
    """Yield the items while their count is shown."""
    with Progress(total, description=description, unit=unit) as shown:
        for item in items:
            yield item
            shown.advance()
