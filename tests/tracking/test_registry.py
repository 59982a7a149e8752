"""MLflow's registry: what is registered is loaded and computes what the network computes."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.files import sha256_file
from alkdnet.networks import build
from alkdnet.results.run import RunRecord
from alkdnet.tracking import sync
from alkdnet.tracking.location import find_store
from alkdnet.weights.files import save_weights
from tests.tracking.test_sync import Write

if TYPE_CHECKING:
    from alkdnet.tracking.registry import Registered

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture
def networks(params: Params, paths: Paths, train: Write) -> dict[str, nn.Module]:
    """The networks of the runs `small` and `wide`, trained and small."""
    made = {}
    for row, seed in (("small", 0), ("wide", 1)):
        torch.manual_seed(seed)
        options = {"channels": 8, "blocks": 1}
        made[row] = build("alkdnet", 2, options).eval()
        train(row)
        weights = paths.model(row) / "weights.safetensors"
        save_weights(weights, made[row])
        record = RunRecord.read(paths.model(row))
        dataclasses.replace(record, options=options, weights_sha256=sha256_file(weights)).write(
            paths.model(row)
        )
    return made


def _register(params: Params, paths: Paths, project: Path, row: str) -> "Registered":
    from alkdnet.tracking.registry import register

    sync(params, paths, project)
    return register(find_store(project), params.pipeline, paths.model(row))


def test_a_registered_run_loads_and_computes_what_its_network_does(
    database: Path,
    project: Path,
    params: Params,
    paths: Paths,
    networks: dict[str, nn.Module],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow
    from mlflow import MlflowClient

    first = _register(params, paths, project, "small")
    assert str(first) == "models:/alkdnet_x2/1: registered; has the alias best"
    again = _register(params, paths, project, "small")
    assert again == dataclasses.replace(first, created=False)

    client = MlflowClient(f"sqlite:///{database}", f"sqlite:///{database}")
    (version,) = client.search_model_versions("name = 'alkdnet_x2'")
    assert client.get_run(version.run_id).data.tags["run"] == "small"
    monkeypatch.setattr(sys, "path", list(sys.path))  # MLflow adds the model's copy of the library
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    model = mlflow.pyfunc.load_model("models:/alkdnet_x2@best")
    images_BCHW = np.random.default_rng(0).random((2, 3, 25, 31), dtype=np.float32)
    with torch.inference_mode():
        expected_BCHW = networks["small"](torch.from_numpy(images_BCHW)).numpy()
    np.testing.assert_allclose(model.predict(images_BCHW), expected_BCHW, rtol=0, atol=1e-5)
    assert model.predict(model.input_example).shape == (1, 3, 48, 48)
    (tensor,) = model.metadata.signature.inputs.to_dict()
    assert tensor["tensor-spec"] == {"dtype": "float32", "shape": (-1, 3, -1, -1)}
    with pytest.raises(mlflow.exceptions.MlflowException, match="shape"):
        model.predict(images_BCHW[:, :1])


def test_the_better_version_is_best(
    database: Path,
    project: Path,
    params: Params,
    paths: Paths,
    networks: dict[str, nn.Module],
    evaluate: Write,
) -> None:
    evaluate("small", psnr=32.0)
    assert _register(params, paths, project, "small").best
    worse = _register(params, paths, project, "wide")
    assert str(worse) == (
        "models:/alkdnet_x2/2: registered; another version stays best: its PSNR is not lower"
    )
    evaluate("wide", psnr=32.5)
    assert _register(params, paths, project, "wide") == dataclasses.replace(worse, created=False, best=True)
    assert not _register(params, paths, project, "small").best


def test_weights_that_mlflow_has_no_run_of_are_rejected(
    database: Path, project: Path, params: Params, paths: Paths, networks: dict[str, nn.Module]
) -> None:
    from alkdnet.tracking.registry import register

    with pytest.raises(UserError, match="MLflow has no run of small with these weights: `make mlflow-sync"):
        register(find_store(project), params.pipeline, paths.model("small"))
    record = paths.model("small") / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"weights_sha256": "0" * 64}))
    with pytest.raises(UserError, match="not the weights that"):
        register(find_store(project), params.pipeline, paths.model("small"))
