"""The fast kernels compute what the plain ones do."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alkdnet.kernels.cpu.training import FastKernels, RowConvolution
from alkdnet.networks import build


def _gradients(*, fast: bool) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = build("alkdnet", 2, {"blocks": 2, "channels": 16}).to(memory_format=torch.channels_last)
    x_BCHW = torch.rand(2, 3, 20, 18).to(memory_format=torch.channels_last)
    if fast:
        with FastKernels():
            loss = F.l1_loss(model(x_BCHW), torch.ones(2, 3, 40, 36))
    else:
        loss = F.l1_loss(model(x_BCHW), torch.ones(2, 3, 40, 36))
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"loss": loss.detach(), **{name: grad for name, grad in gradients.items() if grad is not None}}


def test_loss_and_gradients_of_the_network_agree_within_rounding() -> None:
    plain, fast = _gradients(fast=False), _gradients(fast=True)
    assert plain.keys() == fast.keys()
    for name, expected in plain.items():
        scale = max(expected.abs().max().item(), 1e-3)
        difference = (fast[name] - expected).abs().max().item() / scale
        assert difference < 2e-5, f"{name}: off by {difference:.2e} of its largest value"
        # DistributedDataParallel wants gradients laid out as the weights, or copies them with a warning.
        assert fast[name].stride() == expected.stride(), name


@pytest.mark.parametrize("k", [5, 9])
def test_row_convolution_has_the_gradients_of_conv2d(k: int) -> None:
    torch.manual_seed(1)
    x_BCHW = torch.randn(2, 16, 7, 11).to(memory_format=torch.channels_last)
    weight, bias = torch.randn(16, 1, 1, k), torch.randn(16)
    upstream_BCHW = torch.randn(2, 16, 7, 11).to(memory_format=torch.channels_last)

    def gradients(function: object) -> list[Tensor]:
        leaves = [tensor.clone().requires_grad_() for tensor in (x_BCHW, weight, bias)]
        out_BCHW = function(*leaves)  # type: ignore[operator]
        return [out_BCHW, *torch.autograd.grad(out_BCHW, leaves, upstream_BCHW)]

    expected = gradients(lambda x, w, b: F.conv2d(x, w, b, padding=(0, k // 2), groups=16))
    for ours, theirs in zip(gradients(RowConvolution.apply), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_row_convolution_is_exact_without_bias_in_float64() -> None:
    leaves = [
        torch.randn(1, 4, 3, 6, dtype=torch.float64).requires_grad_(),
        torch.randn(4, 1, 1, 5, dtype=torch.float64).requires_grad_(),
    ]
    assert torch.autograd.gradcheck(lambda x, w: RowConvolution.apply(x, w, None), leaves)


def test_only_the_supported_calls_are_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(*_: object) -> None:
        raise AssertionError("exchanged")

    monkeypatch.setattr(RowConvolution, "apply", reject)
    x_BCHW = torch.randn(1, 8, 6, 6).to(memory_format=torch.channels_last)
    with FastKernels():
        F.conv2d(x_BCHW, torch.randn(8, 1, 1, 3), None, (1, 1), (0, 1), (1, 1), 8)  # narrow: fast already
        F.conv2d(x_BCHW, torch.randn(8, 1, 1, 5), None, (1, 2), (0, 2), (1, 1), 8)  # strided
        F.conv2d(x_BCHW, torch.randn(8, 8, 1, 5), None, (1, 1), (0, 2), (1, 1), 1)  # not depthwise
        with pytest.raises(AssertionError, match="exchanged"):
            F.conv2d(x_BCHW, torch.randn(8, 1, 1, 5), None, (1, 1), (0, 2), (1, 1), 8)
