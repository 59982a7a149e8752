"""Mirroring a pipeline's outputs into MLflow, whoever made them: this machine, DVC's cache, another host."""

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import in_one_line
from alkdnet.tracking.location import DeletedExperimentError, find_origin, find_store
from alkdnet.tracking.timings import read_timings, timing_points
from alkdnet.tracking.views import experiment_tags
from alkdnet.training.runtime.timing import Timing

if TYPE_CHECKING:  # imported late: they take seconds, and MLflow may not be installed
    from mlflow.entities import Run as StoredRun

    from alkdnet.tracking.record import Record
    from alkdnet.tracking.store import Store

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """Result of a sync: names of rows."""

    created: tuple[str, ...] = ()
    completed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()
    """Runs that were RUNNING in the store although their process is dead."""
    deleted: str = ""
    """Why nothing was synced: the experiment was deleted in MLflow."""

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {what}"
            for what, names in (
                ("created", self.created),
                ("completed", self.completed),
                ("up to date", self.unchanged),
                ("set to KILLED", self.killed),
            )
            if names
        ]
        return self.deleted or ", ".join(parts) or "no runs yet"


def sync(params: Params, paths: Paths, root: Path) -> SyncResult:
    """Make MLflow show every row of the pipeline that has outputs, with everything the outputs hold.

    By content: what is there stays, what is missing is added, a second call does nothing; what was deleted in
    MLflow stays deleted. The working directory is the root of the repository, or of an experiment's copy of
    it, as for all stages.

    Args:
        params: the pipeline's parameters.
        paths: its outputs.
        root: the main repository (DVC_ROOT wins).

    Raises:
        Exception: whatever MLflow, its database or its HTTP client raise, ImportError without MLflow. To the
            caller it means: not synced, try again later.
    """
    from alkdnet.tracking.record import read_records
    from alkdnet.tracking.store import Store

    location, origin = find_store(root), find_origin()
    try:
        store = Store(location, params.pipeline)
    except DeletedExperimentError as deleted:
        return SyncResult(deleted=str(deleted))
    stored = store.runs()
    killed = store.kill_orphans(stored)
    killed_ids = {run.info.run_id for run in killed}
    ended = [run for run in stored if run.info.status != "RUNNING" or run.info.run_id in killed_ids]
    timings = read_timings(location)
    created, completed, unchanged = [], [], []
    for record in read_records(params, paths):
        timing = timings.get(record.tags.get("weights_sha256", ""))
        run = _find_run(store, ended, record)
        if run is not None and (run.info.lifecycle_stage == "deleted" or _is_complete(run, record, timing)):
            unchanged.append(record.row)
            continue
        if run is None:
            start_ms = timing.started_ms if timing else record.time_ms
            run = store.get(store.create(record.row, origin, tags={}, start_ms=start_ms))
            created.append(record.row)
        else:
            completed.append(record.row)
        _complete(store, run, record, timing)
    store.log_figures(origin, sorted((paths.report / "figures").glob("*.png")))
    store.set_experiment_tags(experiment_tags(params))
    return SyncResult(
        created=tuple(created),
        completed=tuple(completed),
        unchanged=tuple(unchanged),
        killed=tuple(run.data.tags["run"] for run in killed),
    )


def sync_or_warn(params: Params, paths: Paths, root: Path) -> SyncResult | None:
    """Sync, or log in one line why that failed: MLflow is only a view.

    Returns:
        What was done, or None if nothing could be.
    """
    if importlib.util.find_spec("mlflow") is None:
        logger.info("MLflow is not installed: nothing to sync")
        return None
    try:
        result = sync(params, paths, root)
    except Exception as error:  # a server, a database, a full disk: whatever it is
        logger.warning("MLflow was not synced (%s); `make mlflow-sync` tries again", in_one_line(error))
        return None
    logger.info("MLflow, %s: %s", params.pipeline, result)
    return result


def _find_run(store: "Store", runs: "Sequence[StoredRun]", record: "Record") -> "StoredRun | None":
    """Return the run of a record: one that is up to date, or one that lacks only parts of it.

    The same weights evaluated by another protocol are another run. A run that was never finished in the store
    (the server was down, the process was killed) belongs to a record of the same settings and points.
    """
    same = [run for run in runs if run.data.tags.get("run") == record.row]
    same.sort(key=lambda run: run.info.lifecycle_stage != "active")
    for run in same:
        if run.data.tags.get("mirrored") == record.digest:
            return run
    points = {(point.key, point.iteration): point.value for point in record.points}
    figures = {key: value for (key, iteration), value in points.items() if not iteration}
    for run in same:
        has_weights = run.data.tags.get("weights_sha256") == record.tags.get("weights_sha256")
        if (
            has_weights
            and _agree_on_common(run.data.params, record.params)
            and _agree_on_common(run.data.metrics, figures)
        ):
            return run
    for run in same:
        unfinished = run.info.lifecycle_stage == "active" and "weights_sha256" not in run.data.tags
        same_settings = _trained_as(run.data.params) == _trained_as(record.params)
        if unfinished and same_settings and _agree_on_common(store.points(run.info.run_id), points):
            return run
    return None


def _trained_as(params: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in params.items() if not key.startswith("evaluate.")}


def _agree_on_common(
    stored: Mapping[T, str] | Mapping[T, float], wanted: Mapping[T, str] | Mapping[T, float]
) -> bool:
    """Return whether the values that both have are the same."""
    return all(stored[key] == value for key, value in wanted.items() if key in stored)


def _is_complete(stored: "StoredRun", record: "Record", timing: Timing | None) -> bool:
    timed = timing is None or all(point.key in stored.data.metrics for point in timing_points(timing))
    return bool(timed and stored.data.tags.get("mirrored") == record.digest)


def _complete(store: "Store", stored: "StoredRun", record: "Record", timing: Timing | None) -> None:
    """Add the parts of a record that a run lacks; a second call does nothing.

    The tag `mirrored` comes last: a process that dies in between leaves a run that the next sync completes.
    """
    from alkdnet.tracking.store import NOTE

    run_id = stored.info.run_id
    params = {key: value for key, value in record.params.items() if key not in stored.data.params}
    device = {"device": timing.device} if timing and timing.device else {}
    store.log_settings(run_id, params, {**record.tags, **device, NOTE: record.description})
    store.log_points(run_id, (*record.points, *(timing_points(timing) if timing else ())))
    known = {each.dataset.name for each in (stored.inputs.dataset_inputs if stored.inputs else ())}
    if missing := [each for each in record.inputs if each.name not in known]:
        store.log_inputs(run_id, missing)
    store.log_files(run_id, record.artifacts)
    store.log_settings(run_id, {}, {"mirrored": record.digest})
    if stored.info.status != "FINISHED":
        store.end(run_id, "FINISHED", timing.end_ms(stored.info.start_time) if timing else None)
