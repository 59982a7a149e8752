"""Gradients of 1x1 convolutions' parameters: through Triton's interpreter on a CPU, compiled on a GPU."""

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from alkdnet.kernels.cuda.pointwise import _by_tensor_cores

ON_CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_CUDA else "cpu")
# Products of TF32 on a GPU, of float32 in the interpreter.
CLOSE = 2e-3 if ON_CUDA else 2e-6


@pytest.mark.parametrize(
    ("pixels", "inputs", "outputs"),
    [
        pytest.param(5, 3, 2, id="less-than-a-tile"),
        pytest.param(135, 12, 70, id="tiles-of-outputs", marks=pytest.mark.slow),
        pytest.param(26000, 64, 16, id="several-steps", marks=pytest.mark.slow),
        pytest.param(600, 130, 64, id="tiles-of-inputs", marks=pytest.mark.slow),
    ],
)
def test_the_weight_gradient(pixels: int, inputs: int, outputs: int) -> None:
    _compare(pixels, inputs, outputs)


@pytest.mark.gpu
@pytest.mark.skipif(not ON_CUDA, reason="no CUDA device")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("inputs", [3, 12, 64, 130, 512])
@pytest.mark.parametrize("outputs", [2, 16, 32, 70])
def test_the_weight_gradient_on_the_gpu(inputs: int, outputs: int) -> None:
    _compare(64 * 48 * 48 + 5, inputs, outputs)


def _compare(pixels: int, inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    gradient_PO = torch.randn(pixels, outputs, device=DEVICE)
    x_PI = torch.randn(pixels, inputs, device=DEVICE)
    to_weight_OI = gradient_PO.double().t() @ x_PI.double()
    expected_L = torch.cat([to_weight_OI.flatten(), gradient_PO.double().sum(0)])
    parts = _by_tensor_cores(gradient_PO, x_PI)
    assert torch.equal(parts, _by_tensor_cores(gradient_PO, x_PI))
    assert (parts.double().sum(0) - expected_L).abs().max() < CLOSE * expected_L.abs().max()
