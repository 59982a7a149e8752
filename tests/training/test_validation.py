"""PSNR while the training goes on: nothing waits for it before the next row is due."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from alkdnet.data.sampler import PatchSampler
from alkdnet.results.history import HistoryRow
from alkdnet.training import validation
from alkdnet.training.runtime.monitor import NullMonitor
from alkdnet.training.runtime.recorder import Recorder
from tests.training.trainer import RECORDED, train_small, validation_pair


class Listener(NullMonitor):
    """Keeps the rows it receives."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float | None]] = []

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Keep iteration and PSNR."""
        self.rows.append((iteration, values.get("validation_psnr")))


def test_a_row_is_reported_when_it_is_complete_and_rows_stay_in_order() -> None:
    listener = Listener()
    recorder = Recorder([HistoryRow(1, 0.5, 0.1, 20.0)], listener)
    coming: Future[float] = Future()
    recorder.add(HistoryRow(2, 0.4, 0.1, None), {"validation_psnr": coming})
    assert recorder.iteration == 2
    assert recorder.note() == "loss 0.4000, 20.00 dB, lr 1.0e-01"
    assert listener.rows == []
    coming.set_result(30.0)
    recorder.add(HistoryRow(3, 0.3, 0.1, None), {})
    assert listener.rows == [(2, 30.0), (3, None)]
    assert recorder.complete() == [
        HistoryRow(1, 0.5, 0.1, 20.0),
        HistoryRow(2, 0.4, 0.1, 30.0),
        HistoryRow(3, 0.3, 0.1, None),
    ]
    assert recorder.note() == "loss 0.3000, 30.00 dB, lr 1.0e-01"


def test_the_training_goes_on_while_images_are_compared(
    patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison of iteration 10 ends only after a batch of a later iteration has been drawn."""
    later = threading.Event()
    draws = PatchSampler.batch

    def batch(sampler: PatchSampler, iteration: int) -> tuple[torch.Tensor, torch.Tensor]:
        if iteration == RECORDED.validation_interval + 1:
            later.set()
        return draws(sampler, iteration)

    def psnr(*_: object, **__: Any) -> float:
        assert later.wait(30)
        return 42.0

    monkeypatch.setattr(PatchSampler, "batch", batch)
    monkeypatch.setattr(validation, "psnr", psnr)
    listener = Listener()
    train_small(patches, tmp_path, monitor=listener)
    assert listener.rows == [(4, None), (8, None), (10, 42.0), (12, None), (16, None), (20, 42.0)]


def test_the_network_trains_on_after_it() -> None:
    model = torch.nn.Sequential(
        torch.nn.Dropout(0.5), torch.nn.Conv2d(3, 3, 1), torch.nn.Upsample(scale_factor=2)
    )
    validator = validation.Validator([validation_pair()], scale=2, device=torch.device("cpu"))
    assert validator.start(model.train()).result() == validator.start(model).result()
    assert model.training


def test_a_comparison_that_fails_ends_the_training(
    patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def psnr(*_: object, **__: Any) -> float:
        raise ValueError("no such image")

    monkeypatch.setattr(validation, "psnr", psnr)
    with pytest.raises(ValueError, match="no such image"):
        train_small(patches, tmp_path)
