"""Which kernels a network gets, and what is said when it gets others than wanted."""

import pytest
import torch
from torch import nn

from alkdnet.errors import UserError
from alkdnet.kernels import choice
from alkdnet.kernels.choice import Kernels, choose_kernels

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def exchanged(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks whose layers were exchanged."""
    networks: list[nn.Module] = []
    monkeypatch.setattr(choice, "exchange_layers", networks.append)
    return networks


def _check(monkeypatch: pytest.MonkeyPatch, problem: str | None) -> None:
    monkeypatch.setattr(choice, "self_check", lambda *_: problem)


@pytest.mark.parametrize("wanted", ["auto", "triton"])
def test_kernels_that_pass_their_check_are_taken(
    monkeypatch: pytest.MonkeyPatch, exchanged: list[nn.Module], wanted: Kernels
) -> None:
    _check(monkeypatch, None)
    model = nn.Identity()
    choose_kernels(model, wanted, CUDA, "float32")
    assert exchanged == [model]


@pytest.mark.parametrize(("wanted", "device"), [("torch", CUDA), ("torch", CPU), ("auto", CPU)])
def test_torch_and_the_cpu_check_nothing(
    monkeypatch: pytest.MonkeyPatch, exchanged: list[nn.Module], wanted: Kernels, device: torch.device
) -> None:
    monkeypatch.setattr(choice, "self_check", lambda *_: pytest.fail("checked"))
    choose_kernels(nn.Identity(), wanted, device, "float32")
    assert exchanged == []


def test_auto_warns_and_goes_on_when_the_check_fails(
    monkeypatch: pytest.MonkeyPatch, exchanged: list[nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    _check(monkeypatch, "the gradient of alkconv is wrong")
    choose_kernels(nn.Identity(), "auto", CUDA, "float32")
    assert exchanged == []
    assert caplog.messages == [
        "the Triton kernels are not used, and PyTorch's own are slower: the gradient of alkconv is wrong"
    ]


@pytest.mark.parametrize(("device", "reason"), [(CUDA, "no driver"), (CPU, "the device is the CPU")])
def test_triton_where_it_cannot_be_is_an_error_that_says_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, exchanged: list[nn.Module], device: torch.device, reason: str
) -> None:
    _check(monkeypatch, "no driver")
    expected = f"^execution.kernels: triton cannot be used here: {reason}; use auto or torch$"
    with pytest.raises(UserError, match=expected):
        choose_kernels(nn.Identity(), "triton", device, "float32")
    assert exchanged == []
