"""MLflow mirrors the outputs: all of them, once, by content."""

import json
import logging
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.tracking import Intervals, SyncResult, open_tracker, sync, sync_or_warn
from alkdnet.tracking.live import _RunWriter
from alkdnet.tracking.location import find_origin, find_store
from alkdnet.tracking.settings import Point
from tests.tracking.fabricated import HISTORY, TEST_SET

if TYPE_CHECKING:  # MLflow takes seconds to import, and these tests may be deselected
    from mlflow.entities import Run

    from alkdnet.tracking.store import Store

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

Write = Callable[..., None]
POINTS = {(key, row.iteration): value for row in HISTORY for key, value in row.values().items()}


class Project:
    """A project with an MLflow database, and what a person would see in it."""

    def __init__(self, root: Path, params: Params, paths: Paths) -> None:
        from mlflow import MlflowClient

        self.root, self.params, self.paths = root, params, paths
        self.client = MlflowClient(f"sqlite:///{root}/mlflow.db")

    def sync(self) -> SyncResult:
        return sync(self.params, self.paths, self.root)

    def store(self) -> "Store":
        from alkdnet.tracking.store import Store

        return Store(find_store(self.root), self.params.pipeline)

    def writer(self, run: str, session: str) -> _RunWriter:
        return _RunWriter(self.params, run, self.root, session, 1_000)

    def runs(self, run: str) -> "list[Run]":
        return [entry for entry in self.store().runs() if entry.data.tags["run"] == run]

    def points(self, run: "Run") -> dict[tuple[str, int], float]:
        """Return the curves; a doubled point fails."""
        found = {}
        for key in ("loss", "learning_rate", "validation_psnr"):
            for metric in self.client.get_metric_history(run.info.run_id, key):
                assert (key, metric.step) not in found
                found[(key, metric.step)] = metric.value
        return found


@pytest.fixture
def tracked(database: Path, project: Path, params: Params, paths: Paths) -> Project:
    return Project(project, params, paths)


def logged(*iterations: int) -> list[Point]:
    return [Point(key, i, value, 1) for (key, i), value in POINTS.items() if i in iterations]


def dump(database: Path) -> list[str]:
    with sqlite3.connect(database) as connection:
        return list(connection.iterdump())


def test_a_run_is_shown_with_all_that_its_outputs_hold(
    tracked: Project, train: Write, evaluate: Write
) -> None:
    train("small")
    evaluate("small")
    result = tracked.sync()
    assert (result.created, str(result)) == (("small",), "1 created")
    (run,) = tracked.runs("small")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "small"
    assert run.data.params["kernel_size"] == "9"
    assert run.data.metrics[f"{TEST_SET}/psnr"] == 32.0
    assert run.data.metrics["parameters"] == 1000
    assert tracked.points(run) == POINTS
    used = {each.dataset.name: each for each in run.inputs.dataset_inputs}
    assert used.keys() == {"embedded_train", TEST_SET}
    assert used["embedded_train"].dataset.digest == "d" * 36
    assert [each.tags[0].value for each in used.values()] == ["training", "testing"]
    parent = tracked.client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.info.run_name == "workspace"
    artifacts = tracked.root / "mlartifacts" / run.info.run_id / "artifacts"
    assert (artifacts / "weights.safetensors").read_bytes() == b"weights"
    assert (artifacts / f"crops/{TEST_SET}_cat.png").is_file()


def test_a_second_sync_changes_nothing(tracked: Project, train: Write, evaluate: Write) -> None:
    train("small")
    evaluate("small")
    train("wide")
    tracked.sync()
    before = dump(tracked.root / "mlflow.db")
    assert tracked.sync().unchanged == ("small", "wide")
    assert dump(tracked.root / "mlflow.db") == before


def test_an_evaluation_is_added_to_the_training_run(tracked: Project, train: Write, evaluate: Write) -> None:
    train("small")
    tracked.sync()
    evaluate("small")
    assert tracked.sync().completed == ("small",)
    (run,) = tracked.runs("small")
    assert run.data.metrics[f"{TEST_SET}/psnr"] == 32.0
    assert tracked.points(run) == POINTS


