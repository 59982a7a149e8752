"""Bringing a run in MLflow up to what the outputs say."""

import math
from collections.abc import Mapping, Sequence

from mlflow.entities import Run as StoredRun

from alkdnet.tracking.record import Record
from alkdnet.tracking.store import Store

_NOTE = "mlflow.note.content"


def is_up_to_date(stored: StoredRun, record: Record) -> bool:
    """Return whether the run shows exactly what the outputs say."""
    return bool(stored.data.tags.get("mirrored") == record.digest)


def find(runs: Sequence[StoredRun], record: Record) -> StoredRun | None:
    """Return the run that stands for the record: the one up to date, or one that only lacks parts of it.

    The same weights, evaluated in another way, are another run: its figures are not those of this one. A run
    that was never finished in the store (the server was down, the process killed) stands for a record with
    its settings.
    """
    same = [run for run in runs if run.data.tags.get("run") == record.run]
    for run in same:
        if is_up_to_date(run, record):
            return run
    for run in same:
        tags = run.data.tags
        identity = (tags.get("config_hash"), tags.get("weights_sha256"))
        if identity == (record.tags["config_hash"], record.tags["weights_sha256"]) and _fits(run, record):
            return run
    for run in same:
        unfinished = run.info.lifecycle_stage == "active" and "weights_sha256" not in run.data.tags
        if unfinished and _trained_as(run.data.params) == _trained_as(record.params):
            return run
    return None


def fill(store: Store, stored: StoredRun, record: Record) -> None:
    """Add to a run what the record has and the run lacks; a second call does nothing.

    The tag `mirrored` comes last: a process that dies in between leaves a run that the next sync completes.
    """
    if is_up_to_date(stored, record):
        return
    run_id = stored.info.run_id
    known = store.known_points(run_id)
    params = {key: value for key, value in record.params.items() if key not in stored.data.params}
    store.log_settings(run_id, params, {**record.tags, _NOTE: record.description})
    figures = record.figures()
    store.log_points(run_id, [p for p in (*record.points, *figures) if (p.key, p.iteration) not in known])
    if record.inputs and not (stored.inputs and stored.inputs.dataset_inputs):
        store.log_inputs(run_id, record.inputs)
    store.log_files(run_id, record.artifacts)
    store.log_settings(run_id, {}, {"mirrored": record.digest})


def _trained_as(params: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in params.items() if not key.startswith("evaluate.")}


def _fits(stored: StoredRun, record: Record) -> bool:
    """Return whether nothing in the run contradicts the record."""
    params = stored.data.params
    return all(params[key] == value for key, value in record.params.items() if key in params) and all(
        math.isclose(stored.data.metrics[key], value, rel_tol=1e-12)
        for key, value in record.metrics.items()
        if key in stored.data.metrics
    )
