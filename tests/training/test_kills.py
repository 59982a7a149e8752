"""A run that is stopped at any moment and started again ends with the bytes of one that was not."""

import contextlib
import dataclasses
import errno
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pytest
import torch

from alkdnet.config.params import Recipe
from alkdnet.errors import UserError
from alkdnet.process import is_alive
from alkdnet.training.runtime.checkpoint import CheckpointFile, State
from alkdnet.training.runtime.monitor import NullMonitor
from alkdnet.training.runtime.session import Session
from alkdnet.training.runtime.signals import Stopped
from tests.training.trainer import RECIPE, train_or_exit, train_small

Starter = Callable[..., subprocess.Popen[str]]
OUTPUTS = ("weights.safetensors", "history.csv", "run.json")


@pytest.fixture(scope="module")
def uninterrupted(patches: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of the small run, trained at one go."""
    return _outputs(train_small(patches, tmp_path_factory.mktemp("uninterrupted")))


def _outputs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


class KillerAtCheckpoint(NullMonitor):
    """Sends a signal to its own process when a checkpoint is written, once."""

    def __init__(self, number: signal.Signals) -> None:
        self.number: signal.Signals | None = number

    def state(self) -> str:
        if self.number is not None:
            os.kill(os.getpid(), self.number)
            self.number = None
        return ""


class Announcer(NullMonitor):
    """Sends a byte when the training continues from a checkpoint or writes one, so when it holds the lock."""

    def __init__(self, sender: Connection) -> None:
        self.sender = sender

    def resume(self, state: str) -> None:
        self.sender.send_bytes(state.encode())

    def state(self) -> str:
        self.sender.send_bytes(b"1")
        return "1"


class Killer(NullMonitor):
    """Sends a signal to its own process when the row of an iteration is logged."""

    def __init__(self, iteration: int, number: signal.Signals) -> None:
        self.iteration = iteration
        self.number = number

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        if iteration == self.iteration:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signal_finishes_the_iteration_and_leaves_a_checkpoint(
    request: pytest.FixtureRequest,
    patches: Path,
    tmp_path: Path,
    uninterrupted: dict[str, bytes],
    number: signal.Signals,
    code: int,
) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:  # as under nohup, or in a background job
        request.addfinalizer(lambda: signal.signal(number, signal.SIG_IGN))
        signal.signal(number, signal.SIG_DFL)
    handler = signal.getsignal(number)
    # Iteration 4 is one after a checkpoint, and has just begun a new mean of the loss.
    with pytest.raises(Stopped, match=number.name) as stopped:
        train_small(patches, tmp_path, monitor=Killer(4, number))
    assert stopped.value.exit_code == code
    assert signal.getsignal(number) is handler
    assert not (tmp_path / "run").exists()
    assert [path.suffix for path in _checkpoints(tmp_path)] == [".ckpt"]
    # Once more in the middle of the mean of a loss, of iterations 5 to 8.
    with pytest.raises(Stopped, match="continues after iteration 7"):
        train_small(patches, tmp_path, monitor=KillerAtCheckpoint(number))
    assert _outputs(train_small(patches, tmp_path)) == uninterrupted


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: dataclasses.replace(state, iteration=21), "iteration 21 of 20"),
        (lambda state: dataclasses.replace(state, model={}), "Missing key"),
        (lambda state: dataclasses.replace(state, optimizer={}), "'param_groups'"),
        (lambda state: state.optimizer["param_groups"][0].update(betas=(0.1, 0.2)), "other betas"),
        (lambda state: state.optimizer["state"][0].update(exp_avg=torch.ones(1)), "exp_avg of the optimizer"),
    ],
)
def test_a_checkpoint_of_something_else_is_named(
    patches: Path, tmp_path: Path, change: Callable[[State], State | None], problem: str
) -> None:
    with pytest.raises(Stopped):
        train_small(patches, tmp_path, monitor=Killer(4, signal.SIGTERM))
    (path,) = _checkpoints(tmp_path)
    file = CheckpointFile(path.parent, "run", path.read_bytes().split()[2].decode())
    state = file.read()
    assert state is not None
    file.write(change(state) or state)
    with pytest.raises(UserError, match="not the state of this training") as error:
        train_small(patches, tmp_path)
    assert str(error.value).startswith(f"{path}: ")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_orphan_stops(patches: Path, tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    parent = subprocess.Popen(["sleep", "100"])
    assert is_alive(parent.pid)
    parent.kill()
    while is_alive(parent.pid):  # a zombie from here on, as nobody has waited for it
        time.sleep(0.01)
    with pytest.raises(Stopped, match=f"the end of process {parent.pid}, which started it") as stopped:
        train_small(patches, tmp_path, parent=parent.pid)
    parent.wait()
    assert stopped.value.exit_code != 0
    assert _outputs(train_small(patches, tmp_path, parent=os.getppid())) == uninterrupted


def test_a_run_that_ended_before_dvc_recorded_it_is_not_trained_again(
    patches: Path, tmp_path: Path, uninterrupted: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """DVC removes the outputs of a stage before it runs it again."""
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            shutil.rmtree(train_small(patches, tmp_path))
        assert _outputs(train_small(patches, tmp_path)) == uninterrupted
    assert caplog.text.count(f"run: continued after iteration {RECIPE.iterations}") == 2
    assert [path.suffix for path in _checkpoints(tmp_path)] == [".finished"]


def test_the_checkpoint_of_a_finished_run_goes_when_another_one_of_its_name_begins(
    patches: Path, tmp_path: Path
) -> None:
    train_small(patches, tmp_path)
    train_small(patches, tmp_path, recipe=dataclasses.replace(RECIPE, beta1=0.8))
    (finished,) = _checkpoints(tmp_path)
    train_small(patches, tmp_path, recipe=dataclasses.replace(RECIPE, beta1=0.7))
    (later,) = _checkpoints(tmp_path)
    assert later != finished


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in (folder / "checkpoints").iterdir() if path.suffix != ".lock"]


def test_a_kill_after_the_last_iteration_costs_nothing(
    patches: Path, tmp_path: Path, uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Session, "write_outputs", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        process = multiprocessing.get_context("fork").Process(
            target=train_or_exit, args=(patches, tmp_path, RECIPE)
        )
        process.start()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    (checkpoint,) = (tmp_path / "checkpoints").glob("*.ckpt")
    state = CheckpointFile(checkpoint.parent, "run", _identity(checkpoint)).read()
    assert state is not None
    assert state.iteration == RECIPE.iterations
    assert _outputs(train_small(patches, tmp_path)) == uninterrupted


def _identity(checkpoint: Path) -> str:
    """Return the identity in a checkpoint's first line."""
    with checkpoint.open("rb") as file:
        return file.readline().split()[2].decode()


@pytest.mark.parametrize(
    "shell", [["sh", "-c"], ["bash", "--noprofile", "--norc", "-c"], ["bash", "--norc", "-e", "-c"]]
)
def test_the_waiting_process_is_found_behind_the_shell_that_dvc_uses(shell: list[str]) -> None:
    """`; true` keeps the shell from becoming the command."""
    code = "from alkdnet.training.runtime.signals import waiting_process; print(waiting_process())"
    command = f'PYTHONPATH=src {sys.executable} -c "{code}"; true'
    printed = subprocess.run([*shell, command], stdout=subprocess.PIPE, text=True, check=True)
    assert int(printed.stdout) == os.getpid()


def test_full_disk_costs_a_checkpoint_but_not_the_run(
    patches: Path,
    tmp_path: Path,
    uninterrupted: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CheckpointFile, "write", fail)
    assert _outputs(train_small(patches, tmp_path)) == uninterrupted
    assert "no checkpoint at iteration 3: [Errno 28] No space left on device" in caplog.text


def test_a_stop_on_a_full_disk_does_not_promise_a_checkpoint(
    patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CheckpointFile, "write", fail)
    with pytest.raises(Stopped, match="SIGTERM; the next start starts again"):
        train_small(patches, tmp_path, monitor=Killer(4, signal.SIGTERM))


def test_real_process_killed_three_times(
    tmp_path: Path, patches: Path, uninterrupted: dict[str, bytes]
) -> None:
    kills = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
    assert _train_through_kills(patches, tmp_path, kills, seed=0, recipe=RECIPE) > 0
    assert _outputs(tmp_path / "run") == uninterrupted


@pytest.mark.slow
def test_real_process_killed_at_twenty_random_moments(tmp_path: Path, patches: Path) -> None:
    recipe = dataclasses.replace(RECIPE, iterations=400)
    _train_through_kills(patches, tmp_path / "whole", [], seed=0, recipe=recipe)
    kinds = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
    signals = random.Random(1).choices(kinds, [3, 1, 1], k=20)
    assert _train_through_kills(patches, tmp_path, signals, seed=1, recipe=recipe) == 20
    assert _outputs(tmp_path / "run") == _outputs(tmp_path / "whole" / "run")


@pytest.mark.slow
def test_second_process_on_one_run_is_rejected(start_trainer: Starter, tmp_path: Path) -> None:
    first = start_trainer(tmp_path, "--iterations", "100000")
    while not any((tmp_path / "checkpoints").glob("*.ckpt")):
        assert first.poll() is None
        time.sleep(0.01)
    second = start_trainer(tmp_path, "--iterations", "100000")
    message, _ = second.communicate(timeout=120)
    assert second.returncode == 1
    assert "another process trains this very run already" in message
    first.terminate()
    first.communicate(timeout=120)
    assert first.returncode == 143


def _train_through_kills(
    patches: Path, folder: Path, kills: list[signal.Signals], *, seed: int, recipe: Recipe
) -> int:
    """Start until the run finishes, each of `kills` at a random moment before; return how many hit.

    The processes come from a server that has imported everything, so that their time goes into training.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.trainer"])
    moments = random.Random(seed)
    for hit, number in enumerate([*kills, None]):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=train_or_exit, args=(patches, folder, recipe, None, Announcer(sender))
        )
        process.start()
        if number is not None:
            wait([receiver, process.sentinel])
            # A twentieth of the run on a quiet machine.
            time.sleep(moments.uniform(0, 0.0007 * recipe.iterations))
            with contextlib.suppress(ProcessLookupError):  # it finished meanwhile
                os.kill(process.pid or 0, number)
        process.join()
        if process.exitcode == 0:
            return hit
        assert number is not None, f"exit code {process.exitcode} without a kill"
        assert process.exitcode == (-number if number == signal.SIGKILL else 128 + number)
    raise AssertionError("unreachable")
