"""Several processes on one batch give the losses of one process."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from alkdnet.results.history import read_history
from tests.training.trainer import train_small

Start = Callable[..., subprocess.Popen[str]]


def _losses(output: Path) -> list[float]:
    return [row.loss for row in read_history(output / "history.csv")]


def _wait_for_checkpoint(folder: Path, trainer: subprocess.Popen[str]) -> None:
    while not any((folder / "checkpoints").glob("*.ckpt")):
        assert trainer.poll() is None, trainer.communicate()[0]
        time.sleep(0.01)


@pytest.mark.slow
def test_processes_agree_within_summation_order(start_trainer: Start, patches: Path, tmp_path: Path) -> None:
    """The bound is that of test_loop's golden losses, for the same reason."""
    alone = _losses(train_small(patches, tmp_path / "1"))
    for processes in (2, 4):
        folder = tmp_path / str(processes)
        together = start_trainer(folder, "--processes", str(processes))
        message, _ = together.communicate(timeout=300)
        assert together.returncode == 0, message
        assert _losses(folder / "run") == pytest.approx(alone, rel=2e-5)
        assert any((folder / "checkpoints").glob("*.finished"))


@pytest.mark.slow
def test_torchrun_starts_a_training_too(start_trainer: Start, patches: Path, tmp_path: Path) -> None:
    """As on several hosts: docs/training.md."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--")
    together = start_trainer(tmp_path / "torchrun", prefix=torchrun)
    message, _ = together.communicate(timeout=300)
    assert together.returncode == 0, message
    launched = start_trainer(tmp_path / "launched", "--processes", "2")
    message, _ = launched.communicate(timeout=300)
    assert launched.returncode == 0, message
    for name in ("weights.safetensors", "history.csv"):
        outputs = (tmp_path / folder / "run" / name for folder in ("torchrun", "launched"))
        first, second = (output.read_bytes() for output in outputs)
        assert first == second, name


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_together_and_continued_by_fewer(
    start_trainer: Start, patches: Path, tmp_path: Path, number: signal.Signals
) -> None:
    first = start_trainer(tmp_path / "2", "--iterations", "300", "--processes", "2")
    _wait_for_checkpoint(tmp_path / "2", first)
    first.send_signal(number)
    message, _ = first.communicate(timeout=300)
    assert first.returncode == 128 + number, message
    assert not (tmp_path / "2" / "run").exists()
    for folder in ("1", "2"):
        trainer = start_trainer(tmp_path / folder, "--iterations", "300")
        message, _ = trainer.communicate(timeout=300)
        assert trainer.returncode == 0, message
    assert "continued after iteration" in message
    # 300 steps let rounding grow further than 20 do.
    assert _losses(tmp_path / "2" / "run")[:5] == pytest.approx(_losses(tmp_path / "1" / "run")[:5], rel=2e-5)


@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_the_next_start_continues(
    start_trainer: Start, patches: Path, tmp_path: Path
) -> None:
    """The outputs are those of an undisturbed run by two processes, byte for byte."""
    options = ("--iterations", "200", "--processes", "2")
    whole = start_trainer(tmp_path / "whole", *options)
    killed = start_trainer(tmp_path / "killed", *options)
    _wait_for_checkpoint(tmp_path / "killed", killed)
    workers = [
        child for child in psutil.Process(killed.pid).children() if "spawn_main" in str(child.cmdline())
    ]
    assert len(workers) == 2
    workers[1].kill()
    killed.communicate(timeout=300)
    assert killed.returncode not in (0, None)
    again = start_trainer(tmp_path / "killed", *options)
    messages = [trainer.communicate(timeout=300)[0] for trainer in (whole, again)]
    assert [whole.returncode, again.returncode] == [0, 0], messages
    assert "continued after iteration" in messages[1]
    for name in ("weights.safetensors", "history.csv", "run.json"):
        first, second = ((tmp_path / folder / "run" / name).read_bytes() for folder in ("whole", "killed"))
        assert first == second, name
