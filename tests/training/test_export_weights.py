"""tools/export_weights.py: only the paper's network, whole, becomes what `alkdnet upscale` takes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from alkdnet.files import sha256_file
from alkdnet.networks import build
from alkdnet.upscaling import open_model
from alkdnet.weights.files import save_weights
from tests.training.trainer import ROOT

RUN = "alkdnet_x2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with the parameters of study/ and one finished run of the full network."""
    shutil.copyfile(ROOT / "study" / "params.yaml", tmp_path / "params.yaml")
    iterations = yaml.safe_load((tmp_path / "params.yaml").read_text())["train"]["iterations"]
    model = tmp_path / "study" / "models" / RUN
    save_weights(model / "weights.safetensors", build("alkdnet", 2, {}))
    (model / "history.csv").write_text(
        f"iteration,loss,learning_rate,validation_psnr\n{iterations},0.02,1e-07,37.715\n"
    )
    record = {
        "network": "alkdnet",
        "scale": 2,
        "options": {"kernel_size": 9},
        "seed": 0,
        "iterations": iterations,
        "recipe": {"validation_set": "set5"},
        "weights_sha256": sha256_file(model / "weights.safetensors"),
    }
    (model / "run.json").write_text(json.dumps(record))
    return tmp_path


def _export(folder: Path, run: str = RUN) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "export_weights.py"), "--params", "params.yaml"]
    return subprocess.run(
        [*command, "--run", run],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )


def _change(folder: Path, **values: object) -> None:
    path = folder / "study" / "models" / RUN / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_exported_weights_are_those_of_the_run_and_open_by_themselves(folder: Path) -> None:
    done = _export(folder)
    assert done.returncode == 0, done.stderr
    exported = folder / "weights" / "alkdnet_x2.safetensors"
    assert exported.read_bytes() == (folder / f"study/models/{RUN}/weights.safetensors").read_bytes()
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]
    open_model(exported, 2)
    assert done.stdout == (
        "weights/alkdnet_x2.safetensors: alkdnet_x2 of study, x2, 100000 iterations, seed 0, "
        "37.72 dB on set5\n"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"options": {"kernel_size": 5, "blocks": 8}}, "not the paper's ALKDNet, but kernel_size 5"),
        ({"network": "rfdn", "options": {}}, "not the paper's ALKDNet, but rfdn"),
        ({"iterations": 400}, "trained for 400 iterations, params.yaml asks for 100000"),
        ({"weights_sha256": "0" * 64}, "not the weights that run.json speaks of"),
    ],
)
def test_other_networks_and_other_trainings_are_refused(
    folder: Path, values: dict[str, object], message: str
) -> None:
    _change(folder, **values)
    done = _export(folder)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (folder / "weights").exists()


def test_a_run_that_is_unknown_or_unfinished_is_refused(folder: Path) -> None:
    assert "params.yaml trains no bicubic_x2; it trains: bsrn_x2" in _export(folder, "bicubic_x2").stderr
    assert "not finished; `dvc repro` trains it" in _export(folder, "alkdnet_x3").stderr
