"""Logging a training to MLflow while it runs, from a thread that the training never waits for."""

import importlib.util
import logging
import math
import os
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError, in_one_line
from alkdnet.results.run import RunRecord
from alkdnet.tracking.location import WORKSPACE, DeletedExperimentError, find_group, find_origin, find_store
from alkdnet.tracking.settings import Point, settings, training_settings
from alkdnet.tracking.timings import timing_points, write_timing
from alkdnet.training.runtime.monitor import Monitor
from alkdnet.training.runtime.signals import Stopped
from alkdnet.training.runtime.timing import Timing, measure_timing

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 15.0
# No sync may follow an experiment of one stage (`dvc exp run train@x`); and the workers of a queue wait for
# each other while one of them creates the store.
EXPERIMENT_CLOSE_TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """When a `Tracker` writes, in seconds.

    Attributes:
        delay_s: from the start to the first batch: importing MLflow takes longer than the shorter trainings
            do, and `sync` writes all of those at once. 0 in a DVC experiment.
        batch_s: between two batches.
        retry_s: until a failed store is tried again.
        close_s: the longest that `close` waits for the last batch; None: 15 s, in a DVC experiment 5 minutes.
    """

    delay_s: float = 20.0
    batch_s: float = 5.0
    retry_s: float = 60.0
    close_s: float | None = None


def open_tracker(
    params: Params, paths: Paths, run: str, root: Path, *, intervals: Intervals | None = None
) -> Monitor:
    """Return the `Tracker` of a training, with the same arguments; without MLflow it only measures time."""
    intervals = intervals or Intervals()
    is_missing = importlib.util.find_spec("mlflow") is None
    if is_missing:
        logger.info("MLflow is not installed: the training is not tracked")
    if is_missing or _is_mirrored_later(root):
        intervals = replace(intervals, delay_s=math.inf)  # nothing but the timing is kept
    return Tracker(params, paths, run, root, intervals)


def _is_mirrored_later(root: Path) -> bool:
    """Return whether this is a job of a cluster and the store a file, which no network disk shares safely.

    The host that submitted the job mirrors its outputs.
    """
    try:
        return "SUBMITIT_EXECUTOR" in os.environ and find_store(root).database is not None
    except UserError:  # a tracker says that, once
        return False


