"""A pipeline's outputs, fabricated, and an MLflow store in a temporary folder."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from alkdnet.config.loading import load_params
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from tests.tracking.fabricated import HISTORY, ITERATIONS, TEST_SET


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository's root, the working directory; the environment says nothing of DVC or MLflow."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def paths(params: Params) -> Paths:
    return Paths(Path(params.dir), params.name)


@pytest.fixture
def params(repository: Path, project: Path) -> Params:
    """The demo's parameters with two runs, `small` and `wide`, and three logged iterations."""
    content: Any = yaml.safe_load((repository / "params.yaml").read_text())
    row = {"kind": "trained", "network": "alkdnet", "scale": 2, "inputs": "patches/x2", "kernel_size": 9}
    content["runs"] = {"small": {**row, "channels": 8}, "wide": {**row, "channels": 16}}
    content["train"] |= {"iterations": ITERATIONS, "log_interval": 100, "learning_rate": 2e-3}
    content["features"] |= {"maps_run": "small", "field_runs": []}
    content["report"]["labels"] = {"small": "Small net"}
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    return load_params(project / "params.yaml")


@pytest.fixture
def train(params: Params, paths: Paths) -> Callable[..., None]:
    """Return a function that writes the outputs of a finished training."""

    def write(run: str, *, weights: bytes = b"weights") -> None:
        row = params.runs[run]
        folder = paths.model(run)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.safetensors").write_bytes(weights)
        lines = [",".join("" if value is None else str(value) for value in point) for point in HISTORY]
        (folder / "history.csv").write_text(
            "\n".join(["iteration,loss,learning_rate,validation_psnr", *lines, ""])
        )
        made = {
            "network": row.network,
            "scale": row.scale,
            "options": dict(row.options),
            "seed": row.seed,
            "iterations": ITERATIONS,
            "recipe": dataclasses.asdict(params.train),
            "data": "d" * 64,
            "training_sets": ["embedded_train"],
            "config_hash": hashlib.sha256(repr(row).encode()).hexdigest(),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        }
        (folder / "run.json").write_text(json.dumps(made))

    return write


@pytest.fixture
def evaluate(paths: Paths) -> Callable[..., None]:
    """Return a function that writes the results of a run: one test set of one image, and its cost."""

    def write(run: str, *, psnr: float = 32.0) -> None:
        folder = paths.evaluation(run)
        folder.mkdir(parents=True, exist_ok=True)
        sets = {"sets": {TEST_SET: {"images": 1, "psnr": psnr, "ssim": 0.9}}, "missing": {}}
        (folder / "sets.json").write_text(json.dumps(sets))
        (folder / "images.csv").write_text(
            f"set,image,height,width,psnr,ssim\n{TEST_SET},cat,9,9,{psnr},0.9\n"
        )
        costs = {entry.name: {"parameters": 1000, "multi_adds": 2000} for entry in folder.parent.iterdir()}
        paths.complexity.write_text(json.dumps(costs))
        crop = paths.features / "crops" / f"{TEST_SET}_cat_x2" / f"{run}.png"
        crop.parent.mkdir(parents=True, exist_ok=True)
        crop.write_bytes(b"picture")

    return write


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: MLflow needs seconds to make one."""
    from alkdnet.tracking.place import Place
    from alkdnet.tracking.store import Store

    folder = tmp_path_factory.mktemp("mlflow")
    database = folder / "mlflow.db"
    Store(Place(f"sqlite:///{database}", database, folder / "lock"), "unused")
    return folder / "mlflow.db"


@pytest.fixture
def database(empty_database: Path, project: Path) -> Path:
    """The project's MLflow database, without runs."""
    return Path(shutil.copy(empty_database, project / "mlflow.db"))