def test_another_evaluation_of_the_same_weights_is_another_run(
    tracked: Project, train: Write, evaluate: Write
) -> None:
    train("small")
    evaluate("small", psnr=32.0)
    tracked.sync()
    evaluate("small", psnr=32.25)
    assert tracked.sync().created == ("small",)
    assert {run.data.metrics[f"{TEST_SET}/psnr"] for run in tracked.runs("small")} == {32.0, 32.25}
    evaluate("small", psnr=32.0)
    assert tracked.sync().unchanged == ("small",)


def test_other_weights_are_another_run(tracked: Project, train: Write) -> None:
    train("small", weights=b"one")
    tracked.sync()
    train("small", weights=b"two")
    assert tracked.sync().created == ("small",)
    train("small", weights=b"one")
    assert tracked.sync().unchanged == ("small",)


def test_a_deleted_run_stays_deleted(tracked: Project, train: Write) -> None:
    train("small")
    tracked.sync()
    (run,) = tracked.runs("small")
    tracked.client.delete_run(run.info.run_id)
    assert tracked.sync().unchanged == ("small",)
    assert len(tracked.runs("small")) == 1


def test_a_deleted_experiment_stays_deleted(
    tracked: Project, train: Write, caplog: pytest.LogCaptureFixture
) -> None:
    train("small")
    tracked.sync()
    (run,) = tracked.runs("small")
    tracked.client.delete_experiment(run.info.experiment_id)
    result = tracked.sync()
    assert "`mlflow experiments restore --experiment-id" in str(result)
    with caplog.at_level(logging.INFO):
        assert sync_or_warn(tracked.params, tracked.paths, tracked.root) == result
    assert "was deleted and stays so" in caplog.text
    monitor = open_tracker(
        tracked.params, tracked.paths, "small", tracked.root, intervals=Intervals(delay_s=0, close_s=30)
    )
    with caplog.at_level(logging.INFO):
        monitor.log(100, HISTORY[0].values())
        monitor.close(finished=False)
    assert "the training is not tracked: the MLflow experiment alkdnet-demo was deleted" in caplog.text
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    experiment = tracked.client.get_experiment(run.info.experiment_id)
    assert experiment.lifecycle_stage == "deleted"
    tracked.client.restore_experiment(run.info.experiment_id)
    assert len(tracked.runs("small")) == 1


def test_the_parent_has_the_figures_of_the_report(tracked: Project, train: Write) -> None:
    figures = tracked.paths.report / "figures"
    figures.mkdir(parents=True)
    (figures / "curves.png").write_bytes(b"curves")
    train("small")
    tracked.sync()
    (run,) = tracked.runs("small")
    parent = run.data.tags["mlflow.parentRunId"]
    stored = tracked.root / "mlartifacts" / parent / "artifacts/figures/curves.png"
    assert stored.read_bytes() == b"curves"
    stored.unlink()
    tracked.sync()
    assert not stored.exists(), "what has not changed is not copied again"
    (figures / "curves.png").write_bytes(b"better curves")
    tracked.sync()
    assert stored.read_bytes() == b"better curves"
    tracked.client.delete_run(parent)
    (figures / "curves.png").write_bytes(b"best curves")
    tracked.sync()
    assert stored.read_bytes() == b"better curves"
    assert len(tracked.client.search_runs([run.info.experiment_id], "tags.group = 'workspace'")) == 0


def test_runs_of_a_dvc_experiment_lie_under_one_parent(
    tracked: Project, train: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "kernel7")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "0123abc")
    train("small")
    train("wide")
    tracked.sync()
    runs = [*tracked.runs("small"), *tracked.runs("wide")]
    (parent,) = {run.data.tags["mlflow.parentRunId"] for run in runs}
    assert tracked.client.get_run(parent).info.run_name == "kernel7"
    assert "0123abc" in tracked.client.get_run(parent).data.tags["mlflow.note.content"]
    # Applied to the workspace, the experiment's outputs are the ones that are there already.
    monkeypatch.delenv("DVC_EXP_NAME")
    assert tracked.sync().unchanged == ("small", "wide")


