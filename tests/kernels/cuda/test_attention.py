"""The second half of a block as one operator: through Triton's interpreter on a CPU, compiled on a GPU."""

import copy
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from alkdnet.layers.convolution import BSConv
from alkdnet.layers.distillation import DistillationBlock

pytest.importorskip("triton", reason="triton is not installed")

from alkdnet.kernels.cuda import attention, exchange, launching, layers
from alkdnet.kernels.cuda.exchange import exchange_layers, largest_difference
from alkdnet.kernels.cuda.layers import Enhancement

ON_CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_CUDA else "cpu")
# Products of TF32 on a GPU, of float32 in the interpreter; of the largest value.
CLOSE = 2e-2 if ON_CUDA else 1e-5

pytestmark = pytest.mark.usefixtures("tensor_cores")


def _block(channels: int, *, norm: bool = True) -> DistillationBlock:
    return DistillationBlock(channels=channels, convolution=BSConv, block_norm=norm, esa_padding=1)


def _made(
    channels: int, size: tuple[int, int, int], *, coarse: tuple[int, int] = (2, 3), norm: bool = True
) -> tuple[Enhancement, list[Tensor]]:
    """Return a layer with random parameters, and its inputs; `size` is batch, height and width."""
    torch.manual_seed(0)
    layer = Enhancement(_block(channels, norm=norm)).to(DEVICE)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1, 1)
    batch, *sides = size
    shapes = ((channels, *sides), (channels // 4, *sides), (channels // 4, *coarse), (channels, *sides))
    return layer, [_channels_last(torch.randn(batch, *shape, device=DEVICE)) for shape in shapes]


def _channels_last(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.contiguous(memory_format=torch.channels_last)


def _results(layer: nn.Module, features: list[Tensor]) -> dict[str, Tensor]:
    names = ["y", "condensed", "reduced", "coarse", "x", *(name for name, _ in layer.named_parameters())]
    return dict(zip(names, exchange._results(layer, features, []), strict=True))


def _assert_close(layer: Enhancement, features: list[Tensor]) -> None:
    expected = _results(copy.deepcopy(layer).double(), [each.double() for each in features])
    exchange_layers(layer)
    for name, found in _results(layer, features).items():
        largest = expected[name].abs().max()
        assert (found.double() - expected[name]).abs().max() <= CLOSE * largest, name


def _sized(*values: object, name: str, slow: bool = True, **options: object) -> object:
    return pytest.param(*values, options, id=name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(
    ("channels", "size", "options"),
    [
        _sized(8, (2, 5, 7), name="less-than-a-tile", slow=False),
        _sized(20, (1, 9, 10), name="without-norm", slow=False, norm=False),
        _sized(64, (2, 13, 17), name="several-programs"),
        _sized(48, (1, 12, 18), name="one-coarse-pixel", coarse=(1, 1)),
        _sized(20, (2, 13, 17), name="several-steps", multiprocessors=1),
        _sized(16, (3, 6, 7), name="finer-than-the-image", coarse=(8, 9)),
    ],
)
def test_value_and_gradients(
    monkeypatch: pytest.MonkeyPatch, channels: int, size: tuple[int, int, int], options: dict[str, Any]
) -> None:
    # With fewer multiprocessors a program has more tiles.
    multiprocessors = options.pop("multiprocessors", launching.MULTIPROCESSORS)
    monkeypatch.setattr(launching, "MULTIPROCESSORS", multiprocessors)
    _assert_close(*_made(channels, size, **options))


def test_a_constant_channel_has_no_gradient_of_its_deviation() -> None:
    """The slope of a root at zero is infinite: the plain network's gradient is 0 there."""
    layer, features = _made(8, (1, 4, 5), norm=False)
    features[0][:, 3] = 0
    _assert_close(layer, features)


def test_features_that_are_not_contiguous() -> None:
    layer, features = _made(8, (2, 5, 7))
    _assert_close(layer, [each.contiguous() for each in features])


def test_mixed_precision_normalises_in_float32() -> None:
    layer, features = _made(16, (1, 5, 6))
    types = [torch.bfloat16, torch.bfloat16, torch.bfloat16, torch.float32]
    features = [each.to(kind) for each, kind in zip(features, types, strict=True)]
    with torch.autocast(DEVICE.type, torch.bfloat16):
        expected = _results(copy.deepcopy(layer), features)
        exchange_layers(layer)
        found = _results(layer, features)
    for name, value in found.items():
        assert value.dtype == expected[name].dtype, name
    # Gradients differ by what the layers round to bfloat16 and the operator does not.
    torch.testing.assert_close(found["y"], expected["y"], rtol=0, atol=0.05)


@pytest.mark.slow
def test_bfloat16_is_as_close_as_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, features = _made(16, (1, 5, 6))
    fast = largest_difference(layer, *features, precision="bfloat16")
    monkeypatch.setattr("alkdnet.kernels.cuda.exchange.exchange_layers", lambda _: None)
    assert fast < 1.2 * largest_difference(layer, *features, precision="bfloat16") < 0.1


def test_a_block_takes_it_in_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    operator = attention.enhance
    monkeypatch.setattr(layers.attention, "enhance", lambda *inputs: calls.append(1) or operator(*inputs))
    block = _block(8).to(DEVICE)
    expected_block = copy.deepcopy(block).double()
    block.enhance = MethodType(layers.fast_forms(block)["enhance"], block)  # type: ignore[method-assign]
    x_BCHW = _channels_last(torch.randn(1, 8, 13, 14, device=DEVICE))
    with torch.no_grad():
        block(x_BCHW)
    torch.set_float32_matmul_precision("highest")
    block(x_BCHW)
    assert not calls
    torch.set_float32_matmul_precision("high")
    y_BCHW = block(x_BCHW)
    assert len(calls) == 1
    torch.testing.assert_close(y_BCHW.double(), expected_block(x_BCHW.double()), rtol=0, atol=10 * CLOSE)


@pytest.mark.parametrize("change", ["subclass", "replaced-forward", "relu", "bias", "wide"])
def test_blocks_with_other_layers_stay(change: str) -> None:
    class Doubled(nn.Conv2d):
        def forward(self, x_BCHW: Tensor) -> Tensor:
            return 2 * super().forward(x_BCHW)

    block = _block(72 if change == "wide" else 8)
    if change == "subclass":
        block.esa.expand = Doubled(2, 8, 1)
    elif change == "replaced-forward":
        block.cca.forward = lambda x_BCHW: x_BCHW  # type: ignore[method-assign]
    elif change == "relu":
        block.norm = nn.ReLU()  # type: ignore[assignment]
    elif change == "bias":
        block.esa.skip = nn.Conv2d(2, 2, 1, bias=False)
    exchange_layers(block)
    assert "enhance" not in vars(block)


@pytest.mark.gpu
@pytest.mark.skipif(not ON_CUDA, reason="no CUDA device")
@pytest.mark.filterwarnings("default")
def test_the_same_bits_twice() -> None:
    layer, features = _made(64, (8, 48, 48), coarse=(6, 6))
    exchange_layers(layer)
    first, second = _results(layer, features), _results(layer, features)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
