"""Following a training in MLflow while it runs, from a thread that the training never waits for."""

import importlib.util
import logging
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import in_one_line
from alkdnet.tracking.place import WORKSPACE, find_origin, find_place
from alkdnet.tracking.record import Point, read_record, settings
from alkdnet.training.runtime.monitor import Monitor, NullMonitor
from alkdnet.training.runtime.signals import Stopped

logger = logging.getLogger(__name__)

PATIENCE_S = 15.0
# No sync follows an experiment of one stage (`dvc exp run train@x`), whose outputs may go with its folder;
# and the workers of a queue wait for each other while one of them creates the store.
EXPERIMENT_PATIENCE_S = 300.0


def open_tracker(
    params: Params,
    paths: Paths,
    run: str,
    root: Path,
    *,
    delay_s: float = 20.0,
    interval_s: float = 5.0,
    retry_s: float = 60.0,
    patience_s: float | None = None,
) -> Monitor:
    """Return a monitor that logs one training run to MLflow; without MLflow, one that does nothing.

    A run outside of a DVC experiment is shown live when it has lasted for `delay_s`: importing MLflow takes
    longer than the shorter ones do, and `sync` writes all of those at once. In an experiment, whose outputs
    may go with its temporary directory, it is logged from the start.

    Args:
        params: the pipeline's parameters.
        paths: its outputs.
        run: key in `runs`.
        root: the main repository (DVC_ROOT wins).
        delay_s: see above.
        interval_s: seconds between two batches.
        retry_s: seconds until a store that failed is tried again.
        patience_s: the longest that `close` waits for the rest to be written; None: 15 s, in a DVC experiment
            5 minutes.
    """
    if importlib.util.find_spec("mlflow") is None:
        logger.info("MLflow is not installed: the training is not tracked")
        return NullMonitor()
    in_experiment = find_origin().group != WORKSPACE
    if in_experiment:
        delay_s = 0.0
    if patience_s is None:
        patience_s = EXPERIMENT_PATIENCE_S if in_experiment else PATIENCE_S
    return Tracker(
        params,
        paths,
        run,
        root,
        delay_s=delay_s,
        interval_s=interval_s,
        retry_s=retry_s,
        patience_s=patience_s,
    )


class Tracker:
    """The monitor of `open_tracker`.

    The thread imports MLflow, creates the database and the run, and writes in batches; the training's calls
    only append to a list. When the store fails, the points wait for the next attempt, and what is lost in the
    end, `sync` adds from the outputs.

    The run is found again by a tag `session` that this class invents and that the checkpoint keeps: unlike
    MLflow's run id it is there before the store answers.
    """

    def __init__(
        self,
        params: Params,
        paths: Paths,
        run: str,
        root: Path,
        *,
        delay_s: float,
        interval_s: float,
        retry_s: float,
        patience_s: float,
    ) -> None:
        self._params = params
        self._paths = paths
        self._run = run
        self._root = root
        self._interval_s = interval_s
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._session = uuid.uuid4().hex
        self._status = "RUNNING"
        self._warned = False
        self._opened_ms = _now_ms()
        self._starts = time.monotonic() + delay_s
        self._queue: SimpleQueue[Point] = SimpleQueue()
        self._started = False
        self._closing = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def resume(self, state: str) -> None:
        """Continue the run of an earlier process; points that it has are dropped."""
        self._session = state or self._session

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Queue the values."""
        now = _now_ms()
        for key, value in values.items():
            self._queue.put(Point(key, iteration, value, now))
        if not self._started and time.monotonic() >= self._starts:
            self._start()

    def state(self) -> str:
        """Return the session, by which a resumed training finds its run."""
        return self._session

    def close(self, *, finished: bool) -> None:
        """Write the rest, waiting `patience_s` at most."""
        # The loop closes its monitor while the exception that ended it, if one did, is on its way out.
        self._status = "FINISHED" if finished else _status_after(sys.exception())
        self._closing.set()
        if not self._started and time.monotonic() < self._starts:
            return
        if not self._started:
            self._start()
        self._thread.join(self._patience_s)
        if self._thread.is_alive():
            self._warn("no answer")

    def _start(self) -> None:
        self._started = True
        self._thread.start()

    def _work(self) -> None:
        """Write batches until closed; connect again after a failure."""
        waiting: list[Point] = []
        writer: _Writer | None = None
        while True:
            closing = self._closing.is_set()
            while not self._queue.empty():
                waiting.append(self._queue.get())
            pause_s = self._interval_s
            try:
                writer = writer or _Writer(
                    self._params, self._paths, self._run, self._root, self._session, self._opened_ms
                )
                writer.write(waiting)
                waiting = []
                if closing:
                    writer.end(self._status)
            except Exception as error:  # whatever it is, the training goes on
                self._warn(in_one_line(error))
                writer = None
                pause_s = self._retry_s
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


class _Writer:
    """The connected side of a tracker: one run in the store.

    Args:
        params: the pipeline's parameters.
        paths: its outputs.
        run: key in `runs`.
        root: the main repository.
        session: tag by which the run of an earlier process, or of an earlier connection, is found.
        opened_ms: when the training began.
    """

    def __init__(
        self, params: Params, paths: Paths, run: str, root: Path, session: str, opened_ms: int
    ) -> None:
        from alkdnet.tracking.store import Store  # imports MLflow, which takes seconds

        self._params, self._paths, self._run = params, paths, run
        self._store = Store(find_place(root), params.name)
        self._origin = find_origin()
        stored = self._store.runs()
        self._store.end_dead(stored)
        own = [entry for entry in stored if entry.data.tags.get("session") == session]
        if own and own[0].info.lifecycle_stage == "active":
            self._id = own[0].info.run_id
            self._store.reopen(self._id, self._origin)
            self._known = self._store.known_points(self._id)
        else:
            self._id = self._store.create(run, self._origin, tags={"session": session}, time_ms=opened_ms)
            self._known = set()
            row = params.runs[run]
            tags = {"label": params.report.labels.get(run, run)}
            self._store.log_settings(self._id, settings(row, params.train), tags)

    def write(self, points: list[Point]) -> None:
        """Log the points that the run does not have yet."""
        fresh = {(point.key, point.iteration): point for point in points}
        fresh = {place: point for place, point in fresh.items() if place not in self._known}
        self._store.log_points(self._id, list(fresh.values()))
        self._known.update(fresh)

    def end(self, status: str) -> None:
        """End the run; a FINISHED one gets all that the outputs hold."""
        if status == "FINISHED":
            from alkdnet.tracking.mirror import fill

            record = read_record(self._params, self._paths, self._run, trained_only=True)
            if record is not None:
                fill(self._store, self._store.get(self._id), record)
        self._store.end(self._id, status)


def _status_after(error: BaseException | None) -> str:
    """Return MLflow's status of a run that did not finish: FAILED by an error, KILLED by someone's wish."""
    return "FAILED" if isinstance(error, Exception) and not isinstance(error, Stopped) else "KILLED"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
