"""1x1 convolutions and their gradients: through Triton's interpreter on a CPU, compiled on a GPU."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")

from alkdnet.kernels.cuda import launching
from alkdnet.kernels.cuda.pointwise import differentiate, multiply

ON_CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_CUDA else "cpu")
# Products of TF32 on a GPU, of float32 in the interpreter.
CLOSE = 2e-3 if ON_CUDA else 2e-6

pytestmark = pytest.mark.usefixtures("tensor_cores")


def _small(pixels: int, inputs: int, outputs: int, second: int, *, name: str, slow: bool = True) -> object:
    return pytest.param(pixels, inputs, outputs, second, id=name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(
    ("pixels", "inputs", "outputs", "second"),
    [
        _small(5, 3, 2, 0, name="less-than-a-tile", slow=False),
        _small(7, 4, 3, 2, name="two-matrices", slow=False),
        _small(300, 64, 64, 32, name="two-wide-matrices"),
        _small(1000, 20, 16, 0, name="several-steps"),
        _small(600, 130, 64, 0, name="tiles-of-inputs"),
        _small(70, 12, 70, 5, name="too-many-outputs"),
    ],
)
@pytest.mark.parametrize("gelu", [False, True])
def test_products_and_gradients(
    monkeypatch: pytest.MonkeyPatch, pixels: int, inputs: int, outputs: int, second: int, gelu: bool
) -> None:
    # A program has several tiles even of few pixels.
    monkeypatch.setattr(launching, "MULTIPROCESSORS", 1)
    _compare(pixels, inputs, outputs, second, gelu=gelu)


def test_a_transposed_weight() -> None:
    torch.manual_seed(0)
    x_BHWI, out_BHWO = torch.randn(1, 1, 5, 4, device=DEVICE), torch.empty(1, 1, 5, 4, device=DEVICE)
    weight = torch.randn(4, 4, 1, 1, device=DEVICE).transpose(0, 1)
    multiply(x_BHWI, [weight], [None], [out_BHWO])
    _assert_close(out_BHWO, F.linear(x_BHWI.double(), weight[:, :, 0, 0].double()))


def test_images_of_one_pixel() -> None:
    """Where an axis has length 1, PyTorch calls any stride contiguous, as after a mean over the image."""
    torch.manual_seed(0)
    x_BHWI = torch.randn(2, 5, 1, 1, device=DEVICE).permute(0, 2, 3, 1)
    assert x_BHWI.is_contiguous()
    assert x_BHWI.stride(2) == 1
    weight, bias = torch.randn(3, 5, 1, 1, device=DEVICE), torch.randn(3, device=DEVICE)
    out_BHWO = torch.empty(2, 1, 1, 3, device=DEVICE)
    multiply(x_BHWI, [weight], [bias], [out_BHWO])
    _assert_close(out_BHWO, F.linear(x_BHWI.double(), weight.flatten(1).double(), bias.double()))
    to_x_BHWI, to_parameters_L = differentiate([out_BHWO], x_BHWI, [weight])
    _assert_close(to_x_BHWI, out_BHWO.double() @ weight.flatten(1).double())
    to_weight_OI = out_BHWO.double().flatten(0, 2).t() @ x_BHWI.double().flatten(0, 2)
    _assert_close(to_parameters_L[: weight.numel()], to_weight_OI.flatten())


@pytest.mark.gpu
@pytest.mark.skipif(not ON_CUDA, reason="no CUDA device")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("inputs", [3, 12, 64, 130, 512])
@pytest.mark.parametrize(("outputs", "second"), [(2, 0), (16, 0), (32, 0), (64, 32), (70, 0)])
def test_products_and_gradients_on_the_gpu(inputs: int, outputs: int, second: int) -> None:
    _compare(64 * 48 * 48 + 5, inputs, outputs, second, gelu=inputs == 130)


def _compare(pixels: int, inputs: int, outputs: int, second: int, *, gelu: bool) -> None:
    """Compare with float64 autograd; the second output is a range of the channels of larger features."""
    torch.manual_seed(0)

    def features(channels: int) -> Tensor:
        return torch.randn(1, 1, pixels, channels, device=DEVICE)

    x, residual, to_first, wide = features(inputs), features(inputs), features(outputs), features(second + 3)
    to_second = wide[..., 1 : 1 + second]
    weights = [torch.randn(n, inputs, 1, 1, device=DEVICE) for n in (outputs, second) if n]
    bias = torch.randn(second or outputs, device=DEVICE)

    leaves = [each.double().requires_grad_() for each in (x, *weights, bias)]
    taken = F.gelu(leaves[0]) if gelu else leaves[0]
    expected = [F.linear(taken, leaves[1].flatten(1), None if second else leaves[-1])]
    if second:
        expected.append(F.linear(taken, leaves[2].flatten(1), leaves[3]))
    gradients = [to_first, *([to_second] if second else [])]
    to_x, *to_parameters = torch.autograd.grad(expected, leaves, [each.double() for each in gradients])

    outs = [torch.empty_like(to_first), *([torch.empty_like(wide)[..., 1 : 1 + second]] if second else [])]
    multiply(x, weights, [None, bias] if second else [bias], outs, gelu=gelu)
    for out, plain in zip(outs, expected, strict=True):
        _assert_close(out, plain.detach())
    first, again = (differentiate(gradients, x, weights, gelu=gelu, residual_BHWI=residual) for _ in range(2))
    assert all(map(torch.equal, first, again))
    _assert_close(first[0], to_x + residual)
    _assert_close(first[1], torch.cat([each.flatten() for each in to_parameters]))


def _assert_close(ours: Tensor, expected: Tensor) -> None:
    assert (ours.double() - expected).abs().max() < CLOSE * expected.abs().max()
