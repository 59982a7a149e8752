"""What a stopped machine leaves is removed, and nothing else."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.experiments.repositories import Repository

DEAD = 2**22 + 1  # above the largest process number of Linux


def clean(toy: Repository, repository: Path, **env: str) -> str:
    tool = str(repository / "tools" / "clean_stale.py")
    return toy.run(sys.executable, tool, env={"PYTHONPATH": str(repository / "src"), **env})


@pytest.fixture
def bare(tmp_path: Path) -> Repository:
    """A folder that DVC has been used in."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return Repository(tmp_path)


def test_there_is_nothing_to_do_in_a_clean_repository(bare: Repository, repository: Path) -> None:
    assert clean(bare, repository) == "nothing stale\n"


def test_half_written_outputs_of_dead_processes_go(bare: Repository, repository: Path) -> None:
    folder = bare.root / "demo" / "models"
    folder.mkdir(parents=True)
    for name in (
        f".run.json.{DEAD}.tmp",
        f".own.json.{os.getpid()}.tmp",
        "weights.safetensors",
        ".notes.tmp",
        # Of a process that this host does not know and another may: it was written just now.
        f".other.json.{DEAD}.tmp",
    ):
        (folder / name).write_text("x")
    for run in ("small", "other"):
        (folder / f".{run}.{DEAD}.tmp").mkdir()
        (folder / f".{run}.{DEAD}.tmp" / "weights.safetensors").write_text("x")
    (folder / f".replaced.{DEAD}.old").mkdir()
    for path in sorted(folder.rglob("*"), reverse=True):
        if "other" not in str(path):
            os.utime(path, (0, 0))
    os.utime(folder / f".other.{DEAD}.tmp", (0, 0))
    output = clean(bare, repository)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".notes.tmp",
        f".other.{DEAD}.tmp",
        f".other.json.{DEAD}.tmp",
        f".own.json.{os.getpid()}.tmp",
        "weights.safetensors",
    ]
    assert output.count("half-written, removed") == 3


def test_a_torn_list_of_locks_goes_unless_it_is_being_written(bare: Repository, repository: Path) -> None:
    path = bare.root / ".dvc/tmp/rwlock"
    path.write_text('{"write": {"a"')
    os.utime(path, (time.time() + 60,) * 2)  # the tool needs a while to start
    assert clean(bare, repository) == "nothing stale\n"
    os.utime(path, (0, 0))
    assert "rwlock: incomplete, removed" in clean(bare, repository)
    path.write_text('{"write": {}, "read": {}}')
    os.utime(path, (0, 0))
    assert clean(bare, repository) == "nothing stale\n"
    assert path.exists()


@pytest.mark.slow
def test_a_store_that_fails_is_no_reason_to_stop(bare: Repository, repository: Path) -> None:
    for uri, reason in (("http://127.0.0.1:9", "Max retries"), ("mlruns", "give a server")):
        output = clean(bare, repository, MLFLOW_TRACKING_URI=uri)
        assert output.startswith("MLflow: its runs were left alone"), output
        assert reason in output


@pytest.mark.slow
def test_an_experiment_whose_processes_were_killed_no_longer_runs(toy: Repository, repository: Path) -> None:
    process = toy.start(
        sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", "slow", "-S", "runs.a.seed=120"
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
    toy.dvc("exp", "run", "--temp", "-n", "slow", "-S", "runs.a.seed=2")
    assert "slow" in toy.dvc("exp", "list")
