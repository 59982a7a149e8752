"""Mirroring a pipeline's outputs into MLflow, whoever made them: this machine, DVC's cache, another host."""

import importlib.util
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import in_one_line
from alkdnet.tracking.place import find_origin, find_place
from alkdnet.tracking.record import read_record, stale_evaluations

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """What a sync did, as names of runs."""

    created: tuple[str, ...]
    completed: tuple[str, ...]
    unchanged: tuple[str, ...]
    killed: tuple[str, ...]
    """Runs that were RUNNING in the store although their process is dead."""

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
        return ", ".join(parts) or "no runs yet"


def sync(params: Params, paths: Paths, root: Path) -> SyncResult:
    """Make MLflow show every run of the pipeline that has outputs, with everything the outputs hold.

    By content: what is there stays, what is missing is added, a second call does nothing; runs that were
    deleted in MLflow stay deleted. The working directory is the root of the repository, or of an experiment's
    copy of it, as for all stages.

    Args:
        params: the pipeline's parameters.
        paths: its outputs.
        root: the main repository (DVC_ROOT wins).

    Raises:
        Exception: whatever MLflow, its database or its HTTP client raise, ImportError without MLflow. To the
            caller it means: not synced, try again later.
    """
    from alkdnet.tracking.mirror import fill, find, is_up_to_date
    from alkdnet.tracking.store import Store

    store = Store(find_place(root), params.name)
    stored = store.runs()
    dead = store.end_dead(stored)
    running = {run.info.run_id for run in stored if run.info.status == "RUNNING"} - {
        run.info.run_id for run in dead
    }
    free = [run for run in stored if run.info.run_id not in running]
    created, completed, unchanged = [], [], []
    origin = find_origin()
    stale = stale_evaluations(Path(params.params_file).with_name("dvc.lock"))
    for name in params.runs:
        record = read_record(params, paths, name, trained_only=name in stale)
        if record is None:
            continue
        run = find(free, record)
        if run is not None and (run.info.lifecycle_stage == "deleted" or is_up_to_date(run, record)):
            unchanged.append(name)
            continue
        if run is None:
            run = store.get(store.create(name, origin, tags={}, time_ms=record.time_ms))
            created.append(name)
        else:
            completed.append(name)
        fill(store, run, record)
        if run.info.status != "FINISHED":
            store.end(run.info.run_id, "FINISHED", record.time_ms)
    store.describe(_describe(params))
    return SyncResult(
        created=tuple(created),
        completed=tuple(completed),
        unchanged=tuple(unchanged),
        killed=tuple(str(run.data.tags.get("run")) for run in dead),
    )


def _describe(params: Params) -> dict[str, str]:
    """Return tags of the MLflow experiment: what it is, and its view `compare`.

    The view's tag is the one that MLflow's page writes for "share view": columns, order, and a filter that
    leaves the parents out, for the table is flat then. A page that does not know it shows its own columns.
    """
    columns = [
        *(f"metrics.`{name}/psnr`" for name in params.names("test")),
        *(f"metrics.`{key}`" for key in ("validation_psnr", "loss", "parameters", "multi_adds")),
        *(f"params.`{key}`" for key in ("network", "scale", "kernel_size", "train.iterations")),
        "tags.`dvc_experiment`",
    ]
    view = {
        "selectedColumns": columns,
        "searchFilter": "params.scale != ''",
        "orderByKey": "tags.`run`",
        "orderByAsc": True,
    }
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": f"{params.report.title}\n\n{params.report.summary}",
        "mlflow.sharedViewState.compare": json.dumps(view),
    }


def sync_or_warn(params: Params, paths: Paths, root: Path) -> SyncResult | None:
    """Do `sync` where it can be done; otherwise say why in one line, for MLflow is a view and no result.

    Returns:
        What was done, or None if nothing could be.
    """
    if importlib.util.find_spec("mlflow") is None:
        logger.info("MLflow is not installed: nothing to sync")
        return None
    try:
        return sync(params, paths, root)
    except Exception as error:  # a server, a database, a full disk: whatever it is
        logger.warning("MLflow was not synced (%s); `make mlflow-sync` tries again", in_one_line(error))
        return None
