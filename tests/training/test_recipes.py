"""What a recipe changes in a training; and a stopped run ends with the bytes of one that was not."""

import dataclasses
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alkdnet.config.params import Loss, Recipe
from alkdnet.evaluation.metrics import psnr
from alkdnet.evaluation.protocol import Protocol
from alkdnet.inference.upscaler import Upscaler
from alkdnet.results.history import HistoryRow, read_history
from alkdnet.results.run import RAW_WEIGHTS, WEIGHTS, RunRecord
from alkdnet.training.runtime.signals import Stopped
from alkdnet.weights.runs import load_run
from tests.training.test_kills import Killer
from tests.training.trainer import RECIPE, train_small, validation_pair

SHORT = dataclasses.replace(RECIPE, iterations=10)
RECIPES = {
    "adamw": dataclasses.replace(SHORT, optimizer="adamw", weight_decay=0.1, warmup=4),
    "adan and average": dataclasses.replace(
        SHORT, optimizer="adan", beta1=0.98, beta2=0.92, beta3=0.99, learning_rate=5e-3, ema_decay=0.9
    ),
    "l1 and fft, clipped, in steps": dataclasses.replace(
        SHORT,
        loss=Loss(l1=1.0, fft=0.05),
        clip_norm=0.5,
        schedule="multistep",
        final_learning_rate=None,
        milestones=(3, 6),
        gamma=0.5,
    ),
    "l2 and charbonnier": dataclasses.replace(SHORT, loss=Loss(l2=1.0, charbonnier=0.5)),
}


def _outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _history(output: Path) -> list[HistoryRow]:
    return read_history(output / "history.csv")


def _train(patches: Path, folder: Path, recipe: Recipe) -> Path:
    return train_small(patches, folder, recipe=recipe)


@pytest.mark.parametrize("name", RECIPES)
def test_a_stopped_run_is_continued_bit_for_bit(patches: Path, tmp_path: Path, name: str) -> None:
    """Iteration 4 is one after a checkpoint, and the first with a row."""
    recipe = RECIPES[name]
    whole = _train(patches, tmp_path / "whole", recipe)
    with pytest.raises(Stopped, match="continues after iteration 4"):
        train_small(patches, tmp_path / "stopped", recipe=recipe, monitor=Killer(4, signal.SIGTERM))
    assert _outputs(_train(patches, tmp_path / "stopped", recipe)) == _outputs(whole)
    training = RunRecord.read(whole).training
    assert training is not None
    assert training.recipe == recipe


def test_the_average_is_the_result_and_the_last_weights_lie_beside_it(patches: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, ema_decay=0.9)
    averaged = _train(patches, tmp_path / "averaged", recipe)
    plain = _train(patches, tmp_path / "plain", SHORT)
    assert (averaged / RAW_WEIGHTS).read_bytes() == (plain / WEIGHTS).read_bytes()
    assert not (plain / RAW_WEIGHTS).exists()
    model, _ = load_run(averaged)
    lr_HWC, hr_HWC = validation_pair()
    expected = psnr(Upscaler(model)(lr_HWC), hr_HWC, scale=2, protocol=Protocol())
    last = _history(averaged)[-1]
    assert last.validation_psnr_ema == pytest.approx(expected, abs=5e-4)
    assert last.validation_psnr == _history(plain)[-1].validation_psnr
    assert {row.validation_psnr_ema for row in _history(plain)} == {None}


def test_the_average_follows_the_weights(patches: Path, tmp_path: Path) -> None:
    """Of two steps, by hand from the weights after none, one and two."""
    after = []
    for iterations in (1, 2):
        # A rate that does not depend on how many iterations there are.
        recipe = dataclasses.replace(
            SHORT, iterations=iterations, final_learning_rate=SHORT.learning_rate, ema_decay=0.75
        )
        folder = _train(patches, tmp_path / str(iterations), recipe)
        after.append((load_file(folder / RAW_WEIGHTS), load_file(folder / WEIGHTS)))
    (_, first), (weights, second) = after
    for name, average in second.items():
        assert torch.allclose(average, 0.75 * first[name] + 0.25 * weights[name], atol=1e-6), name


def test_clipping_bounds_the_step_and_records_the_norm(patches: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, optimizer="adam", clip_norm=1e9)
    norms = [row.gradient_norm for row in _history(_train(patches, tmp_path / "loose", recipe))]
    assert all(norm is not None and norm > 0 for norm in norms)
    loose, plain = tmp_path / "loose" / "run", _train(patches, tmp_path / "plain", SHORT)
    assert (loose / WEIGHTS).read_bytes() == (plain / WEIGHTS).read_bytes()
    assert {row.gradient_norm for row in _history(plain)} == {None}
    # Adam divides by the size of the gradients; its epsilon shows where they become tiny.
    tight = _train(patches, tmp_path / "tight", dataclasses.replace(SHORT, clip_norm=1e-9))
    assert _history(tight)[-1].loss > 1.5 * _history(plain)[-1].loss


def test_an_fft_loss_above_ten_is_no_divergence(patches: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, loss=Loss(fft=20.0))
    assert _history(_train(patches, tmp_path, recipe))[0].loss > 10


def test_a_run_from_other_weights_says_from_which(patches: Path, tmp_path: Path) -> None:
    parent = _train(patches, tmp_path / "parent", SHORT).rename(tmp_path / "alkdnet_x2")
    child = train_small(patches, tmp_path / "child", recipe=SHORT, start=parent / WEIGHTS)
    training = RunRecord.read(child).training
    assert training is not None
    assert training.init_from is not None
    assert training.init_from.row == "alkdnet_x2"
    assert training.init_from.weights_sha256 == RunRecord.read(parent).weights_sha256
    assert _history(child)[0].loss < 0.6 * _history(parent)[0].loss


def test_without_validation_sets_the_columns_stay_empty(patches: Path, tmp_path: Path) -> None:
    output = train_small(patches, tmp_path, recipe=dataclasses.replace(SHORT, ema_decay=0.9), validation=[])
    rows = _history(output)
    assert [row.iteration for row in rows] == [4, 8, 10]
    assert {(row.validation_psnr, row.validation_psnr_ema) for row in rows} == {(None, None)}
