"""A training beside a real MLflow server that dies, hangs or is not there, and beside other trainings."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.results.history import HistoryRow, write_history
from alkdnet.tracking import sync

pytestmark = [
    pytest.mark.slow,
    # MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

Write = Callable[..., None]
ROWS = 40
TRAINING = """
import logging, sys, time
from pathlib import Path
from alkdnet.config.loading import load_pipeline
from alkdnet.config.paths import Paths
from alkdnet.results.history import read_history
from alkdnet.tracking import Intervals, open_tracker

logging.basicConfig(format="%(levelname)s %(message)s")
run, pause_s, close_s = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
paths = Paths("demo")
tracker = open_tracker(
    load_pipeline("demo"),
    paths,
    run,
    Path.cwd(),
    intervals=Intervals(delay_s=0, batch_s=0.2, retry_s=1, close_s=close_s),
)
for row in read_history(paths.model(run) / "history.csv"):
    begin = time.perf_counter()
    tracker.log(row.iteration, row.values())
    # Importing MLflow in the other thread holds Python's lock for a moment at a time.
    assert time.perf_counter() - begin < 2
    time.sleep(pause_s)
begin = time.perf_counter()
tracker.close(finished=True)
assert time.perf_counter() - begin < close_s + 2
print("trained")
"""


@pytest.fixture
def trained(project: Path, paths: Paths, train: Write) -> None:
    """Outputs of both runs, with a history of many rows."""
    for run in ("small", "wide"):
        train(run)
        rows = [HistoryRow(i, 1 / i, 1e-3, 30.0 if i == ROWS else None) for i in range(1, ROWS + 1)]
        write_history(paths.model(run) / "history.csv", rows)


def start_training(
    root: Path, repository: Path, run: str, *, pause_s: float = 0.05, close_s: float = 60, uri: str = ""
) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, run, str(pause_s), str(close_s)],
        cwd=root,
        env=environment | ({"MLFLOW_TRACKING_URI": uri} if uri else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def warnings_of(training: "subprocess.Popen[str]") -> list[str]:
    """Wait for the end of a training that must succeed and return its warnings."""
    output, errors = training.communicate(timeout=300)
    assert (training.returncode, output) == (0, "trained\n"), errors
    return [line for line in errors.splitlines() if line.startswith("WARNING")]


class Server:
    """An MLflow server of its own database."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        artifacts = ["--artifacts-destination", str(self.folder / "artifacts")]
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), *store, *artifacts],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.5)

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(project: Path) -> Iterator[Server]:
    running = Server(project / "server")
    running.start()
    yield running
    running.kill()


def test_a_server_that_dies_costs_one_warning_and_the_sync_fills_the_gap(
    trained: None,
    project: Path,
    repository: Path,
    params: Params,
    paths: Paths,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    training = start_training(project, repository, "small", pause_s=0.5, close_s=10, uri=server.uri)
    deadline = time.monotonic() + 120
    found = []
    while not found or "loss" not in found[0].data.metrics:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        experiment = client.get_experiment_by_name("alkdnet-demo")
        if experiment is not None:
            found = client.search_runs([experiment.experiment_id], "tags.run = 'small'")
    server.kill()
    assert len(warnings_of(training)) == 1

    server.start()
    (run,) = client.search_runs([found[0].info.experiment_id], "tags.run = 'small'")
    assert run.info.status == "RUNNING"
    assert len(client.get_metric_history(run.info.run_id, "loss")) < ROWS
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    result = sync(params, paths, project)
    assert (result.created, result.completed) == (("wide",), ("small",))
    (run,) = client.search_runs([found[0].info.experiment_id], "tags.run = 'small'")
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert sorted(metric.step for metric in history) == [*range(1, ROWS + 1)]
    stored = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert stored == {"history.csv", "run.json", "weights.safetensors"}
    assert sync(params, paths, project).unchanged == ("small", "wide")


def test_a_server_that_is_not_there_costs_one_warning(trained: None, project: Path, repository: Path) -> None:
    training = start_training(project, repository, "small", close_s=20, uri="http://127.0.0.1:9")
    assert len(warnings_of(training)) == 1


def test_a_server_that_never_answers_costs_the_timeout(
    trained: None, project: Path, repository: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        training = start_training(project, repository, "small", close_s=3, uri=uri)
        (warning,) = warnings_of(training)
    assert "no answer" in warning


def test_four_processes_create_the_store_at_once(
    trained: None, project: Path, repository: Path, params: Params, paths: Paths
) -> None:
    assert not (project / "mlflow.db").exists()
    trainings = [
        start_training(project, repository, run, close_s=200) for run in ("small", "small", "wide", "wide")
    ]
    assert [warnings_of(training) for training in trainings] == [[]] * 4
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("alkdnet-demo")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    # Two came to the same weights each, and are shown once.
    assert sorted(run.info.run_name for run in runs) == ["small", "wide", "workspace"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sync(params, paths, project).completed == ("small", "wide")
    assert sync(params, paths, project).unchanged == ("small", "wide")
