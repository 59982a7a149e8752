"""Timings of trainings: one JSON line each in a file beside MLflow's store, as outputs hold no times.

A training writes its line whether it is logged live or not, so that `sync` can show it.
"""

import dataclasses
import json
from collections.abc import Mapping

from alkdnet.tracking.location import StoreLocation
from alkdnet.tracking.settings import Point
from alkdnet.training.runtime.timing import Timing


def timing_points(timing: Timing) -> tuple[Point, ...]:
    """Return a timing as metrics of a run."""
    figures = {
        "training_seconds": (timing.seconds, 1),
        "iterations_per_second": (timing.iterations_per_second, 2),
        "peak_memory_mib": (timing.peak_memory_mib, 0),
        "peak_gpu_memory_mib": (timing.peak_gpu_memory_mib, 0),
    }
    return tuple(
        Point(key, 0, round(value, digits), timing.started_ms)
        for key, (value, digits) in figures.items()
        if value is not None
    )


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