class Tracker:
    """A monitor that logs one training run to MLflow.

    A thread imports MLflow, creates the database and the run, and writes in batches; the training's calls
    only append to a queue. When the store fails, the points wait for the next attempt. What the outputs
    hold is left to `sync`, as are points that could not be written.

    Args:
        params: the pipeline's parameters.
        paths: its outputs.
        run: key in `runs`.
        root: the main repository (DVC_ROOT wins).
        intervals: when to write.
    """

    def __init__(self, params: Params, paths: Paths, run: str, root: Path, intervals: Intervals) -> None:
        in_experiment = find_group() != WORKSPACE
        default_close_s = EXPERIMENT_CLOSE_TIMEOUT_S if in_experiment else CLOSE_TIMEOUT_S
        self._close_s = default_close_s if intervals.close_s is None else intervals.close_s
        self._delay_s = 0.0 if in_experiment and intervals.delay_s < math.inf else intervals.delay_s
        self._intervals = intervals
        self._root = root
        self._output = paths.model(run)
        self._device = params.execution.device
        self._connect = partial(_RunWriter, params, run, root)
        # The tag by which a resumed training finds its run: unlike MLflow's id, it is known at once.
        self._session = uuid.uuid4().hex
        self._opened_ms = _now_ms()
        self._opened = time.monotonic()
        self._seconds_before = 0.0
        self._rows: list[tuple[int, float]] = []
        self._status = "RUNNING"
        self._timing: Timing | None = None
        self._warned = False
        self._queue: SimpleQueue[Point] = SimpleQueue()
        self._closing = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def resume(self, state: str) -> None:
        """Continue the run of an earlier process; points that it has are dropped."""
        session, _, seconds = state.partition(" ")
        self._session = session or self._session
        self._seconds_before = float(seconds or 0)

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Queue the values."""
        now_ms = _now_ms()
        for key, value in values.items():
            self._queue.put(Point(key, iteration, value, now_ms))
        self._rows[1:] = [(iteration, time.monotonic())]  # the first row and the last
        self._start_if_due()

    def state(self) -> str:
        """Return the session, and for how many seconds it has trained."""
        return f"{self._session} {self._seconds():.1f}"

    def close(self, *, finished: bool) -> None:
        """Write the rest, waiting for a limited time."""
        # The loop closes its monitor while the exception that ended it, if one did, propagates.
        self._status = "FINISHED" if finished else _status_after(sys.exception())
        if finished:
            self._keep_timing()
        self._closing.set()
        self._start_if_due()
        if self._thread.ident is None:
            return
        self._thread.join(self._close_s)
        if self._thread.is_alive():
            self._warn("no answer")

    def _start_if_due(self) -> None:
        if self._thread.ident is None and time.monotonic() - self._opened >= self._delay_s:
            self._thread.start()

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._opened

    def _keep_timing(self) -> None:
        """Record time and memory of the training."""
        try:
            rate = None
            if len(self._rows) > 1:
                (first, begin), (last, end) = self._rows
                rate = (last - first) / (end - begin)
            self._timing = measure_timing(
                self._device,
                weights_sha256=RunRecord.read(self._output).weights_sha256,
                started_ms=self._opened_ms,
                seconds=self._seconds(),
                iterations_per_second=rate,
            )
            write_timing(find_store(self._root), self._timing)
        except Exception as error:  # as in the thread
            self._warn(in_one_line(error))

    def _work(self) -> None:
        """Write batches until closed; connect again after a failure."""
        waiting: list[Point] = []
        writer: _RunWriter | None = None
        while True:
            closing = self._closing.is_set()
            while not self._queue.empty():
                waiting.append(self._queue.get())
            pause_s = self._intervals.batch_s
            try:
                writer = writer or self._connect(self._session, self._opened_ms)
                writer.write(waiting)
                waiting = []
                if closing:
                    writer.end(self._status, self._timing)
            except DeletedExperimentError as deleted:
                logger.info("the training is not tracked: %s", deleted)
                return
            except Exception as error:  # whatever it is, the training goes on
                self._warn(in_one_line(error))
                writer = None
                pause_s = self._intervals.retry_s
            if closing:
                return
            self._closing.wait(pause_s)

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "MLflow fails (%s); the training goes on, and what is missing there is added from the outputs"
                " by `make mlflow-sync`",
                reason,
            )


class _RunWriter:
    """Writes one run to the store.

    `session` is the tag by which the run of an earlier process, or of an earlier connection, is found.
    """

    def __init__(self, params: Params, run: str, root: Path, session: str, opened_ms: int) -> None:
        # They import MLflow, which takes seconds.
        from alkdnet.tracking.store import Store
        from alkdnet.tracking.system_metrics import SystemMetrics

        self._run = run
        self._store = Store(find_store(root), params.pipeline)
        origin = find_origin()
        stored = self._store.runs()
        self._store.kill_orphans(stored)
        own = [entry for entry in stored if entry.data.tags.get("session") == session]
        if own and own[0].info.lifecycle_stage == "active":
            self._id = own[0].info.run_id
            self._store.reopen(self._id, origin)
        else:
            row = params.trained[run]
            tags = {"session": session, "label": params.report.labels.get(run, run)}
            self._id = self._store.create(run, origin, tags=tags, start_ms=opened_ms)
            shown = settings(row) | training_settings(row, row.seed, params.recipes[row.recipe])
            self._store.log_settings(self._id, shown, {})
        self._system = SystemMetrics()

    def write(self, points: Sequence[Point]) -> None:
        """Log the points, and the system metrics."""
        self._store.log_points(self._id, points)
        if points:
            self._store.log_points(self._id, self._system.points(points[-1].iteration))

    def end(self, status: str, timing: Timing | None) -> None:
        """End the run; one that finished records its weights, by which `sync` knows it.

        It is deleted if the store has a run that came to the same weights: a forced repetition.
        """
        if timing is None:
            self._store.end(self._id, status, _now_ms())
            return
        start_ms = self._store.get(self._id).info.start_time
        self._store.end(self._id, status, timing.end_ms(start_ms))
        weights = timing.weights_sha256
        with self._store.location.locked():
            for other in self._store.runs():
                tags, info = other.data.tags, other.info
                is_same = tags["run"] == self._run and tags.get("weights_sha256") == weights
                if is_same and info.lifecycle_stage == "active" and info.run_id != self._id:
                    self._store.delete(self._id)
                    return
            tags = {"weights_sha256": weights, "device": timing.device}
            self._store.log_settings(self._id, {}, tags)
        self._store.log_points(self._id, timing_points(timing))


def _status_after(error: BaseException | None) -> str:
    """Return MLflow's status of a run that did not finish: FAILED after an error, KILLED after a signal."""
    return "FAILED" if isinstance(error, Exception) and not isinstance(error, Stopped) else "KILLED"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
