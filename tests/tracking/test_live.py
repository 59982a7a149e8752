"""A training that is followed live pays nothing for it, whatever the store does."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.tracking import live
from alkdnet.tracking.live import Intervals, Tracker, open_tracker
from alkdnet.tracking.location import find_store
from alkdnet.tracking.settings import Point
from alkdnet.tracking.timings import read_timings
from alkdnet.training.runtime.monitor import Monitor
from alkdnet.training.runtime.signals import Stopped
from alkdnet.training.runtime.timing import Timing


class Store:
    """Stands in for the connected side: keeps what is written, or fails on demand."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.sessions: list[str] = []
        self.ends: list[str] = []
        self.failures = 0
        self.gate = threading.Event()
        self.gate.set()
        self.timing: Timing | None = None

    def __call__(self, params: Params, run: str, root: Path, session: str, opened_ms: int) -> "Store":
        self.sessions.append(session)
        return self

    def write(self, points: list[Point]) -> None:
        self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("rejected by http://me:secret@host\nand more")
        self.points += points

    def end(self, status: str, timing: Timing | None) -> None:
        self.ends.append(status)
        self.timing = timing


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    fake = Store()
    monkeypatch.setattr(live, "_RunWriter", fake)
    return fake


@pytest.fixture
def tracker(params: Params, paths: Paths, project: Path, store: Store) -> Tracker:
    return Tracker(
        params,
        paths,
        "small",
        project,
        intervals=Intervals(delay_s=0.0, batch_s=0.01, retry_s=0.01, close_s=5.0),
    )


@pytest.fixture(autouse=True)
def _outputs(train: Callable[..., None]) -> None:
    """The outputs of a training that finishes."""
    train("small")


def follow(monitor: Monitor, iterations: int = 5, pause_s: float = 0.01) -> None:
    for iteration in range(1, iterations + 1):
        monitor.log(iteration, {"loss": 1 / iteration, "learning_rate": 0.1})
        time.sleep(pause_s)


def end_by(monitor: Monitor, error: BaseException) -> None:
    """Close the monitor as the training loop does when an exception ends it."""
    with ExitStack() as stack:
        stack.callback(lambda: monitor.close(finished=False))
        raise error


def test_a_job_of_a_cluster_leaves_a_store_in_a_file_alone(
    params: Params, paths: Paths, project: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    tracker = open_tracker(params, paths, "small", project)
    follow(tracker)
    tracker.close(finished=True)
    assert store.sessions == []
    assert len(read_timings(find_store(project))) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    tracker = open_tracker(params, paths, "small", project, intervals=Intervals(delay_s=0.0))
    follow(tracker)
    tracker.close(finished=True)
    assert len(store.sessions) == 1


def test_every_point_is_written_once_and_in_order(tracker: Tracker, store: Store) -> None:
    follow(tracker)
    tracker.close(finished=True)
    written = [(point.key, point.iteration) for point in store.points]
    assert written == [(key, i) for i in range(1, 6) for key in ("loss", "learning_rate")]
    assert store.points[2].value == 0.5
    assert store.ends == ["FINISHED"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Stopped("SIGTERM", 143), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
        (UserError("the loss has exploded"), "FAILED"),
        (MemoryError(), "FAILED"),
    ],
)
def test_a_run_that_ends_early_is_ended_as_what_ended_it(
    tracker: Tracker, store: Store, error: BaseException, status: str
) -> None:
    follow(tracker, 1)
    with pytest.raises(type(error)):
        end_by(tracker, error)
    assert store.ends == [status]


