"""The CUDA kernels against float64 autograd: through Triton's interpreter on a CPU, compiled on a GPU.

Each case is compared in its output and all its gradients. A few run by default, the grid with `-m slow`, and
all on a GPU with `-m gpu`, which needs nothing but PyTorch, triton and pytest.
"""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from alkdnet.device import Precision, arithmetic
from alkdnet.kernels.cuda import exchange
from alkdnet.kernels.cuda.exchange import (
    exchange_kernels,
    exchange_layers,
    largest_difference,
    self_check,
)
from alkdnet.layers.attention import Resize
from alkdnet.layers.convolution import ALKConv, BSConv
from alkdnet.layers.distillation import DistillationBlock
from alkdnet.networks import build

pytest.importorskip("triton", reason="triton is not installed")

from alkdnet.kernels.cuda.layers import Distillation

ON_CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_CUDA else "cpu")
# float32 sums against float64, relative to the largest value. A GPU's roots and powers are approximations.
CLOSE = 1e-5 if ON_CUDA else 2e-6

Case = tuple[Callable[[], nn.Module], tuple[int, int, int, int], *tuple[object, ...]]


SMALL = {"blocks": 1, "channels": 8}


def _alkconv(channels: int, k: int, *, batch: int = 1, height: int = 2, width: int = 3) -> Case:
    return lambda: _with_norm(ALKConv(4, channels, kernel_size=k)), (batch, 4, height, width)


def _with_norm(conv: ALKConv) -> ALKConv:
    nn.init.normal_(conv.norm.weight, 1, 0.3)
    nn.init.normal_(conv.norm.bias)
    return conv


def _distillation(channels: int, k: int, *, batch: int = 1, height: int = 2, width: int = 3) -> Case:
    def make() -> nn.Module:
        block = DistillationBlock(
            channels=channels,
            convolution=lambda *sizes: _with_norm(ALKConv(*sizes, kernel_size=k)),
            block_norm=False,
            esa_padding=1,
        )
        return Distillation(block)

    return make, (batch, channels, height, width)


def _depthwise(channels: int, size: tuple[int, int], **options: int | bool) -> Case:
    def make() -> nn.Module:
        return nn.Conv2d(channels, channels, groups=channels, **options)  # type: ignore[arg-type]

    return make, (2, channels, *size)


