"""A pipeline's outputs, fabricated, and an MLflow store in a temporary folder."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from alkdnet.config.loading import load_pipeline
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.results.costs import Cost, write_costs
from alkdnet.results.features import CropImage, FeaturesRecord
from alkdnet.results.history import write_history
from alkdnet.results.run import RunRecord, Training
from alkdnet.results.scores import Scores
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
    return Paths(params.pipeline)


@pytest.fixture
def params(repository: Path, project: Path) -> Params:
    """The demo's parameters with two runs, `small` and `wide`, and three logged iterations."""
    content: Any = yaml.safe_load((repository / "params.yaml").read_text())
    row = {"network": "alkdnet", "scale": 2, "recipe": "paper"}
    content["runs"] = {"small": {**row, "channels": 8}, "wide": {**row, "channels": 16}}
    content["recipes"]["paper"] |= {"iterations": ITERATIONS, "learning_rate": 2e-3}
    content["history"] |= {"log_interval": 100}
    content["features"] |= {"maps_run": "small", "field_runs": []}
    content["report"]["labels"] = {"small": "Small net"}
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    return load_pipeline("demo")


@pytest.fixture
def train(params: Params, paths: Paths) -> Callable[..., None]:
    """Return a function that writes the outputs of a finished training."""

    def write(run: str, *, weights: bytes = b"weights") -> None:
        row = params.runs[run]
        folder = paths.model(run)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.safetensors").write_bytes(weights)
        write_history(folder / "history.csv", HISTORY)
        RunRecord(
            network=row.network,
            scale=row.scale,
            options=dict(row.options),
            parameters=1000,
            weights_sha256=hashlib.sha256(weights).hexdigest(),
            torch="2.13.0",
            training=Training(
                seed=row.seed,
                recipe=params.recipe_of(run),
                data="d" * 64,
                sets=("embedded_train",),
                validation_sets=(TEST_SET,),
                identity=hashlib.sha256(repr(row).encode()).hexdigest(),
            ),
            published=None,
        ).write(folder)

    return write


@pytest.fixture
def evaluate(paths: Paths) -> Callable[..., None]:
    """Return a function that writes the results of a row: one test set of one image, a crop, and its cost."""

    def write(row: str, *, psnr: float = 32.0) -> None:
        folder = paths.evaluation(row)
        made = RunRecord.read(paths.model(row)) if paths.model(row).is_dir() else None
        image = {"set": TEST_SET, "image": "cat", "height": 9, "width": 9, "psnr": psnr, "ssim": 0.91239}
        images = pd.DataFrame([image])
        Scores(images=images, missing={}, weights_sha256=made.weights_sha256 if made else None).write(folder)
        parameters = made.parameters if made else 0
        cost = Cost(parameters=parameters, multi_adds=2000, multi_adds_convolutions=1900, activations=7)
        write_costs(paths.complexity, {entry.name: cost for entry in folder.parent.iterdir()})
        crop = CropImage(
            set=TEST_SET,
            image="cat",
            top=0,
            left=0,
            height=9,
            width=9,
            file=f"crops/{TEST_SET}_cat.png",
            original=None,
            whole=None,
            image_height=9,
            image_width=9,
            psnr=psnr,
            ssim=0.9,
        )
        picture = paths.features(row) / crop.file
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(b"picture")
        FeaturesRecord(maps=None, field=None, crops=(crop,), missing=()).write(paths.features(row))

    return write


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: MLflow needs seconds to make one."""
    from alkdnet.tracking.location import StoreLocation
    from alkdnet.tracking.store import create_database

    folder = tmp_path_factory.mktemp("mlflow")
    database = folder / "mlflow.db"
    create_database(StoreLocation(f"sqlite:///{database}", database, folder / "lock"))
    return database


@pytest.fixture
def database(empty_database: Path, project: Path) -> Path:
    """The project's MLflow database, without runs."""
    return Path(shutil.copy(empty_database, project / "mlflow.db"))
