"""Every network and every option: shapes, gradients, counts, other uses of the module."""

import inspect
import math

import pytest
import torch
from torch import Tensor, nn

from alkdnet.networks import network_class, network_names
from alkdnet.networks.bicubic import Bicubic

# A bare GPU host has neither.
beartype = pytest.importorskip("beartype").beartype
jaxtyping = pytest.importorskip("jaxtyping")
Float, jaxtyped = jaxtyping.Float, jaxtyping.jaxtyped

SMALL = {"blocks": 1, "channels": 8}
# Small enough to run, every option in every value.
VARIANTS = {
    "alkdnet": ("alkdnet", SMALL | {"blocks": 2}),
    "alkdnet-k3": ("alkdnet", SMALL | {"kernel_size": 3}),
    "alkdnet-k11": ("alkdnet", SMALL | {"kernel_size": 11}),
    "alkdnet-16": ("alkdnet", {"blocks": 1, "channels": 16}),
    "bsrn": ("bsrn", SMALL | {"blocks": 2}),
    "bsrn-alkconv": ("bsrn", SMALL | {"convolution": "alkconv"}),
    "bsrn-k3": ("bsrn", SMALL | {"convolution": "alkconv", "kernel_size": 3}),
    "bsrn-abrl": ("bsrn", SMALL | {"residual": "abrl"}),
    "bsrn-both": ("bsrn", SMALL | {"residual": "both"}),
    "bsrn-norm": ("bsrn", SMALL | {"block_norm": True}),
    "imdn": ("imdn", SMALL),
    "srcnn": ("srcnn", {}),
    "srcnn-9-1-5": ("srcnn", {"kernels": "9-1-5"}),
    "fsrcnn": ("fsrcnn", {"channels": 8, "mapping_channels": 4, "mapping_layers": 2}),
    "vdsr": ("vdsr", {"layers": 3, "channels": 8}),
    "drrn": ("drrn", {"units": 2, "channels": 8}),
    "drrn-port": ("drrn", {"units": 2, "channels": 8, "form": "port"}),
    "idn": ("idn", {"blocks": 1}),
    "rfdn": ("rfdn", SMALL),
    "rfdn-esa": ("rfdn", SMALL | {"attention": "esa"}),
    "fmen": ("fmen", SMALL | {"attention_channels": 8, "attention_blocks": 1}),
    "safmn": ("safmn", SMALL),
    "cfsr": ("cfsr", SMALL | {"layers": 1}),
    "lkdn": ("lkdn", SMALL),
    "smfanet": ("smfanet", SMALL),
    "lkfmixer": ("lkfmixer", SMALL),
    "lkmn": ("lkmn", SMALL),
}
SCALES = (2, 3, 4)
# The variant of each network for what takes a second: compilation, export.
# A network that somebody has added, by its defaults until it has a small variant here.
VARIANTS |= {
    name: (name, {})
    for name in set(network_names()) - {network for network, _ in VARIANTS.values()} - {"bicubic"}
}
ONE_EACH = tuple(name for name, (network, _) in VARIANTS.items() if name == network)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@jaxtyped(typechecker=beartype)
def upscaled(
    model: nn.Module,
    x_BCHW: Float[Tensor, "B 3 H W"],  # noqa: F722
    scale: int,
) -> Float[Tensor, "B 3 {scale}*H {scale}*W"]:  # noqa: F722
    """Run a network with its shapes checked: RGB in, RGB out, s times the size."""
    y_BCHW: Tensor = model(x_BCHW)
    return y_BCHW


def check_suffixes(model: nn.Module) -> None:
    """Check at every call that a tensor called x_BCHW has as many dimensions as its suffix has letters."""
    for module in model.modules():
        names = list(inspect.signature(module.forward).parameters)
        letters = names[0].rpartition("_")[2]
        if type(module).__module__.startswith("alkdnet."):
            assert letters.isupper(), f"{type(module).__name__}.forward names no shape: {names[0]}"

            def hook(
                module: nn.Module, args: tuple[Tensor, ...], output: Tensor, letters: str = letters
            ) -> None:
                assert args[0].ndim == output.ndim == len(letters), type(module).__name__

            module.register_forward_hook(hook)


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> tuple[str, dict]:
    torch.manual_seed(0)
    return VARIANTS[request.param]


