"""tools/export_weights.py: only the paper's network, whole, becomes what `alkdnet upscale` takes."""

import dataclasses
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alkdnet.config.loading import load_pipeline
from alkdnet.config.params import Recipe
from alkdnet.errors import UserError
from alkdnet.files import sha256_file
from alkdnet.networks import build
from alkdnet.results.history import HistoryRow, write_history
from alkdnet.results.run import RunRecord, Training
from alkdnet.upscaling.models import open_model
from alkdnet.weights.files import save_weights

RUN = "alkdnet_x2"
ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "export_weights.py"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The recipe of a repository that has the parameters of study/."""
    (tmp_path / "study").mkdir()
    shutil.copyfile(ROOT / "study" / "params.yaml", tmp_path / "study" / "params.yaml")
    return load_pipeline("study", tmp_path).recipes["paper"]


@pytest.fixture
def folder(tmp_path: Path, recipe: Recipe) -> Path:
    """The repository with one finished run of the full network."""
    model = tmp_path / "study" / "models" / RUN
    save_weights(model / "weights.safetensors", build("alkdnet", 2, {}))
    write_history(model / "history.csv", [HistoryRow(recipe.iterations, 0.02, 1e-7, 37.715)])
    RunRecord(
        network="alkdnet",
        scale=2,
        options={"kernel_size": 9},
        parameters=372_716,
        weights_sha256=sha256_file(model / "weights.safetensors"),
        torch="2.13.0",
        training=Training(
            seed=0, recipe=recipe, data="d", sets=("bsds500",), validation_sets=("set5",), identity="i"
        ),
        published=None,
    ).write(model)
    return tmp_path


@pytest.fixture
def export(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The tool's function, in the repository."""
    monkeypatch.chdir(folder)
    function = runpy.run_path(str(TOOL), run_name="export_weights")["export"]
    return lambda run=RUN: function("study", run, Path("weights"))


def _change(folder: Path, **values: object) -> None:
    model = folder / "study" / "models" / RUN
    dataclasses.replace(RunRecord.read(model), **values).write(model)


def test_exported_weights_are_those_of_the_run_and_open_by_themselves(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(TOOL), "study", "--run", RUN],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    exported = folder / "weights" / "alkdnet_x2.safetensors"
    assert exported.read_bytes() == (folder / f"study/models/{RUN}/weights.safetensors").read_bytes()
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]
    open_model(exported, 2)
    assert done.stdout == (
        "weights/alkdnet_x2.safetensors: alkdnet_x2 of study, x2, 10000 iterations, seed 0, "
        "trained on bsds500, 37.72 dB on set5\n"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"options": {"kernel_size": 5, "blocks": 8}}, "not the paper's ALKDNet, but kernel_size 5"),
        ({"network": "rfdn", "options": {}}, "not the paper's ALKDNet, but rfdn"),
        ({"training": None}, "trained for 0 iterations, the parameters of study ask for 10000"),
        ({"weights_sha256": "0" * 64}, "not the weights that run.json describes"),
    ],
)
def test_other_networks_and_other_trainings_are_rejected(
    folder: Path, export: Callable[..., str], values: dict[str, object], message: str
) -> None:
    _change(folder, **values)
    with pytest.raises(UserError, match=re.escape(message)):
        export()
    assert not (folder / "weights").exists()


def test_a_training_of_another_length_is_rejected(
    folder: Path, export: Callable[..., str], recipe: Recipe
) -> None:
    training = RunRecord.read(folder / "study" / "models" / RUN).training
    assert training is not None
    _change(
        folder, training=dataclasses.replace(training, recipe=dataclasses.replace(recipe, iterations=400))
    )
    with pytest.raises(UserError, match="trained for 400 iterations, the parameters of study ask for 10000"):
        export()


def test_a_run_that_is_unknown_or_unfinished_is_rejected(export: Callable[..., str]) -> None:
    with pytest.raises(UserError, match="study trains no bicubic_x2; it trains: alkdnet_x2"):
        export("bicubic_x2")
    with pytest.raises(
        UserError, match=r"not finished; `dvc repro study/dvc\.yaml:train@alkdnet_x3` trains it"
    ):
        export("alkdnet_x3")
