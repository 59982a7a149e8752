"""Several processes on one batch give the losses of one process."""

import csv
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alkdnet.training.distributed import torchrun_command
from tests.training.trainer import train_small

Starter = Callable[..., subprocess.Popen[str]]


def _losses(output: Path) -> list[float]:
    with (output / "history.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_processes_agree_within_summation_order(
    start_trainer: Starter, patches: Path, tmp_path: Path
) -> None:
    """The bound is that of test_loop's golden losses, for the same reason."""
    alone = _losses(train_small(patches, tmp_path / "1"))
    for processes in (2, 4):
        folder = tmp_path / str(processes)
        torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
        together = start_trainer(folder, prefix=torchrun)
        message, _ = together.communicate(timeout=300)
        assert together.returncode == 0, message
        assert _losses(folder / "run") == pytest.approx(alone, rel=2e-5)
        assert [path.name for path in (folder / "checkpoints").iterdir()] == []


@pytest.mark.slow
def test_stopped_together_and_continued_by_fewer(
    start_trainer: Starter, patches: Path, tmp_path: Path
) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    first = start_trainer(tmp_path / "2", "--iterations", "300", prefix=torchrun)
    while not list((tmp_path / "2" / "checkpoints").glob("*.ckpt")) and first.poll() is None:
        time.sleep(0.01)
    first.terminate()
    message, _ = first.communicate(timeout=300)
    assert first.returncode != 0, message
    assert not (tmp_path / "2" / "run").exists()
    for folder in ("1", "2"):
        trainer = start_trainer(tmp_path / folder, "--iterations", "300")
        message, _ = trainer.communicate(timeout=300)
        assert trainer.returncode == 0, message
    assert "continued after iteration" in message
    # 300 steps let rounding grow further than 20 do.
    assert _losses(tmp_path / "2" / "run")[:5] == pytest.approx(_losses(tmp_path / "1" / "run")[:5], rel=2e-5)


def test_torchrun_restarts_from_the_checkpoint() -> None:
    command = torchrun_command(4, ["pipeline/train.py", "--run", "x"])
    assert command[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    assert command[-3:] == ["pipeline/train.py", "--run", "x"]
    assert "--max-restarts=3" in command