@pytest.mark.parametrize("name", network_names())
def test_constructor_is_keyword_only_with_defaults(name):
    parameters = inspect.signature(network_class(name)).parameters
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    assert required == ["scale"]


@pytest.mark.parametrize("scale", SCALES)
def test_shape_and_gradients(variant, scale):
    name, options = variant
    model = network_class(name)(scale=scale, **options)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("excite.0.bias"):
            torch.nn.init.ones_(parameter)  # a hidden layer of one unit may start behind a closed ReLU
    check_suffixes(model)
    y_BCHW = upscaled(model, torch.rand(2, 3, 16, 19), scale)
    assert y_BCHW.isfinite().all()
    y_BCHW.square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), f"{parameter_name} changes nothing"


def test_any_size(variant):
    name, options = variant
    model = network_class(name)(scale=3, **options)
    for size in ((1, 1), (1, 17), (2, 3), (13, 12), (14, 31), (15, 15)):
        x_BCHW = torch.rand(1, 3, *size, requires_grad=True)
        y_BCHW = upscaled(model, x_BCHW, 3)
        y_BCHW.sum().backward()
        assert y_BCHW.isfinite().all()
        assert x_BCHW.grad.isfinite().all()


@pytest.mark.parametrize("size", [1, 16])
def test_constant_image_has_finite_gradients(size):
    """The contrast of a constant channel is 0, where a square root has no gradient."""
    model = network_class("imdn")(scale=2, **SMALL)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    model(torch.zeros(1, 3, size, size)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_images_of_a_batch_are_independent(variant):
    name, options = variant
    model = network_class(name)(scale=2, **options).double()
    x_BCHW = torch.rand(3, 3, 16, 17, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(x_BCHW)[1:2], model(x_BCHW[1:2]), atol=1e-12, rtol=0)


def test_channels_last_and_bfloat16(variant):
    name, options = variant
    model = network_class(name)(scale=2, **options)
    x_BCHW = torch.rand(1, 3, 16, 17)
    with torch.no_grad():
        y_BCHW = model(x_BCHW)
        last_BCHW = model.to(memory_format=torch.channels_last)(x_BCHW.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last_BCHW, y_BCHW, atol=2e-6, rtol=0)
        half_BCHW = model.bfloat16()(x_BCHW.bfloat16())
    assert half_BCHW.dtype == torch.bfloat16
    # 8 bits of mantissa: about 0.004 at 1 in every operation.
    torch.testing.assert_close(half_BCHW.float(), y_BCHW, atol=0.05, rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ONE_EACH)
def test_compiles_without_graph_breaks(variant):
    name, options = VARIANTS[variant]
    model = network_class(name)(scale=2, **options)
    x_BCHW = torch.rand(1, 3, 14, 16)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x_BCHW), model(x_BCHW), atol=0, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ONE_EACH)
