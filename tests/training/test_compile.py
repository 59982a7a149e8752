"""The compiled step computes what the eager one does."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alkdnet.networks import build


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs g++")
@pytest.mark.filterwarnings("default")  # the compiler uses what PyTorch itself has deprecated
def test_compiled_step_agrees_within_rounding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss within 1e-5, every gradient within 1e-4 of its largest value; 1e-6 and 1e-5 were seen."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    model = build("alkdnet", 2, {"blocks": 1, "channels": 8}).to(memory_format=torch.channels_last)
    lr_BCHW = torch.rand(2, 3, 16, 16).to(memory_format=torch.channels_last)
    hr_BCHW = torch.rand(2, 3, 32, 32)

    def step(lr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
        return F.l1_loss(model(lr_BCHW), hr_BCHW)

    def gradients(function: Callable[[Tensor, Tensor], Tensor]) -> tuple[float, dict[str, Tensor]]:
        loss = function(lr_BCHW, hr_BCHW)
        names, parameters = zip(*model.named_parameters(), strict=True)
        return loss.item(), dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))

    loss, expected = gradients(step)
    try:
        # One graph: nothing in the networks makes the compiler fall back.
        compiled_loss, compiled = gradients(torch.compile(step, fullgraph=True))
    finally:
        torch.compiler.reset()
    assert compiled_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in expected.items():
        scale = max(gradient.abs().max().item(), 1e-3)
        assert (compiled[name] - gradient).abs().max().item() / scale < 1e-4, name