def on_gpu(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs a GPU; the host's PyTorch is its own, and so are its deprecations."""
    for mark in (
        pytest.mark.gpu,
        pytest.mark.skipif(not ON_CUDA, reason="no CUDA device"),
        pytest.mark.filterwarnings("default"),
    ):
        test = mark(test)
    return test


FAST: dict[str, Case] = {
    "alkconv-k5-bands-of-one-column": _alkconv(4, 5, height=9, width=1),
    "distillation": _distillation(12, 3),
    "depthwise": _depthwise(3, (3, 5), kernel_size=3, padding=1),
    "resize": (Resize, (1, 3, 2, 3), (5, 4)),
    "pool": (lambda: nn.MaxPool2d(3, 2), (2, 3, 5, 5)),
}
SLOW: dict[str, Case] = {
    "alkconv-k3": _alkconv(5, 3),
    "depthwise-stride-2": _depthwise(3, (4, 5), kernel_size=3, padding=1, stride=2),
    **{
        f"alkconv-c{channels}-k{k}": _alkconv(channels, k, height=5, width=7)
        for channels in (16, 32, 48, 64)
        for k in (3, 5, 9, 11)
    },
    "alkconv-k13": _alkconv(32, 13, height=4, width=5),
    "alkconv-k31": _alkconv(8, 31, height=3, width=4),
    "alkconv-bands": _alkconv(16, 5, batch=2, height=17, width=33),
    "distillation-c64-k9": _distillation(64, 9, height=5, width=7),
    "distillation-c48": _distillation(48, 5, batch=2, height=4, width=5),
    "distillation-bands": _distillation(12, 5, batch=2, height=17, width=33),
    "depthwise-valid": _depthwise(16, (9, 11), kernel_size=3),
    "depthwise-stride-2-valid": _depthwise(16, (9, 12), kernel_size=3, stride=2),
    "depthwise-k5-bands": _depthwise(48, (17, 19), kernel_size=5, padding=2, bias=False),
    "depthwise-k9": _depthwise(8, (5, 6), kernel_size=9, padding=4),
    "resize-larger": (Resize, (2, 16, 6, 7), (48, 50)),
    "resize-one-pixel": (Resize, (1, 16, 1, 1), (13, 15)),
    "resize-smaller": (Resize, (1, 3, 7, 5), (4, 9)),
    "resize-same": (Resize, (1, 3, 5, 5), (5, 5)),
    "pool-7-3": (lambda: nn.MaxPool2d(7, 3), (2, 16, 14, 19)),
    "pool-padded": (lambda: nn.MaxPool2d(3, 2, 1), (1, 70, 6, 7)),
}


def _made(case: Case) -> tuple[nn.Module, Tensor, *tuple[object, ...]]:
    torch.manual_seed(0)
    make, shape, *others = case
    x_BCHW = torch.randn(shape).to(memory_format=torch.channels_last)
    return make().to(DEVICE), x_BCHW.to(DEVICE), *others


@pytest.mark.skipif(ON_CUDA, reason="runs on the GPU with -m gpu")
@pytest.mark.parametrize("case", FAST.values(), ids=FAST.keys())
def test_value_and_gradients(case: Case) -> None:
    assert largest_difference(*_made(case)) < CLOSE


@pytest.mark.slow
@pytest.mark.skipif(ON_CUDA, reason="runs on the GPU with -m gpu")
@pytest.mark.parametrize("case", SLOW.values(), ids=SLOW.keys())
def test_value_and_gradients_of_more_shapes(case: Case) -> None:
    assert largest_difference(*_made(case)) < CLOSE


@on_gpu
@pytest.mark.parametrize("case", (FAST | SLOW).values(), ids=(FAST | SLOW).keys())
def test_value_and_gradients_on_the_gpu(case: Case) -> None:
    assert largest_difference(*_made(case)) < CLOSE


@on_gpu
@pytest.mark.parametrize("case", (FAST | SLOW).values(), ids=(FAST | SLOW).keys())
def test_the_same_bits_twice(case: Case) -> None:
    layer, x_BCHW, *others = _made(case)
    exchange_layers(layer)

    def results() -> list[Tensor]:
        leaf = x_BCHW.detach().clone().requires_grad_()
        y_BCHW = layer(leaf, *others)
        return [y_BCHW, *torch.autograd.grad(y_BCHW.square().sum(), [leaf, *layer.parameters()])]

    for first, second in zip(results(), results(), strict=True):
        assert torch.equal(first, second)


@on_gpu
@pytest.mark.parametrize("network", ["alkdnet", "bsrn"])
@pytest.mark.parametrize("compiled", [False, True])
def test_networks_on_the_gpu(network: str, compiled: bool) -> None:
    torch.manual_seed(0)
    model = build(network, 2, {"blocks": 2}).to(DEVICE, memory_format=torch.channels_last)
    x_BCHW = torch.rand(2, 3, 24, 27, device=DEVICE).to(memory_format=torch.channels_last)
    plain_BCHW = copy.deepcopy(model).double()(x_BCHW.double())
    exchange_layers(model)
    with arithmetic(DEVICE, "float32", threads=1):  # PyTorch's default is TF32 in convolutions
        fast_BCHW = (torch.compile(model) if compiled else model)(x_BCHW)
        fast_BCHW.square().mean().backward()
    assert (fast_BCHW - plain_BCHW).abs().max() < 1e-5
    assert all(parameter.grad is not None for parameter in model.parameters())
    torch.compiler.reset()


def test_bfloat16_is_stored_and_float32_summed() -> None:
    layer, x_BCHW = _made(FAST["depthwise"])
    expected = copy.deepcopy(layer).double()(x_BCHW.bfloat16().double())
    exchange_layers(layer)
    y_BCHW = layer(x_BCHW.bfloat16())
    assert y_BCHW.dtype == torch.bfloat16
    # Triton's interpreter cuts bits off where a GPU rounds.
    torch.testing.assert_close(y_BCHW.double(), expected, rtol=2**-7, atol=1e-4)


def test_gradients_are_laid_out_as_the_parameters() -> None:
    """DistributedDataParallel warns and copies otherwise."""
    layer, x_BCHW = _made(SLOW["alkconv-k3"])
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    exchange_layers(layer)
    gradients = torch.autograd.grad(layer(x_BCHW).sum(), list(layer.parameters()))
    for (name, parameter), gradient in zip(layer.named_parameters(), gradients, strict=True):
        assert gradient.stride() == parameter.stride(), name


def test_what_is_exchanged() -> None:
    model = build("alkdnet", 2, {"blocks": 1, "channels": 8})
    names = set(model.state_dict())
    exchange_layers(model)
    exchanged = {name for name, module in model.named_modules() if "forward" in vars(module)}
    assert {"shallow.depthwise", "blocks.0.refine.0", "blocks.0.condense", "blocks.0.esa.pool"} <= exchanged
    assert "blocks.0.esa.resize" in exchanged
    assert {"distil", "enhance"} <= vars(model.get_submodule("blocks.0")).keys()
    assert "tail" not in exchanged  # a full 3 x 3 convolution
    assert set(model.state_dict()) == names
    copied = copy.deepcopy(model)
    assert copied.blocks[0].condense.forward.__self__ is copied.blocks[0].condense


def test_features_of_a_block_stay_in_float32_in_mixed_precision() -> None:
    """As the block's input is, after the normalisation at the end of the block before."""
    layer, x_BCHW = _made(FAST["distillation"])
    expected = copy.deepcopy(layer).double()(x_BCHW.double())
    exchange_layers(layer)
    leaf = x_BCHW.detach().clone().requires_grad_()
    with torch.autocast(DEVICE.type, torch.bfloat16):
        y_BCHW = layer(leaf)
    (gradient,) = torch.autograd.grad(y_BCHW.sum(), leaf)
    assert (y_BCHW.dtype, gradient.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(y_BCHW.double(), expected, rtol=0.02, atol=0.05)


@pytest.mark.slow
def test_a_distillation_in_bfloat16_is_as_close_as_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x_BCHW = _made(_distillation(16, 3, height=5, width=5))
    fast = largest_difference(layer, x_BCHW, precision="bfloat16")
    monkeypatch.setattr(exchange, "exchange_layers", lambda _: None)
    assert fast < 1.2 * largest_difference(layer, x_BCHW, precision="bfloat16") < 0.1


def test_without_gradients_nothing_is_kept_for_them() -> None:
    layer, x_BCHW = _made(FAST["distillation"])
    exchange_layers(layer)
    with torch.no_grad():
        y_BCHW = layer(x_BCHW)
    assert torch.equal(y_BCHW, layer(x_BCHW))


def test_layers_that_the_kernels_do_not_know_stay() -> None:
    layers = [
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 8, 3, groups=4),
        nn.Conv2d(4, 4, 3, groups=4, dilation=2),
        nn.Conv2d(4, 4, 3, groups=4, stride=(1, 2)),
        nn.Conv2d(4, 4, 3, groups=4, padding="same"),
        nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 1, stride=2),
        nn.MaxPool2d(3, ceil_mode=True),
        nn.MaxPool2d(3, return_indices=True),
    ]
    for layer in layers:
        exchange_layers(layer)
        assert "forward" not in vars(layer), layer


