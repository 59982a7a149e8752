"""The MLflow store of one pipeline: what this project asks of MLflow's client."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from alkdnet.tracking.place import SQLITE, WORKSPACE, Origin, Place, is_alive
from alkdnet.tracking.record import Point

# Before the import, which reads them; what the user set wins. MLflow's own patience with a server that does
# not answer is about fifteen minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.entities import Run as StoredRun
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

# A new database is a hundred lines of migrations, and a server that is down one line a try: the one warning
# that the caller gives says it.
for name, level in (("alembic", logging.WARNING), ("mlflow", logging.WARNING), ("urllib3", logging.ERROR)):
    logging.getLogger(name).setLevel(level)

T = TypeVar("T")
PARENT = "mlflow.parentRunId"  # the tag that nests a run
_VALUES = 1000  # the most points that MLflow takes at once
_SETTINGS = 100  # the most parameters or tags that it takes at once
_DIGEST = 36  # the longest digest of a data set that it takes
_PREFIX = "alkdnet-"
_NOTE = "mlflow.note.content"


def create_database(place: Place) -> None:
    """Create the database of a local store that has none; to be called under the lock.

    Under another name until it is complete: MLflow makes it in a hundred migrations, and cannot go on with
    one that was left in the middle of them.
    """
    database, artifacts = place.database, place.artifacts
    if database is None or artifacts is None or database.exists():
        return
    new = database.with_name(f"{database.name}.new")
    for left in (new, new.with_name(f"{new.name}-journal")):
        left.unlink(missing_ok=True)
    SqlAlchemyStore(f"{SQLITE}{new}", artifacts.as_uri()).engine.dispose()  # type: ignore[no-untyped-call]
    new.replace(database)


def pipelines(place: Place) -> dict[str, str]:
    """Return the pipelines that a store knows: the id of the MLflow experiment by the pipeline's name."""
    with place.locked():
        create_database(place)
    found = MlflowClient(tracking_uri=place.uri).search_experiments()
    return {
        each.name.removeprefix(_PREFIX): each.experiment_id for each in found if each.name.startswith(_PREFIX)
    }


