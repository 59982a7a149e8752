"""The model registry of MLflow: a run's weights as a version of a registered model that anyone can load.

    mlflow.pyfunc.load_model("models:/alkdnet_x2@best").predict(images_BCHW)

A version has the run's weights.safetensors and run.json, this library's code, a signature and an example.
"""

import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from alkdnet.errors import UserError
from alkdnet.inference.upscaler import Upscaler
from alkdnet.results.run import RECORD, WEIGHTS, RunRecord
from alkdnet.tracking.location import StoreLocation
from alkdnet.tracking.store import Store
from alkdnet.weights.runs import load_run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of type hints of its own
    from mlflow.pyfunc import save_model

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # of a second for two small files

BEST = "best"
PACKAGE = Path(__file__).parents[1]
FOLDER = "model"  # among the artifacts of the run
# Of inference, beside PyTorch.
REQUIREMENTS = ("filelock", "mlflow>=3.10,<4", "numpy", "pyyaml", "safetensors")
# Of the example; every network takes it.
SIDE = 24


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version of a registered model, `created` now or before; whether it has the alias `best`."""

    name: str
    version: str
    created: bool
    best: bool

    def __str__(self) -> str:
        done = "registered" if self.created else "registered before"
        alias = (
            f"has the alias {BEST}" if self.best else f"another version stays {BEST}: its PSNR is not lower"
        )
        return f"models:/{self.name}/{self.version}: {done}; {alias}"


def register(location: StoreLocation, pipeline: str, folder: Path) -> Registered:
    """Register the weights of a run, whose run in MLflow is there; the same weights are registered once.

    The registered model is `<network>_x<scale>`. The version gets the alias `best` unless the one that has
    it has a mean PSNR that is not lower, on the test sets that both were evaluated on.

    Args:
        location: the MLflow store.
        pipeline: name of the pipeline.
        folder: the run's folder with weights.safetensors and run.json.

    Raises:
        UserError: the folder is incomplete or damaged, or MLflow has no run of these weights.
        Exception: whatever MLflow, its database or its HTTP client raise.
    """
    model, record = load_run(folder)
    store = Store(location, pipeline)
    run = _find_run(store, folder.name, record)
    client = MlflowClient(tracking_uri=location.uri, registry_uri=location.uri)
    name = f"{record.network}_x{record.scale}"
    with location.locked():
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name, description=f"{record.network}, x{record.scale}")
        found = [
            each
            for each in client.search_model_versions(f"name = '{name}'")
            if each.tags.get("weights_sha256") == record.weights_sha256
        ]
        version = found[0] if found else _create_version(client, name, run, folder, record, Upscaler(model))
        best = _is_best(client, name, version)
        if best:
            client.set_registered_model_alias(name, BEST, version.version)
    return Registered(name=name, version=str(version.version), created=not found, best=best)


def _find_run(store: Store, row: str, record: RunRecord) -> StoredRun:
    for run in store.runs():
        tags = run.data.tags
        is_it = tags.get("run") == row and tags.get("weights_sha256") == record.weights_sha256
        if is_it and run.info.lifecycle_stage == "active":
            return run
    raise UserError(
        f"MLflow has no run of {row} with these weights: `make mlflow-sync PIPELINE={store.pipeline}` adds"
        " it, unless it was deleted in MLflow, where it can be restored"
    )


def _create_version(
    client: MlflowClient, name: str, run: StoredRun, folder: Path, record: RunRecord, upscaler: Upscaler
) -> ModelVersion:
    """Log the model into the run's artifacts, then make a version of it."""
    example_BCHW = example()
    output_BCHW = upscaler.forward(torch.from_numpy(example_BCHW)).numpy()
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 3, -1, -1), name=None)]),
        outputs=Schema([TensorSpec(output_BCHW.dtype, (-1, 3, -1, -1), name=None)]),
    )
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary) / FOLDER
        save_model(
            path=local,
            mlflow_model=Model(run_id=run.info.run_id),
            python_model=str(PACKAGE / "tracking" / "registered.py"),
            artifacts={"weights": str(folder / WEIGHTS), "record": str(folder / RECORD)},
            code_paths=[str(PACKAGE)],
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", *REQUIREMENTS],
            signature=signature,
            input_example=example_BCHW,
        )
        client.log_artifacts(run.info.run_id, str(local), FOLDER)
    return client.create_model_version(
        name,
        source=f"{run.info.artifact_uri}/{FOLDER}",
        run_id=run.info.run_id,
        tags={"weights_sha256": record.weights_sha256},
    )


def example() -> npt.NDArray[np.float32]:
    """Return the input example (1, 3, SIDE, SIDE): a ramp of grey."""
    ramp_W = np.linspace(0, 1, SIDE, dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(ramp_W, (1, 3, SIDE, SIDE)))


def _is_best(client: MlflowClient, name: str, version: ModelVersion) -> bool:
    try:
        holder = client.get_model_version_by_alias(name, BEST)
    except MlflowException:  # nobody has the alias
        return True
    if holder.version == version.version:
        return True
    ours, theirs = (_psnr(client, each) for each in (version, holder))
    common = ours.keys() & theirs.keys()
    if not common:
        return not theirs
    return fmean(ours[key] for key in common) > fmean(theirs[key] for key in common)


def _psnr(client: MlflowClient, version: ModelVersion) -> dict[str, float]:
    if version.run_id is None:  # registered by somebody else
        return {}
    metrics = client.get_run(version.run_id).data.metrics
    return {key: value for key, value in metrics.items() if key.endswith("/psnr")}
