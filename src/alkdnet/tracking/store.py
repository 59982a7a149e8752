"""The MLflow store of one pipeline."""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from alkdnet.files import sha256_file
from alkdnet.tracking.location import (
    SQLITE,
    WORKSPACE,
    DeletedExperimentError,
    Origin,
    StoreLocation,
    may_be_alive,
)
from alkdnet.tracking.record import Input
from alkdnet.tracking.settings import Point

# Before the import, which reads them; the user's settings win. MLflow's default is to wait for a server that
# does not answer for about fifteen minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.entities import Run as StoredRun
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

# A new database logs a hundred lines of migrations, and a server that is down one line per attempt; the
# caller logs one warning.
for name, level in (("alembic", logging.WARNING), ("mlflow", logging.WARNING), ("urllib3", logging.ERROR)):
    logging.getLogger(name).setLevel(level)

T = TypeVar("T")
PARENT = "mlflow.parentRunId"  # the tag that nests a run
NOTE = "mlflow.note.content"  # the tag of a run's or an experiment's description
_BATCH = {"metrics": 1000, "params": 100, "tags": 100}  # the most that MLflow takes at once
_DIGEST = 36  # the longest digest of a data set that it takes
_PREFIX = "alkdnet-"


def create_database(location: StoreLocation) -> None:
    """Create the database of a local store that has none; to be called under the lock.

    Under another name until it is complete: MLflow makes it by a hundred migrations, and cannot continue if
    they were interrupted.
    """
    database, artifacts = location.database, location.artifacts
    if database is None or artifacts is None or database.exists():
        return
    new = database.with_name(f"{database.name}.new")
    for left in (new, new.with_name(f"{new.name}-journal")):
        left.unlink(missing_ok=True)
    SqlAlchemyStore(f"{SQLITE}{new}", artifacts.as_uri()).engine.dispose()  # type: ignore[no-untyped-call]
    new.replace(database)


def pipelines(location: StoreLocation) -> dict[str, str]:
    """Return the pipelines in a store: the id of the MLflow experiment by the pipeline's name."""
    with location.locked():
        create_database(location)
    found = MlflowClient(tracking_uri=location.uri).search_experiments()
    return {
        each.name.removeprefix(_PREFIX): each.experiment_id for each in found if each.name.startswith(_PREFIX)
    }