def test_exports(variant):
    name, options = VARIANTS[variant]
    model = network_class(name)(scale=2, **options).eval()
    x_BCHW = torch.rand(1, 3, 16, 17)
    exported = torch.export.export(model, (x_BCHW,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(x_BCHW), model(x_BCHW), atol=1e-6, rtol=0)


FMEN_S = {"channels": 50, "attention_channels": 16, "attention_blocks": 1, "first_attention_blocks": 2}
# Counts of the released networks and of the ablations: exact, from the authors' files and options.
COUNTS = [
    ("alkdnet", {}, (372_716, 381_371, 393_488)),
    ("bsrn", {}, (331_628, 340_283, 352_400)),
    ("bsrn", {"convolution": "alkconv", "kernel_size": 3}, (349_548,)),
    ("bsrn", {"convolution": "alkconv", "kernel_size": 5}, (356_716,)),
    ("bsrn", {"convolution": "alkconv", "kernel_size": 7}, (363_884,)),
    ("bsrn", {"convolution": "alkconv"}, (371_052,)),
    ("bsrn", {"convolution": "alkconv", "kernel_size": 11}, (378_220,)),
    ("bsrn", {"residual": "both"}, (331_628,)),
    ("bsrn", {"block_norm": True}, (332_652,)),
    ("imdn", {}, (694_404, 703_059, 715_176)),
    ("bicubic", {}, (0, 0, 0)),
    # The comparators: the fact sheets, from the authors' code and files.
    ("srcnn", {}, (57_281, 57_281, 57_281)),
    ("srcnn", {"kernels": "9-1-5"}, (8_129, 8_129, 8_129)),
    ("fsrcnn", {}, (12_809, 12_809, 12_809)),
    ("vdsr", {}, (665_921, 665_921, 665_921)),
    ("drrn", {}, (297_601, 297_601, 297_601)),
    ("drrn", {"form": "port"}, (297_216, 297_216, 297_216)),
    ("idn", {}, (552_769, 552_769, 552_769)),
    ("rfdn", {}, (534_036, 540_531, 549_624)),
    ("rfdn", {"channels": 52}, (625_962, 632_997, 642_846)),  # RFDN-L
    ("rfdn", {"attention": "esa"}, (566_364, 572_859, 581_952)),
    ("rfdn", {"attention": "esa", "blocks": 4, "channels": 50}, (417_212, 423_977, 433_448)),
    ("fmen", {}, (748_656, 757_311, 769_428)),
    ("fmen", FMEN_S, (324_830, 331_595, 341_066)),
    ("safmn", {}, (227_820, 232_695, 239_520)),
    ("cfsr", {}, (291_324, 297_819, 306_912)),
    ("lkdn", {}, (303_812, 311_387, 321_992)),
    ("smfanet", {}, (185_628, 190_503, 197_328)),
    ("lkfmixer", {}, (357_228, 363_723, 372_816)),
    ("lkmn", {}, (206_004, 210_879, 217_704)),
]


@pytest.mark.parametrize(("name", "options", "expected"), COUNTS)
def test_parameter_counts(name, options, expected):
    scales = SCALES[: len(expected)]
    assert tuple(parameters(network_class(name)(scale=scale, **options)) for scale in scales) == expected


def test_initial_weights():
    """The framework's default for convolutions, and the block norm at scale 1, shift 0."""
    torch.manual_seed(0)
    model = network_class("alkdnet")(scale=2, blocks=1)
    weight = model.blocks[0].condense.weight
    bound = 1 / math.sqrt(weight[0].numel())
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.99 * bound
    assert (model.blocks[0].norm.weight == 1).all()
    assert (model.blocks[0].norm.bias == 0).all()


def test_bicubic_is_exact_on_uint8_levels():
    """A constant stays constant; outside [0, 1] is clipped."""
    model = Bicubic(scale=3)
    y_BCHW = upscaled(model, torch.full((2, 3, 2, 5), 77 / 255), 3)
    assert ((y_BCHW * 255).round() == 77).all()
    assert (model(torch.full((1, 3, 1, 1), 7.0)) == 1).all()


def test_bicubic_borders_differ_at_the_border_only():
    torch.manual_seed(0)
    x_BCHW = torch.rand(1, 3, 12, 12)
    replicate, symmetric = (Bicubic(scale=2, border=border)(x_BCHW) for border in ("replicate", "symmetric"))
    assert not torch.equal(replicate, symmetric)
    assert torch.equal(replicate[:, :, 3:-3, 3:-3], symmetric[:, :, 3:-3, 3:-3])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("default")  # the host's PyTorch is its own, and so are its deprecations
def test_cuda_agrees_with_the_cpu(variant, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    name, options = variant
    model = network_class(name)(scale=2, **options)
    x_BCHW = torch.rand(2, 3, 17, 19)
    with torch.no_grad():
        expected = model(x_BCHW)
        torch.testing.assert_close(model.cuda()(x_BCHW.cuda()).cpu(), expected, atol=1e-4, rtol=0)
