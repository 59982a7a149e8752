"""What a stopped machine leaves is removed, and nothing else."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.experiments.repositories import Repository

DEAD = 2**22 + 1  # above the largest process number of Linux


def clean(toy: Repository, repository: Path) -> str:
    tool = str(repository / "tools" / "clean_stale.py")
    return toy.run(sys.executable, tool, env={"PYTHONPATH": str(repository / "src")})


@pytest.fixture
def bare(tmp_path: Path) -> Repository:
    """A folder that DVC has been used in."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return Repository(tmp_path)


def test_there_is_nothing_to_do_in_a_clean_place(bare: Repository, repository: Path) -> None:
    assert clean(bare, repository) == "nothing stale\n"


def test_half_written_outputs_of_dead_processes_go(bare: Repository, repository: Path) -> None:
    folder = bare.root / "demo" / "models"
    folder.mkdir(parents=True)
    for name in (
        f".run.json.{DEAD}.tmp",
        f".own.json.{os.getpid()}.tmp",
        "weights.safetensors",
        ".notes.tmp",
    ):
        (folder / name).write_text("x")
    (folder / f".small.{DEAD}.tmp").mkdir()
    (folder / f".small.{DEAD}.tmp" / "weights.safetensors").write_text("x")
    output = clean(bare, repository)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".notes.tmp",
        f".own.json.{os.getpid()}.tmp",
        "weights.safetensors",
    ]
    assert output.count("half-written, removed") == 2


def test_locks_of_dead_processes_go(bare: Repository, repository: Path) -> None:
    alive, dead = {"pid": os.getpid(), "cmd": "dvc repro"}, {"pid": DEAD, "cmd": "dvc repro"}
    path = bare.root / ".dvc/tmp/rwlock"
    path.write_text(json.dumps({"write": {"a": dead, "b": alive}, "read": {"c": [dead, alive], "d": [dead]}}))
    assert "dropped" in clean(bare, repository)
    assert json.loads(path.read_text()) == {"write": {"b": alive}, "read": {"c": [alive]}}
    assert clean(bare, repository) == "nothing stale\n"


@pytest.mark.slow
def test_an_experiment_whose_processes_were_killed_no_longer_runs(toy: Repository, repository: Path) -> None:
    process = toy.start(
        sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", "slow", "-S", "runs.a.seconds=120"
    )
    standalone = toy.root / ".dvc/tmp/exps/standalone"
    deadline = time.monotonic() + 120
    while not list(standalone.glob("tmp*/data")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "removed" not in clean(toy, repository)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert "Running" in toy.dvc("exp", "show", "--md")
    assert "directory of an experiment that died, removed" in clean(toy, repository)
    assert "Running" not in toy.dvc("exp", "show", "--md")
    # Nothing of value is gone: the same experiment runs again.
    toy.dvc("exp", "run", "--temp", "-n", "slow", "-S", "runs.a.seconds=0.1")
    assert "slow" in toy.dvc("exp", "list")