@pytest.mark.parametrize("change", ["subclass", "hooked-forward", "eps", "kernel", "bias"])
def test_a_block_with_other_layers_stays(change: str) -> None:
    class Tripled(nn.Conv2d):
        def forward(self, x_BCHW: Tensor) -> Tensor:
            return 3 * super().forward(x_BCHW)

    block = build("alkdnet", 2, SMALL).get_submodule("blocks.0")
    if change == "subclass":
        block.condense = Tripled(16, 8, 1)
    elif change == "hooked-forward":
        block.condense.forward = lambda x_BCHW: x_BCHW[:, :8]  # type: ignore[union-attr, assignment]
    elif change == "eps":
        block.refine[0].norm.eps = 1.0  # type: ignore[index, union-attr]
    elif change == "kernel":
        block.distill[0] = nn.Conv2d(8, 4, 3, padding=1)  # type: ignore[index, operator]
    else:
        block.distill[0] = nn.Conv2d(8, 4, 1, bias=False)  # type: ignore[index, operator]
    exchange_layers(block)
    assert "distil" not in vars(block)


def test_what_pytorch_rejects_is_rejected() -> None:
    pool = nn.MaxPool2d(7, 3)
    exchange_layers(pool)
    with pytest.raises(RuntimeError, match="Output size is too small"):
        pool(torch.randn(1, 4, 6, 8, device=DEVICE))


