"""The stage as it is started: by DVC, by hand on a bare host."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alkdnet.process import is_alive
from tests.training.trainer import EXECUTION, RECIPE, make_pipeline

OUTPUTS = ["history.csv", "run.json", "weights.safetensors"]
# What a GPU host need not have.
NOT_NEEDED = ("dvc", "PIL", "mlflow", "pandas", "matplotlib", "skimage", "scipy", "httpx", "tqdm", "typer")


def _outputs(folder: Path) -> list[str]:
    output = folder / "study" / "models" / "alkdnet_x2"
    return sorted(path.name for path in output.iterdir()) if output.is_dir() else []


def test_trains_with_torch_numpy_pyyaml_and_safetensors_alone(tmp_path: Path) -> None:
    script, *arguments = make_pipeline(tmp_path)
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({NOT_NEEDED!r}))\n"  # importing None is an ImportError
        f"sys.argv = {[script, *arguments]!r}\n"
        f"sys.path.insert(0, {str(Path(script).parent)!r})\n"
        f"runpy.run_path({script!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "MLflow is not installed" in done.stderr
    assert _outputs(tmp_path) == OUTPUTS


@pytest.mark.slow
def test_what_all_processes_reject_is_reported_once(tmp_path: Path) -> None:
    script = make_pipeline(tmp_path, execution=dataclasses.replace(EXECUTION, processes=2))
    (tmp_path / "study/validation/x2/set5.safetensors").write_text("no images")
    done = subprocess.run(
        [sys.executable, *script], cwd=tmp_path, env=_environment(), capture_output=True, text=True
    )
    assert done.returncode != 0
    assert done.stderr.count("set5.safetensors: damaged") == 1, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_trains_on_when_the_parent_is_killed(tmp_path: Path, processes: int) -> None:
    """A shell in DVC's place starts the stage through `sh -c`, as DVC does, and is killed."""
    script = make_pipeline(
        tmp_path,
        recipe=dataclasses.replace(RECIPE, iterations=1_000_000),
        execution=dataclasses.replace(EXECUTION, processes=processes),
    )
    stage = " ".join([sys.executable, *script])
    # `; true` keeps the shells from becoming the command.
    (tmp_path / "dvc.sh").write_text(f"sh -c '{stage}; true'\ntrue\n")
    descendants: list[int] = []
    with (tmp_path / "log").open("w") as log:
        parent = subprocess.Popen(
            ["sh", "dvc.sh"],
            cwd=tmp_path,
            env={**_environment(), "DVC_STAGE": "train@alkdnet_x2"},
            stderr=log,
        )
    try:
        checkpoints = tmp_path / ".checkpoints/study"
        _wait(lambda: any(checkpoints.glob("*.ckpt")), tmp_path)
        descendants = _descendants(parent.pid)
        assert len(descendants) >= 1 + processes
        parent.kill()
        parent.wait()
        _wait(lambda: not any(is_alive(process) for process in descendants), tmp_path)
    finally:
        for process in {parent.pid, *descendants, *_descendants(parent.pid)}:
            if is_alive(process):
                os.kill(process, signal.SIGKILL)
        parent.wait()
    assert [path.suffix for path in checkpoints.iterdir() if path.suffix != ".lock"] == [".ckpt"]
    assert f"the end of process {parent.pid}, which started it" in (tmp_path / "log").read_text()
    assert _outputs(tmp_path) == []


def _environment() -> dict[str, str]:
    """Return this process's environment without what torchrun or DVC left in it."""
    dropped = ("TORCHELASTIC_", "DVC_", "ALKDNET_")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def _descendants(process: int) -> list[int]:
    """Return the ids of the processes under one, by Linux's /proc."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    found = [child for child, parent in parents.items() if parent == process]
    return [*found, *(each for child in found for each in _descendants(child))]


def _wait(condition: Callable[[], bool], folder: Path, *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)
