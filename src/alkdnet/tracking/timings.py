"""How long trainings took: a line for each in a file beside MLflow's store, since outputs hold no times.

A training records its time there whether it is followed live or not, so that the mirror knows it.
"""

import dataclasses
import json
from collections.abc import Mapping

from alkdnet.tracking.location import StoreLocation
from alkdnet.tracking.settings import Point


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """One training.

    Attributes:
        weights_sha256: of its outcome.
        started_ms: when it began (its last part, if it was resumed), in milliseconds since 1970.
        seconds: that it ran, over all of its parts.
        iterations_per_second: between the first and the last row of its history; None: one row.
    """

    weights_sha256: str
    started_ms: int
    seconds: float
    iterations_per_second: float | None

    def end_ms(self, start_ms: int) -> int:
        """Return when a run that started at `start_ms` would have ended without pauses."""
        return start_ms + round(self.seconds * 1000)

    def points(self) -> tuple[Point, ...]:
        """Return the times as figures of a run."""
        points = [Point("training_seconds", 0, round(self.seconds, 1), self.started_ms)]
        if self.iterations_per_second is not None:
            rate = round(self.iterations_per_second, 2)
            points.append(Point("iterations_per_second", 0, rate, self.started_ms))
        return tuple(points)


def write_timing(location: StoreLocation, timing: Timing) -> None:
    """Add a line, in one write: trainings may end at the same time."""
    location.timings.parent.mkdir(parents=True, exist_ok=True)
    with location.timings.open("a", encoding="utf-8") as file:
        file.write(json.dumps(dataclasses.asdict(timing)) + "\n")


def read_timings(location: StoreLocation) -> Mapping[str, Timing]:
    """Return the times by `weights_sha256`, the first of each; an incomplete line is skipped."""
    timings: dict[str, Timing] = {}
    lines = location.timings.read_text(encoding="utf-8").splitlines() if location.timings.is_file() else []
    for line in lines:
        try:
            timing = Timing(**json.loads(line))
        except (TypeError, ValueError):
            continue
        timings.setdefault(timing.weights_sha256, timing)
    return timings