def test_no_images_give_no_features() -> None:
    layer, x_BCHW = _made(FAST["distillation"])
    exchange_layers(layer)
    assert layer(x_BCHW[:0]).shape == x_BCHW[:0].shape


def test_float64_goes_through_the_layer_itself() -> None:
    layer = BSConv(4, 4).double()
    x_BCHW = torch.randn(1, 4, 5, 6, dtype=torch.float64)
    expected = layer(x_BCHW)
    exchange_layers(layer)
    assert torch.equal(layer(x_BCHW), expected)


def test_the_self_check_takes_each_different_layer_in_each_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[str, int, str]] = []
    sizes = set()

    def note(layer: nn.Module, x_BCHW: Tensor, *_: object, precision: str, gradients: bool) -> float:
        checked.append((type(layer).__name__, x_BCHW.shape[1], precision))
        sizes.add(getattr(layer, "kernel_size", None))
        return 0.0

    monkeypatch.setattr(exchange, "largest_difference", note)
    model = build("alkdnet", 2, SMALL | {"blocks": 3})
    assert self_check(model, "tf32", "float32") is None
    assert checked.count(("Distillation", 8, "tf32")) == checked.count(("Enhancement", 8, "tf32")) == 1
    assert checked.count(("ALKConv", 8, "tf32")) == 1  # in the fusion; the distillation has its own
    assert checked.count(("Resize", 2, "float32")) == checked.count(("MaxPool2d", 2, "float32")) == 1
    assert ("Conv2d", 24, "tf32") in checked  # the fusion's 1x1 convolution
    assert (3, 3) in sizes
    assert not {(9, 1), (1, 9)} & sizes  # the kernel of an ALKConv stands for its convolutions


@pytest.mark.parametrize(("precision", "fails"), [("float32", True), ("bfloat16", False)])
def test_the_self_check_names_the_layer_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, fails: bool
) -> None:
    monkeypatch.setattr(
        exchange, "largest_difference", lambda layer, *_, **__: 0.05 * isinstance(layer, Resize)
    )
    problem = self_check(build("alkdnet", 2, SMALL), precision)
    message = "Resize on (2, 2, 3, 3) in float32: differs from PyTorch by 5.0e-02 of the largest value"
    assert problem == (message if fails else None)


def test_a_gradient_that_is_no_number_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([[torch.ones(2), torch.ones(2)], [torch.ones(2), torch.tensor([1, torch.nan])]])
    monkeypatch.setattr(exchange, "_results", lambda *_: next(found))
    assert math.isnan(largest_difference(*_made(FAST["pool"])))


def test_inference_takes_kernels_that_pass_their_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "largest_difference", lambda *_, **__: 0.0)
    model = build("alkdnet", 2, SMALL)
    with torch.inference_mode():
        exchange_kernels(model)
    assert "forward" in vars(model.get_submodule("blocks.0.refine.0"))


def test_kernels_that_cannot_be_compiled_leave_a_network_as_it_was(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> float:
        raise RuntimeError("no ptxas\nsecond line")

    monkeypatch.setattr(exchange, "largest_difference", fail)
    for _ in range(2):
        model = build("alkdnet", 2, SMALL)
        exchange_kernels(model)
        assert not any("forward" in vars(module) for module in model.modules())
    (message,) = caplog.messages
    assert message.endswith(
        "the kernels do not work: Conv2d on (2, 12, 25, 29) in float32: RuntimeError: no ptxas"
    )


@pytest.mark.slow
@pytest.mark.skipif(ON_CUDA, reason="runs on the GPU with -m gpu")
def test_the_self_check_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # The interpreter is slow.
    monkeypatch.setattr(exchange, "SIZE", (13, 14))
    model = build("alkdnet", 2, {"blocks": 1, "channels": 32, "kernel_size": 3})
    assert self_check(model, "float32", "bfloat16") is None


@on_gpu
@pytest.mark.parametrize("network", ["alkdnet", "bsrn"])
def test_the_self_check_finds_nothing_on_the_gpu(network: str) -> None:
    model = build(network, 2, {}).to(DEVICE)
    assert self_check(model, "float32", "tf32", "bfloat16") is None
    for dtype in (torch.float16, torch.bfloat16):
        assert self_check(model.to(dtype), "float32", gradients=False) is None
