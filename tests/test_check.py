"""The first stage refuses what only the table of sources and the networks can tell, naming file and key."""

import os
import subprocess
import sys
from pathlib import Path

import yaml


def check(repository: Path, folder: Path, params: dict) -> subprocess.CompletedProcess[str]:
    (folder / "mine.yaml").write_text(yaml.safe_dump({**params, "params_file": "mine.yaml"}, sort_keys=False))
    return subprocess.run(
        [sys.executable, repository / "pipeline" / "check.py", "--params", "mine.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(repository / "src")},
        capture_output=True,
        text=True,
    )


def test_all_refusals_name_the_parameter_file_and_nothing_is_written(
    repository: Path, tmp_path: Path
) -> None:
    params = yaml.safe_load((repository / "params.yaml").read_text())
    params["datasets"] |= {
        "misspelt": {"use": "test", "source": "urban10"},
        "misused": {"use": "train", "source": "set5"},
    }
    run = {"kind": "trained", "scale": 2, "inputs": "patches/x2"}
    params["runs"] |= {
        "unknown": {**run, "network": "alkdnett"},
        "option": {**run, "network": "alkdnet", "kernel": 7},
    }
    done = check(repository, tmp_path, params)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    starts = (
        "error: mine.yaml: datasets.misspelt.source: urban10: no such data set; did you mean urban100",
        "mine.yaml: datasets.misused.use: set5 may be used for test only",
        "mine.yaml: runs.unknown: ",
        "mine.yaml: runs.option: alkdnet has no option 'kernel'",
    )
    lines = done.stderr.splitlines()
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start)
    assert "alkdnett" in lines[2]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_valid_file_leaves_marks_and_descriptors(repository: Path, tmp_path: Path) -> None:
    params = yaml.safe_load((repository / "params.yaml").read_text())
    done = check(repository, tmp_path, params)
    assert (done.returncode, done.stderr) == (0, "")
    written = {path.stem for path in (tmp_path / params["dir"] / "checked" / "datasets").iterdir()}
    assert written == set(params["datasets"])
