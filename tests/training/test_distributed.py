"""Several processes on one batch give the losses of one process."""

import csv
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from alkdnet.errors import UserError
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
        assert [path.suffix for path in (folder / "checkpoints").iterdir()] == [".finished"]


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


@pytest.mark.slow
def test_killed_worker_is_restarted_from_the_checkpoint(
    start_trainer: Starter, patches: Path, tmp_path: Path
) -> None:
    """The outputs are those of an undisturbed run by two processes, byte for byte."""
    torchrun = tuple(torchrun_command([], processes=2)[1:])
    whole = start_trainer(tmp_path / "whole", "--iterations", "200", prefix=torchrun)
    killed = start_trainer(tmp_path / "killed", "--iterations", "200", prefix=torchrun)
    checkpoints = tmp_path / "killed" / "checkpoints"
    while not any(checkpoints.glob("*.ckpt")):
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.01)
    (lock,) = checkpoints.glob("*.lock")
    os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)
    messages = [trainer.communicate(timeout=300)[0] for trainer in (whole, killed)]
    assert [whole.returncode, killed.returncode] == [0, 0], messages
    assert "continued after iteration" in messages[1]
    for name in ("weights.safetensors", "history.csv", "run.json"):
        first, second = ((tmp_path / folder / "run" / name).read_bytes() for folder in ("whole", "killed"))
        assert first == second, name


@pytest.mark.slow
def test_a_refusal_is_told_once_and_not_tried_again(
    start_trainer: Starter, patches: Path, tmp_path: Path
) -> None:
    torchrun = tuple(torchrun_command([], processes=2)[1:])
    first = start_trainer(tmp_path, "--iterations", "100000")
    while not any((tmp_path / "checkpoints").glob("*.ckpt")):
        assert first.poll() is None
        time.sleep(0.01)
    second = start_trainer(tmp_path, "--iterations", "100000", prefix=torchrun)
    message, _ = second.communicate(timeout=120)
    assert second.returncode != 0
    assert message.count("is training this very run already") == 1, message
    first.terminate()
    first.communicate(timeout=120)


def test_hosts_meet_where_they_are_told() -> None:
    command = torchrun_command(["train.py"], processes=2, hosts=3, rendezvous="first:29400", name="bsrn_x2")
    parsed = get_args_parser().parse_args(command[3:])
    assert (parsed.nnodes, parsed.nproc_per_node, parsed.standalone) == ("3", "2", False)
    assert (parsed.rdzv_backend, parsed.rdzv_endpoint, parsed.rdzv_id) == ("c10d", "first:29400", "bsrn_x2")


@pytest.mark.parametrize("rendezvous", [None, "", "first", "first:port", ":29400"])
def test_hosts_without_a_place_to_meet_are_refused(rendezvous: str | None) -> None:
    with pytest.raises(UserError, match=r"train\.hosts is 2: .*ALKDNET_RENDEZVOUS to HOST:PORT"):
        torchrun_command(["train.py"], processes=1, hosts=2, rendezvous=rendezvous)


def test_torchrun_takes_no_option_of_the_script_for_its_own() -> None:
    command = torchrun_command(["pipeline/train.py", "--run", "x"], processes=4)
    assert command[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    assert "--max-restarts=3" in command
    parsed = get_args_parser().parse_args(command[3:])
    assert parsed.training_script == "pipeline/train.py"
    assert parsed.training_script_args == ["--run", "x"]