class Store:
    """The runs of one pipeline: an MLflow experiment with a parent run for each DVC experiment.

    Args:
        location: the store; a local one is created if need be.
        pipeline: name of the pipeline; its MLflow experiment is `alkdnet-<pipeline>`.

    Raises:
        DeletedExperimentError: somebody deleted the experiment.
        Exception: whatever MLflow, its database or its HTTP client raise; so does every method.
    """

    def __init__(self, location: StoreLocation, pipeline: str) -> None:
        self.location = location
        self.pipeline = pipeline
        name = f"{_PREFIX}{pipeline}"
        with location.locked():
            create_database(location)
            self._client = MlflowClient(tracking_uri=location.uri)
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                artifacts = location.artifacts.as_uri() if location.artifacts else None
                created = self._client.create_experiment(name, artifact_location=artifacts)
                experiment = self._client.get_experiment(created)
        if experiment.lifecycle_stage == "deleted":
            raise DeletedExperimentError(
                f"the MLflow experiment {name} was deleted and stays so;"
                f" `mlflow experiments restore --experiment-id {experiment.experiment_id}` brings it back"
            )
        if location.artifacts is not None and experiment.artifact_location != location.artifacts.as_uri():
            # MLflow keeps absolute paths: it would write to where the project was copied from.
            raise RuntimeError(
                f"this database belongs to {experiment.artifact_location}; the project was moved or copied:"
                " remove mlflow.db and mlartifacts, `make mlflow-sync` writes them again"
            )
        self._experiment = experiment
        self._points: dict[str, dict[tuple[str, int], float]] = {}

    def set_experiment_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the MLflow experiment that differ."""
        for key, value in tags.items():
            if self._experiment.tags.get(key) != value:
                self._client.set_experiment_tag(self._experiment.experiment_id, key, value)

    def runs(self) -> list[StoredRun]:
        """Return this project's runs, newest first, without the parents; deleted ones too, which stay so."""
        return [run for run in self._search("") if "run" in run.data.tags]

    def get(self, run_id: str) -> StoredRun:
        """Return the present state of a run."""
        return self._client.get_run(run_id)

    def create(self, run: str, origin: Origin, *, tags: Mapping[str, str], start_ms: int) -> str:
        """Create a run under the parent of its DVC experiment, status RUNNING, and return its id."""
        own = {
            "run": run,
            "pipeline": self.pipeline,
            "experiment": origin.group,
            "process": origin.process,
            "git_revision": origin.revision,
            "mlflow.source.name": "pipeline/train.py",
            "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": origin.revision.removesuffix("-dirty"),
            PARENT: self._parent(origin),
            **tags,
        }
        return self._create(run, {key: value for key, value in own.items() if value}, start_ms)

    def reopen(self, run_id: str, origin: Origin) -> None:
        """Make a stopped run RUNNING again, by this process."""
        self._client.update_run(run_id, status="RUNNING")
        self._client.set_tag(run_id, "process", origin.process)

    def end(self, run_id: str, status: str, end_ms: int | None) -> None:
        """Set the final status, FINISHED, FAILED or KILLED; without an end, MLflow shows no duration."""
        if end_ms is None:
            self._client.update_run(run_id, status=status)
        else:
            self._client.set_terminated(run_id, status, end_time=end_ms)

    def kill_orphans(self, runs: Iterable[StoredRun]) -> list[StoredRun]:
        """Set runs to KILLED that are RUNNING although their process on this host is dead; return them."""
        orphans = [
            run
            for run in runs
            if run.info.status == "RUNNING"
            and run.info.lifecycle_stage == "active"
            and not may_be_alive(run.data.tags.get("process", ""))
        ]
        for run in orphans:
            self.end(run.info.run_id, "KILLED", None)
        return orphans

    def delete(self, run_id: str) -> None:
        """Delete a run; MLflow can restore it."""
        self._client.delete_run(run_id)

    def log_settings(self, run_id: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Log parameters, which must not be there with other values, and tags."""
        for part in _parts(params.items(), _BATCH["params"]):
            self._client.log_batch(run_id, params=[Param(key, value) for key, value in part])
        for part in _parts(tags.items(), _BATCH["tags"]):
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in part])

    def log_points(self, run_id: str, points: Iterable[Point]) -> None:
        """Log the points of curves that the run does not have: MLflow would show them twice."""
        known = self.points(run_id)
        new = {(point.key, point.iteration): point for point in points}
        for part in _parts((point for key, point in new.items() if key not in known), _BATCH["metrics"]):
            metrics = [Metric(point.key, point.value, point.time_ms, point.iteration) for point in part]
            self._client.log_batch(run_id, metrics=metrics)
            known |= {(point.key, point.iteration): point.value for point in part}

    def points(self, run_id: str) -> dict[tuple[str, int], float]:
        """Return every point that the run has, by key and iteration."""
        if run_id not in self._points:
            self._points[run_id] = {
                (key, metric.step): metric.value
                for key in self.get(run_id).data.metrics
                for metric in self._client.get_metric_history(run_id, key)
            }
        return self._points[run_id]

    def log_inputs(self, run_id: str, inputs: Iterable[Input]) -> None:
        """Log data sets that a run used and does not have yet."""
        datasets = [
            DatasetInput(
                Dataset(name=each.name, digest=each.digest[:_DIGEST], source_type="local", source="{}"),
                [InputTag("mlflow.data.context", each.context)],
            )
            for each in inputs
        ]
        self._client.log_inputs(run_id, datasets=datasets)

    def log_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Copy files into the run's artifacts: path there, which ends with the file's own name, and file."""
        for name, file in files.items():
            folder, _, _ = name.rpartition("/")
            self._client.log_artifact(run_id, str(file), folder or None)

    def log_figures(self, origin: Origin, figures: Sequence[Path]) -> None:
        """Copy the report's figures to the parent run, unless it has them or was deleted."""
        content = "\n".join(f"{figure.name} {sha256_file(figure)}" for figure in figures)
        digest = hashlib.sha256(content.encode()).hexdigest()
        parents = self._parents(origin)
        if not figures or (parents and parents[0].info.lifecycle_stage == "deleted"):
            return
        if parents and parents[0].data.tags.get("figures") == digest:
            return
        parent = self._parent(origin)
        self.log_files(parent, {f"figures/{figure.name}": figure for figure in figures})
        self._client.set_tag(parent, "figures", digest)

    def _parent(self, origin: Origin) -> str:
        """Return the parent run of the DVC experiment; create it if there is none."""
        with self.location.locked():
            parents = self._parents(origin)
            if parents and parents[0].info.lifecycle_stage == "active":
                return str(parents[0].info.run_id)
            baseline = f"\n\nStarted from commit `{origin.baseline}`." if origin.baseline else ""
            whose = "the workspace" if origin.group == WORKSPACE else f"the DVC experiment `{origin.group}`"
            note = f"Runs of {whose}, pipeline `{self.pipeline}`.{baseline}"
            tags = {"group": origin.group, "pipeline": self.pipeline, NOTE: note}
            parent = self._create(origin.group, tags, None)
            self.end(parent, "FINISHED", None)
            return parent

    def _parents(self, origin: Origin) -> list[StoredRun]:
        """Return the parent runs of the DVC experiment: an active one, then deleted ones."""
        found = self._search(f"tags.group = '{origin.group}'")
        return sorted(found, key=lambda run: run.info.lifecycle_stage == "deleted")

    def _create(self, run_name: str, tags: Mapping[str, str], start_ms: int | None) -> str:
        created = self._client.create_run(
            self._experiment.experiment_id, run_name=run_name, start_time=start_ms, tags=dict(tags)
        )
        return str(created.info.run_id)

    def _search(self, where: str) -> list[StoredRun]:
        """Return the runs that match an MLflow filter, newest first, including deleted ones."""
        found: list[StoredRun] = []
        token: str | None = None
        while token is None or token:
            page = self._client.search_runs(
                [self._experiment.experiment_id], where, ViewType.ALL, 1000, page_token=token
            )
            found += page
            token = page.token or ""
        return found


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