def test_a_store_that_fails_is_tried_again_and_said_once(
    tracker: Tracker, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.failures = 3
    follow(tracker, 10)
    tracker.close(finished=True)
    written = [(point.key, point.iteration) for point in store.points]
    assert written == [(key, i) for i in range(1, 11) for key in ("loss", "learning_rate")]
    warnings = [entry.message for entry in caplog.records if entry.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "ConnectionError: rejected by http://***@host" in warnings[0]
    assert "make mlflow-sync" in warnings[0]


def test_a_store_that_hangs_costs_the_timeout_at_the_end_and_nothing_before(
    params: Params, paths: Paths, project: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.gate.clear()
    monitor = Tracker(
        params,
        paths,
        "small",
        project,
        intervals=Intervals(delay_s=0.0, batch_s=0.01, retry_s=0.01, close_s=1.0),
    )
    start = time.perf_counter()
    follow(monitor, 1000, pause_s=0)
    assert time.perf_counter() - start < 1
    monitor.close(finished=True)
    # Far below any time-out of the store's own; above the timeout by what a busy machine may add.
    assert time.perf_counter() - start < 5
    assert any("no answer" in entry.message for entry in caplog.records)
    store.gate.set()


def test_a_short_run_is_left_to_the_sync(params: Params, paths: Paths, project: Path, store: Store) -> None:
    monitor = open_tracker(params, paths, "small", project, intervals=Intervals(delay_s=60.0))
    follow(monitor)
    monitor.close(finished=True)
    assert not store.sessions


def test_in_a_dvc_experiment_a_run_is_live_from_the_start(
    params: Params, paths: Paths, project: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "kernel7")
    monitor = open_tracker(params, paths, "small", project, intervals=Intervals(delay_s=60.0))
    follow(monitor, 1)
    monitor.close(finished=True)
    assert len(store.sessions) == 1


@pytest.mark.parametrize(("group", "ends"), [("", []), ("kernel7", ["FINISHED"])])
def test_in_a_dvc_experiment_the_end_waits_for_a_slow_store(
    params: Params,
    paths: Paths,
    project: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    group: str,
    ends: list[str],
) -> None:
    monkeypatch.setattr(live, "CLOSE_TIMEOUT_S", 0.1)
    monkeypatch.setenv("DVC_EXP_NAME", group)
    store.gate.clear()
    monitor = open_tracker(params, paths, "small", project, intervals=Intervals(delay_s=0.0, batch_s=0.01))
    follow(monitor, 1)
    opened = threading.Timer(1.0, store.gate.set)
    opened.start()
    monitor.close(finished=True)
    assert store.ends == ends
    opened.join()


def test_a_resumed_training_continues_its_session(
    params: Params, paths: Paths, project: Path, store: Store
) -> None:
    first = open_tracker(params, paths, "small", project, intervals=Intervals(delay_s=0.0))
    time.sleep(0.3)
    kept = first.state()
    second = open_tracker(params, paths, "small", project, intervals=Intervals(delay_s=0.0))
    assert second.state().split()[0] != kept.split()[0]
    second.resume(kept)
    follow(second, 2)
    assert second.state().split()[0] == kept.split()[0]
    second.close(finished=True)
    assert store.sessions == [kept.split()[0]]
    assert store.timing is not None
    assert store.timing.seconds >= 0.3, "the time of the first process counts too"
    (timing,) = read_timings(find_store(project)).values()
    assert timing == store.timing


def test_without_mlflow_the_timing_alone_is_kept_and_one_line_says_so(
    params: Params,
    paths: Paths,
    project: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(live.importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.INFO):
        monitor = open_tracker(params, paths, "small", project)
        follow(monitor)
        monitor.close(finished=True)
    assert [entry.message for entry in caplog.records] == [
        "MLflow is not installed: the training is not tracked"
    ]
    assert store.sessions == []
    (timing,) = read_timings(find_store(project)).values()
    assert timing.seconds >= 0.05
    assert timing.device == "CPU"
    assert timing.peak_memory_mib is not None
    assert timing.peak_memory_mib > 10  # of an interpreter
    assert timing.peak_gpu_memory_mib is None


def test_a_training_that_is_resumed_at_its_end_is_tracked_too(
    params: Params, paths: Paths, project: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = open_tracker(params, paths, "small", project, intervals=Intervals(delay_s=0.0))
    monitor.resume("session 12.5")
    monitor.close(finished=True)
    assert store.timing is not None
    assert store.timing.seconds >= 12.5
    assert store.timing.iterations_per_second is None
    assert not caplog.records


def test_importing_it_costs_a_training_nothing(repository: Path) -> None:
    """PyTorch is no cost: a training imports it anyway."""
    code = "import sys; import alkdnet.tracking; print({'pandas', 'mlflow'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository / "src", capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
