"""The first stage rejects what only the catalogue of sources and the networks can tell."""

import os
import subprocess
import sys
from pathlib import Path

import yaml


def check(repository: Path, folder: Path, params: dict) -> subprocess.CompletedProcess[str]:
    (folder / "mine").mkdir()
    (folder / "mine/params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return subprocess.run(
        [sys.executable, repository / "pipeline" / "check.py", "mine"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(repository / "src"), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )


def test_all_errors_name_the_parameter_file_and_nothing_is_written(repository: Path, tmp_path: Path) -> None:
    params = yaml.safe_load((repository / "params.yaml").read_text())
    params["datasets"] |= {
        "misspelt": {"use": "test", "source": "urban10"},
        "misused": {"use": "train", "source": "set5"},
    }
    params["runs"] |= {
        "unknown": {"scale": 2, "recipe": "paper", "network": "alkdnett"},
        "option": {"scale": 2, "recipe": "paper", "network": "alkdnet", "kernel": 7},
    }
    params["released"] |= {
        "other_scale": {"network": "bsrn", "scale": 3, "source": "bsrn_x2"},
        "other_network": {"network": "imdn", "scale": 2, "source": "bsrn_x2"},
    }
    done = check(repository, tmp_path, params)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    starts = (
        "error: mine/params.yaml: datasets.misspelt.source: urban10: no such data set; did you mean urban100",
        "mine/params.yaml: datasets.misused.source: set5 may be used for test only",
        "mine/params.yaml: released.other_scale.source: bsrn_x2 are weights for x2, not for x3",
        "mine/params.yaml: released.other_network.source: bsrn_x2 are weights of bsrn, not of imdn",
        "mine/params.yaml: runs.unknown: ",
        "mine/params.yaml: runs.option: alkdnet has no option 'kernel'",
    )
    lines = done.stderr.splitlines()
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)
    assert "alkdnett" in lines[4]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["params.yaml"]


def test_a_valid_file_leaves_marks_and_descriptors(repository: Path, tmp_path: Path) -> None:
    params = yaml.safe_load((repository / "params.yaml").read_text())
    done = check(repository, tmp_path, params)
    assert (done.returncode, done.stderr) == (0, "")
    written = {path.stem for path in (tmp_path / "mine/checked").glob("t*/*")}
    assert written == set(params["datasets"])


def test_a_precision_that_needs_a_gpu_is_told_before_the_downloads(repository: Path, tmp_path: Path) -> None:
    params = yaml.safe_load((repository / "params.yaml").read_text())
    params["recipes"]["unused"] = params["recipes"]["paper"] | {"precision": "bfloat16"}
    params["recipes"]["paper"]["precision"] = "tf32"
    done = check(repository, tmp_path, params)
    assert done.returncode == 0
    assert done.stderr.startswith("mine/params.yaml: recipes.paper.precision: tf32 needs a CUDA device")
    assert len(done.stderr.splitlines()) == 1