def test_a_training_that_is_followed_ends_with_its_outputs(
    tracked: Project, train: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alkdnet.tracking import system_metrics

    monkeypatch.setattr(system_metrics, "INTERVAL_S", 0)
    monitor = open_tracker(
        tracked.params,
        tracked.paths,
        "small",
        tracked.root,
        intervals=Intervals(delay_s=0, batch_s=0.05, close_s=30),
    )
    for row in HISTORY:
        monitor.log(row.iteration, row.values())
        time.sleep(0.1)
    train("small")
    monitor.close(finished=True)
    (run,) = tracked.runs("small")
    assert run.info.status == "FINISHED"
    assert tracked.points(run) == POINTS
    assert "weights_sha256" in run.data.tags
    assert run.data.metrics["training_seconds"] >= 0.3
    assert 0 < run.data.metrics["iterations_per_second"] < 200 / 0.2
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert tracked.sync().completed == ("small",)
    assert tracked.sync().unchanged == ("small",)
    assert len(tracked.runs("small")) == 1


def test_a_training_that_was_not_followed_has_its_time(tracked: Project, train: Write) -> None:
    monitor = open_tracker(
        tracked.params, tracked.paths, "small", tracked.root, intervals=Intervals(delay_s=60)
    )
    for row in HISTORY:
        monitor.log(row.iteration, row.values())
        time.sleep(0.1)
    train("small")
    monitor.close(finished=True)
    assert tracked.sync().created == ("small",)
    (run,) = tracked.runs("small")
    seconds = run.data.metrics["training_seconds"]
    assert 0.3 <= seconds < 30
    assert run.data.tags["device"] == "CPU"
    assert run.data.metrics["peak_memory_mib"] > 10
    assert "peak_gpu_memory_mib" not in run.data.metrics
    assert run.info.end_time - run.info.start_time == pytest.approx(1000 * seconds, abs=100)
    assert tracked.sync().unchanged == ("small",)


def test_what_took_unknown_time_has_no_duration(tracked: Project, train: Write) -> None:
    train("small")
    tracked.sync()
    (run,) = tracked.runs("small")
    parent = tracked.client.get_run(run.data.tags["mlflow.parentRunId"])
    assert (run.info.status, parent.info.status) == ("FINISHED", "FINISHED")
    assert (run.info.end_time, parent.info.end_time) == (None, None)


def test_a_repeated_training_is_not_shown_twice(tracked: Project, train: Write) -> None:
    train("small")
    tracked.sync()
    monitor = open_tracker(
        tracked.params, tracked.paths, "small", tracked.root, intervals=Intervals(delay_s=0, close_s=30)
    )
    monitor.log(100, HISTORY[0].values())
    monitor.close(finished=True)
    active = [run for run in tracked.runs("small") if run.info.lifecycle_stage == "active"]
    assert len(active) == 1
    assert tracked.sync().completed == ("small",)  # its time was not known before
    assert tracked.sync().unchanged == ("small",)
    assert tracked.points(active[0]) == POINTS


def test_a_resumed_run_continues_without_doubled_points(tracked: Project, train: Write) -> None:
    tracked.writer("small", "session").write(logged(100, 200))
    again = tracked.writer("small", "session")
    again.write(logged(200, 300))
    (run,) = tracked.runs("small")
    assert tracked.points(run) == POINTS
    again.end("KILLED", None)
    train("small")
    assert tracked.sync().completed == ("small",)
    (run,) = tracked.runs("small")
    assert tracked.points(run) == POINTS
    assert run.info.status == "FINISHED"


def test_a_killed_run_does_not_stay_running(tracked: Project) -> None:
    tracked.writer("small", "session").write(logged(100))
    (run,) = tracked.runs("small")
    tracked.client.set_tag(run.info.run_id, "process", find_origin().process.rpartition(" ")[0] + " 1")
    assert tracked.sync().killed == ("small",)
    assert tracked.runs("small")[0].info.status == "KILLED"


def test_a_run_of_somebody_elses_is_left_alone(tracked: Project, train: Write) -> None:
    train("small")
    tracked.sync()
    (run,) = tracked.runs("small")
    own = tracked.client.create_run(
        run.info.experiment_id, tags={"mlflow.parentRunId": run.data.tags["mlflow.parentRunId"]}
    )
    assert tracked.sync().killed == ()
    assert tracked.client.get_run(own.info.run_id).info.status == "RUNNING"


def test_a_run_that_goes_on_is_left_alone(tracked: Project, train: Write) -> None:
    tracked.writer("small", "session").write(logged(100))
    assert tracked.sync().killed == ()
    assert tracked.runs("small")[0].info.status == "RUNNING"


def test_a_run_that_the_store_lost_sight_of_is_completed_from_the_outputs(
    tracked: Project, train: Write, evaluate: Write
) -> None:
    tracked.writer("small", "session").write(logged(100, 200))
    (run,) = tracked.runs("small")
    tracked.client.set_tag(run.info.run_id, "process", "")
    train("small")
    evaluate("small")
    result = tracked.sync()
    assert (result.created, result.completed) == ((), ("small",))
    (run,) = tracked.runs("small")
    assert run.info.status == "FINISHED"
    assert tracked.points(run) == POINTS


def test_an_unfinished_run_of_other_settings_is_not_completed(tracked: Project, train: Write) -> None:
    tracked.writer("wide", "session").write(logged(100))
    (run,) = tracked.runs("wide")
    tracked.client.set_tag(run.info.run_id, "process", "")
    tracked.client.set_tag(run.info.run_id, "run", "small")
    train("small")
    assert tracked.sync().created == ("small",)


def test_a_store_that_was_moved_is_rejected(
    tracked: Project, train: Write, caplog: pytest.LogCaptureFixture
) -> None:
    train("small")
    tracked.sync()
    copy = tracked.root / "copy"
    copy.mkdir()
    (tracked.root / "mlflow.db").rename(copy / "mlflow.db")
    assert sync_or_warn(tracked.params, tracked.paths, copy) is None
    assert "the project was moved or copied" in caplog.text
    (copy / "mlflow.db").unlink()


def test_a_folder_as_store_is_rejected_in_one_line(
    params: Params,
    paths: Paths,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    assert sync_or_warn(params, paths, project) is None
    (line,) = caplog.messages
    assert "MLFLOW_TRACKING_URI is ./mlruns: give a server" in line
    assert not (project / "mlruns").exists()


def test_the_experiment_describes_itself_and_its_columns(tracked: Project) -> None:
    tracked.sync()
    experiment = tracked.client.get_experiment_by_name("alkdnet-demo")
    assert experiment is not None
    assert tracked.params.report.title in experiment.tags["mlflow.note.content"]
    columns = json.loads(experiment.tags["mlflow.sharedViewState.compare"])["selectedColumns"]
    assert f"metrics.`{TEST_SET}/psnr`" in columns
    for scale, name in ((2, "charts"), (3, "charts_x3"), (4, "charts_x4")):
        view = json.loads(experiment.tags[f"mlflow.sharedViewState.{name}"])
        assert view["searchFilter"] == f"params.scale = '{scale}'"
        assert view["compareRunCharts"][0]["xaxis"]["key"] == "multi_adds"


def test_a_long_history_is_written_in_parts(tracked: Project) -> None:
    points = [Point("loss", i, 1 / i, 1) for i in range(1, 2501)]
    writer = tracked.writer("small", "session")
    writer.write(points)
    (run,) = tracked.runs("small")
    assert len(tracked.client.get_metric_history(run.info.run_id, "loss")) == 2500


def _die_while_creating(root: Path) -> None:
    """Create the project's database, and be killed when half of its tables are there."""
    from alkdnet.tracking import store

    class Killed:
        def __init__(self, uri: str, artifacts: str) -> None:
            with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
                connection.execute("create table alembic_version (version_num varchar(32))")
                connection.execute("create table experiments (name varchar(32))")
            os.kill(os.getpid(), signal.SIGKILL)

    store.SqlAlchemyStore = Killed
    store.pipelines(find_store(root))


@pytest.mark.slow
def test_a_database_whose_creation_was_killed_is_created_again(project: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die_while_creating, args=(project,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (project / "mlflow.db.new").exists()
    assert not (project / "mlflow.db").exists()
    from alkdnet.tracking.store import Store, pipelines

    Store(find_store(project), "demo")
    assert list(pipelines(find_store(project))) == ["demo"]
    assert not (project / "mlflow.db.new").exists()