class Store:
    """The runs of one pipeline: an MLflow experiment with a parent run for each DVC experiment.

    Args:
        place: the store; a local one is created if need be.
        pipeline: name of the pipeline; its MLflow experiment is `alkdnet-<pipeline>`.

    Raises:
        Exception: whatever MLflow, its database or its HTTP client raise; so does every method.
    """

    def __init__(self, place: Place, pipeline: str) -> None:
        self.place = place
        self.pipeline = pipeline
        name = f"{_PREFIX}{pipeline}"
        with place.locked():
            create_database(place)
            self._client = MlflowClient(tracking_uri=place.uri)
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                try:
                    self._client.create_experiment(
                        name, artifact_location=place.artifacts.as_uri() if place.artifacts else None
                    )
                except MlflowException as error:
                    # Another host can create it on a server at the same moment: the lock is of this one.
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                experiment = self._client.get_experiment_by_name(name)
            elif experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment.experiment_id)
        if experiment is None:
            raise RuntimeError(f"{place.uri} has created the experiment {name}, but does not know it")
        if place.artifacts is not None and experiment.artifact_location != place.artifacts.as_uri():
            # MLflow keeps absolute paths: it would write into the place that the project was copied from.
            raise RuntimeError(
                f"this database belongs to {experiment.artifact_location}; the project was moved or copied:"
                " remove mlflow.db and mlartifacts, `make mlflow-sync` writes them anew"
            )
        self.experiment_id: str = experiment.experiment_id
        self._tags: dict[str, str] = dict(experiment.tags)

    def describe(self, tags: Mapping[str, str]) -> None:
        """Set tags of the MLflow experiment that differ."""
        for key, value in tags.items():
            if self._tags.get(key) != value:
                self._client.set_experiment_tag(self.experiment_id, key, value)
                self._tags[key] = value

    def runs(self) -> list[StoredRun]:
        """Return this project's runs, newest first, without the parents; deleted ones too, which stay so."""
        found: list[StoredRun] = []
        token: str | None = None
        while token is None or token:
            page = self._client.search_runs(
                [self.experiment_id], run_view_type=ViewType.ALL, max_results=1000, page_token=token
            )
            found += page
            token = page.token or ""
        return [run for run in found if "run" in run.data.tags]

    def get(self, run_id: str) -> StoredRun:
        """Return the present state of a run."""
        return self._client.get_run(run_id)

    def create(self, run: str, origin: Origin, *, tags: Mapping[str, str], time_ms: int | None = None) -> str:
        """Create a run under the parent of its DVC experiment, status RUNNING, and return its id."""
        created = self._client.create_run(
            self.experiment_id,
            run_name=run,
            start_time=time_ms,
            tags={
                **self._origin_tags(origin),
                PARENT: self._parent(origin),
                "run": run,
                **tags,
            },
        )
        return str(created.info.run_id)

    def reopen(self, run_id: str, origin: Origin) -> None:
        """Make a stopped run RUNNING again, by this process."""
        self._client.update_run(run_id, status="RUNNING")
        self._client.set_tag(run_id, "process", origin.process)

    def end(self, run_id: str, status: str, time_ms: int | None = None) -> None:
        """Set the final status, FINISHED, FAILED or KILLED, and the time of the end (now)."""
        self._client.set_terminated(run_id, status, end_time=time_ms)

    def end_dead(self, runs: Iterable[StoredRun]) -> list[StoredRun]:
        """Set runs to KILLED that are RUNNING although their process, on this host, is dead; return them."""
        dead = [
            run
            for run in runs
            if run.info.status == "RUNNING"
            and run.info.lifecycle_stage == "active"
            and not is_alive(run.data.tags.get("process", ""))
        ]
        for run in dead:
            self.end(run.info.run_id, "KILLED")
        return dead

    def log_settings(self, run_id: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Log parameters, which must not be there with other values, and tags."""
        for part in _parts(params.items(), _SETTINGS):
            self._client.log_batch(run_id, params=[Param(key, value) for key, value in part])
        for part in _parts(tags.items(), _SETTINGS):
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in part])

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Log points of curves; what is there already is doubled (see `known_points`)."""
        for part in _parts(points, _VALUES):
            metrics = [Metric(point.key, point.value, point.time_ms, point.iteration) for point in part]
            self._client.log_batch(run_id, metrics=metrics)

    def known_points(self, run_id: str) -> set[tuple[str, int]]:
        """Return key and iteration of every point that the run has."""
        keys = self._client.get_run(run_id).data.metrics
        return {(key, metric.step) for key in keys for metric in self._client.get_metric_history(run_id, key)}

    def log_inputs(self, run_id: str, inputs: Mapping[str, str]) -> None:
        """Log training data: name and digest."""
        datasets = [
            DatasetInput(
                Dataset(name=name, digest=digest[:_DIGEST], source_type="local", source="{}"),
                [InputTag("mlflow.data.context", "training")],
            )
            for name, digest in inputs.items()
        ]
        self._client.log_inputs(run_id, datasets=datasets)

    def log_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Copy files into the run's artifacts: path there, which ends with the file's own name, and file."""
        for name, file in files.items():
            folder, _, _ = name.rpartition("/")
            self._client.log_artifact(run_id, str(file), folder or None)

    def _parent(self, origin: Origin) -> str:
        """Return the run that stands for the DVC experiment; create it the first time."""
        with self.place.locked():
            found = self._client.search_runs(
                [self.experiment_id], filter_string=f"tags.group = '{origin.group}'", max_results=1
            )
            if found:
                return str(found[0].info.run_id)
            baseline = f"\n\nStarted from commit `{origin.baseline}`." if origin.baseline else ""
            whose = "the workspace" if origin.group == WORKSPACE else f"the DVC experiment `{origin.group}`"
            parent = self._client.create_run(
                self.experiment_id,
                run_name=origin.group,
                tags={
                    "group": origin.group,
                    "pipeline": self.pipeline,
                    _NOTE: f"Runs of {whose}, pipeline `{self.pipeline}`.{baseline}",
                },
            )
            self.end(parent.info.run_id, "FINISHED")
            return str(parent.info.run_id)

    def _origin_tags(self, origin: Origin) -> dict[str, str]:
        tags = {
            "pipeline": self.pipeline,
            "dvc_experiment": origin.group,
            "git_revision": origin.revision,
            "process": origin.process,
            "mlflow.source.name": "pipeline/train.py",
            "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": origin.revision.removesuffix("-dirty"),
        }
        return {key: value for key, value in tags.items() if value}


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
