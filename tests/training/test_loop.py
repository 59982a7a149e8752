"""The loop: its numbers, its outputs, its errors."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from alkdnet.errors import UserError
from alkdnet.evaluation.metrics import psnr
from alkdnet.evaluation.protocol import Protocol
from alkdnet.files import sha256_file
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks import build
from alkdnet.results.history import HistoryRow, read_history
from alkdnet.results.run import RunRecord
from alkdnet.training.runtime.session import DIVERGED
from alkdnet.weights.files import load_weights
from tests.training.trainer import EXECUTION, RECIPE, RECORDED, RUN, train_small, validation_pair

EVERY_STEP = dataclasses.replace(RECORDED, log_interval=1)
OUTPUTS = ("weights.safetensors", "history.csv", "run.json")


class Recorder:
    """A monitor that keeps what it receives."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.closed: list[bool] = []
        self.resumed: list[str] = []

    def resume(self, state: str) -> None:
        self.resumed.append(state)

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        self.logged.append((iteration, dict(values)))

    def state(self) -> str:
        return f"seen {len(self.logged)}"

    def close(self, *, finished: bool) -> None:
        self.closed.append(finished)


@pytest.fixture(scope="module")
def finished(patches: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recorder]:
    """The outputs of the small run, and what its monitor received."""
    recorder = Recorder()
    return train_small(patches, tmp_path_factory.mktemp("finished"), monitor=recorder), recorder


def _history(output: Path) -> list[HistoryRow]:
    return read_history(output / "history.csv")


def test_golden_loss_curve(patches: Path, tmp_path: Path) -> None:
    """20 steps of one loss each, recorded with torch 2.13.0 on an AMD EPYC.

    Another CPU model adds in another order: about 1e-7 of a loss in the first step, which Adam's division by
    small gradients makes up to 100 times as much in 20 steps. The last bits are compared in the test of the
    same run again, on one machine.
    """
    losses = [row.loss for row in _history(train_small(patches, tmp_path, history=EVERY_STEP))]
    assert losses == pytest.approx(GOLDEN, rel=2e-5)
    assert losses[-1] < losses[0] / 2


GOLDEN = [
    0.6189035177230835,
    0.551577627658844,
    0.4825361669063568,
    0.42304497957229614,
    0.3686530292034149,
    0.31908679008483887,
    0.279096782207489,
    0.25216376781463623,
    0.23042583465576172,
    0.2166418731212616,
    0.2099970281124115,
    0.19904160499572754,
    0.1958182156085968,
    0.18780815601348877,
    0.1835949718952179,
    0.18123410642147064,
    0.17943136394023895,
    0.17321133613586426,
    0.1776687502861023,
    0.17503151297569275,
]


@pytest.mark.slow
def test_two_threads_agree_with_one_within_rounding(patches: Path, tmp_path: Path) -> None:
    two_threads = dataclasses.replace(EXECUTION, threads=2)
    output = train_small(patches, tmp_path, history=EVERY_STEP, execution=two_threads)
    losses = [row.loss for row in _history(output)]
    assert losses == pytest.approx(GOLDEN, rel=2e-5)


def test_history_has_mean_losses_rates_and_psnr_where_due(finished: tuple[Path, Recorder]) -> None:
    output, _ = finished
    rows = _history(output)
    assert [row.iteration for row in rows] == [4, 8, 10, 12, 16, 20]
    assert [row.iteration for row in rows if row.validation_psnr is not None] == [10, 20]
    assert rows[0].loss == pytest.approx(math.fsum(GOLDEN[:4]) / 4, rel=2e-5)
    assert rows[2].loss == pytest.approx(math.fsum(GOLDEN[8:10]) / 2, rel=2e-5)


def test_last_psnr_is_that_of_the_written_weights(finished: tuple[Path, Recorder]) -> None:
    output, _ = finished
    model = build(RUN.network, RUN.scale, RUN.options)
    load_weights(output / "weights.safetensors", model)
    lr_HWC, hr_HWC = validation_pair()
    expected = psnr(Upscaler(model)(lr_HWC), hr_HWC, scale=2, protocol=Protocol())
    assert _history(output)[-1].validation_psnr == pytest.approx(expected, abs=5e-4)


def test_record_says_what_the_run_is_and_nothing_of_where(finished: tuple[Path, Recorder]) -> None:
    output, _ = finished
    record = json.loads((output / "run.json").read_text())
    assert record["network"] == "alkdnet"
    assert record["options"] == dict(RUN.options)
    assert record["training"]["init_from"] is None
    training = RunRecord.read(output).training
    assert training is not None
    assert training.recipe == RECIPE
    assert record["weights_sha256"] == sha256_file(output / "weights.safetensors")
    assert sorted(path.name for path in output.iterdir()) == sorted(OUTPUTS)
    assert str(output.parent) not in (output / "run.json").read_text()


def test_monitor_hears_every_row_and_the_end(finished: tuple[Path, Recorder]) -> None:
    output, recorder = finished
    assert recorder.logged == [(row.iteration, row.values()) for row in _history(output)]
    assert recorder.closed == [True]
    assert recorder.resumed == []


def test_the_same_run_again_gives_the_same_bytes(
    patches: Path, finished: tuple[Path, Recorder], tmp_path: Path
) -> None:
    again = train_small(patches, tmp_path)
    for name in OUTPUTS:
        assert (again / name).read_bytes() == (finished[0] / name).read_bytes(), name
    assert [path.suffix for path in (tmp_path / "checkpoints").glob("*[!k]")] == [".finished"]


def test_a_loss_is_judged_by_its_mean_however_long_the_row(patches: Path, tmp_path: Path) -> None:
    """The sum of 19 losses, of which a checkpoint in the middle of a row is made, is above DIVERGED."""
    recipe = dataclasses.replace(RECIPE, iterations=40, learning_rate=1e-7)
    history = dataclasses.replace(RECORDED, log_interval=100, validation_interval=100)
    execution = dataclasses.replace(EXECUTION, checkpoint_interval=39)
    output = train_small(patches, tmp_path, recipe=recipe, history=history, execution=execution)
    (row,) = _history(output)
    assert row.loss * 39 > DIVERGED


def test_a_diverged_run_stops_and_names_the_last_good_checkpoint(patches: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, learning_rate=3e3)
    execution = dataclasses.replace(EXECUTION, checkpoint_interval=1)
    recorder = Recorder()
    with pytest.raises(UserError, match=r"diverged .*no checkpoint yet|diverged .*\.ckpt"):
        train_small(
            patches, tmp_path, recipe=recipe, history=EVERY_STEP, execution=execution, monitor=recorder
        )
    assert recorder.closed == [False]
    assert not (tmp_path / "run").exists()


def test_reduced_precision_on_a_cpu_is_rejected(patches: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"precision: bfloat16 needs a CUDA device"):
        train_small(patches, tmp_path, recipe=dataclasses.replace(RECIPE, precision="bfloat16"))
