"""A step as a CUDA graph, with stand-ins for what needs a GPU; tests/training/test_cuda.py does it on one."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.training import cuda_graph, step
from alkdnet.training.cuda_graph import WARM_UP
from alkdnet.training.step import TrainingStep

STEPS = 8


class Training:
    """A network that is trained for a few steps on batches that differ."""

    def __init__(self, *, graph: bool) -> None:
        torch.manual_seed(0)
        self.model = nn.Conv2d(3, 3, 3, padding=1)
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.step = TrainingStep(
            optimizer=self.optimizer,
            batch_loss=lambda x_BCHW, y_BCHW: F.l1_loss(self.model(x_BCHW), y_BCHW),
            device=torch.device("cpu"),
            graph=graph,
        )

    def losses(self) -> list[float]:
        """Train, at a falling learning rate; return the loss of each step."""
        random = torch.Generator().manual_seed(1)
        batches = torch.rand(STEPS, 2, 4, 3, 6, 6, generator=random)
        return [self.step(*batch, 1e-2 / (i + 1)).item() for i, batch in enumerate(batches)]


@pytest.fixture
def without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams of a GPU are exchanged for plain calls."""
    monkeypatch.setattr(torch.cuda, "Stream", object)
    monkeypatch.setattr(
        cuda_graph.GraphedFunction, "_on_side_stream", lambda self, *inputs: self._function(*inputs)
    )


def _recording(training: Training) -> Callable[..., Any]:
    """Return a stand-in for `Recording`: it leaves the training as it was, and a replay computes."""

    class Recording:
        made = 0

        def __init__(self, function: Callable[..., Tensor], *inputs: Tensor) -> None:
            Recording.made += 1
            self.inputs = [tensor.clone() for tensor in inputs]
            self.function = function
            before = copy.deepcopy((training.model.state_dict(), training.optimizer.state_dict()))
            function(*self.inputs)
            training.model.load_state_dict(before[0])
            training.optimizer.load_state_dict(before[1])

        def replay(self, *inputs: Tensor) -> Tensor:
            for place, tensor in zip(self.inputs, inputs, strict=True):
                place.copy_(tensor)
            return self.function(*self.inputs)

    return Recording


@pytest.mark.usefixtures("without_streams")
def test_recording_repeats_and_omits_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Training(graph=False)
    training = Training(graph=True)
    recording: Any = _recording(training)
    monkeypatch.setattr(cuda_graph, "Recording", recording)
    assert training.losses() == expected.losses()
    assert recording.made == 1
    assert torch.equal(training.model.weight, expected.model.weight)
    steps = {state["step"].item() for state in training.optimizer.state.values()}
    assert steps == {STEPS}


@pytest.mark.usefixtures("without_streams")
def test_a_step_that_cannot_be_recorded_goes_on_and_says_why_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        """Fail as a recording does: its end complains of what was wrong before."""
        try:
            raise RuntimeError("no kernel\nof this name")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    training = Training(graph=True)
    monkeypatch.setattr(cuda_graph, "Recording", fail)
    losses = training.losses()
    assert losses == Training(graph=False).losses()
    assert len(losses) > WARM_UP + 1
    (record,) = caplog.records
    assert record.getMessage() == (
        "the training goes on without a CUDA graph of its step, slower: RuntimeError: no kernel"
    )


def test_optimizers_are_capturable_while_recorded_and_no_longer() -> None:
    """Else PyTorch warns of steps outside of a graph, and a GPU's checkpoint would be none of a CPU's."""
    optimizer = Training(graph=False).optimizer
    before = optimizer.state_dict()
    with step._capturable(optimizer):
        assert optimizer.param_groups[0]["capturable"]
    assert optimizer.state_dict() == before
