import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alkdnet.inference.ensemble import SelfEnsemble
from alkdnet.inference.upscaler import Upscaler
from alkdnet.kernels.cpu import fused
from alkdnet.kernels.cpu.alkdnet import FastALKDNet
from alkdnet.networks import build, network_names
from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.networks.bicubic import NETWORK as BICUBIC
from alkdnet.networks.bsrn import BSRN
from alkdnet.networks.imdn import NETWORK as IMDN

# The bound on the difference between the fast path and the plain one.
TOLERANCE = 1e-5

VARIANTS = [
    (ALKDNet, {"blocks": 8}),
    (ALKDNet, {"channels": 4, "blocks": 1, "kernel_size": 3}),
    (ALKDNet, {"channels": 12, "blocks": 3, "kernel_size": 5}),
    (BSRN, {"blocks": 8}),
    (BSRN, {"blocks": 1, "convolution": "alkconv", "kernel_size": 11, "residual": "abrl"}),
    (BSRN, {"blocks": 2, "convolution": "alkconv"}),
    (BSRN, {"blocks": 2, "residual": "both", "block_norm": True}),
]
SIZES = [(1, 1), (1, 50), (50, 1), (13, 17), (14, 15), (48, 48), (37, 61)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def unfused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A torch without oneDNN's fused operators."""
    fused.fusion_works.cache_clear()
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    yield
    fused.fusion_works.cache_clear()


def lively(model: nn.Module) -> nn.Module:
    """Give every parameter, norms and biases too, a value of its own, so that none can be left out unseen."""
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@torch.no_grad()
def difference(model: nn.Module, x_BCHW: Tensor, **options: int) -> float:
    """Return the largest difference in units of the output's range, which is [0, 1] for a trained network."""
    expected = model(x_BCHW)
    found = FastALKDNet(model, **options)(x_BCHW)
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()


@pytest.mark.parametrize(("network", "options", "scale"), [(*v, 2 + i % 3) for i, v in enumerate(VARIANTS)])
def test_fast_path_computes_what_the_network_does(
    network: type[nn.Module], options: dict, scale: int
) -> None:
    model = lively(network(scale=scale, **options))
    assert difference(model, torch.rand(1, 3, 40, 33), strip_pixels=400) < TOLERANCE


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("network", [ALKDNet, BSRN])
def test_fast_path_takes_any_size(size: tuple[int, int], network: type[nn.Module]) -> None:
    model = lively(network(scale=2, blocks=2))
    assert difference(model, torch.rand(1, 3, *size), strip_pixels=300) < TOLERANCE


@pytest.mark.parametrize("strip_pixels", [1, 333, 10**6])
def test_any_division_into_strips_gives_the_same(strip_pixels: int) -> None:
    model = lively(ALKDNet(scale=4, blocks=2))
    assert difference(model, torch.rand(1, 3, 45, 64), strip_pixels=strip_pixels) < TOLERANCE


@pytest.mark.usefixtures("threads")
def test_any_number_of_threads_gives_the_same() -> None:
    model = lively(ALKDNet(scale=4, blocks=1))
    assert difference(model, torch.rand(1, 3, 40, 64), strip_pixels=1300) < TOLERANCE


def test_images_of_a_batch_do_not_mix() -> None:
    model = lively(ALKDNet(scale=2, blocks=2))
    x_BCHW = torch.rand(3, 3, 20, 24) * torch.tensor([0.2, 1.0, 0.5]).view(3, 1, 1, 1)
    assert difference(model, x_BCHW) < TOLERANCE


def test_channels_last_and_sliced_inputs_are_read_right() -> None:
    model = lively(ALKDNet(scale=2, blocks=1))
    wide_BCHW = torch.rand(1, 3, 30, 60).contiguous(memory_format=torch.channels_last)
    assert difference(model, wide_BCHW[:, :, 3:27, 10:50]) < TOLERANCE


@pytest.mark.usefixtures("unfused")
@pytest.mark.parametrize("network", [ALKDNet, BSRN])
def test_without_the_fused_operators_the_numbers_are_the_same(network: type[nn.Module]) -> None:
    assert not fused.fusion_works()
    model = lively(network(scale=2, blocks=2))
    assert difference(model, torch.rand(1, 3, 31, 40), strip_pixels=300) < TOLERANCE


def test_operators_that_compute_something_else_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        _reorder_convolution_weight = staticmethod(lambda weight, *_: weight)
        _convolution_pointwise = staticmethod(lambda x_1CHW, *_: x_1CHW[:, :, 1:-1])
        _linear_pointwise = staticmethod(lambda x_PC, *_: x_PC)

    fused.fusion_works.cache_clear()
    monkeypatch.setattr(torch.ops, "mkldnn", Wrong())
    assert not fused.fusion_works()
    fused.fusion_works.cache_clear()


def test_this_torch_has_the_fused_operators() -> None:
    """Without them the speed in docs/inference.md does not hold: a torch that drops them shall be noticed."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch is built without oneDNN")
    assert fused.fusion_works()


def test_the_model_is_neither_changed_nor_followed() -> None:
    model = lively(ALKDNet(scale=2, blocks=1)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x_BCHW = torch.rand(1, 3, 16, 16)
    upscaler = Upscaler(model)
    first = upscaler.forward(x_BCHW)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for parameter in model.parameters():
        parameter.data.zero_()
    assert torch.equal(upscaler.forward(x_BCHW), first)


@pytest.mark.parametrize("network", [IMDN, BICUBIC], ids=["imdn", "bicubic"])
def test_other_networks_run_as_they_are(network: type[nn.Module]) -> None:
    model = network(scale=3).eval()
    x_BCHW = torch.rand(2, 3, 20, 22)
    with torch.no_grad():
        expected = model(x_BCHW)
    torch.testing.assert_close(Upscaler(model).forward(x_BCHW), expected, atol=TOLERANCE, rtol=0)


def test_other_number_types_are_left_to_the_network() -> None:
    model = ALKDNet(scale=2, blocks=1).double().eval()
    x_BCHW = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(Upscaler(model).forward(x_BCHW), model(x_BCHW), atol=1e-12, rtol=0)


class Constant(nn.Module):
    """A network that ignores its input and returns the given values as one row of pixels."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = torch.tensor(values)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.values.view(1, 1, 1, -1).expand(len(x_BCHW), 3, 1, -1)


def test_output_is_clipped_and_rounded_half_to_even() -> None:
    # 0.5 and 2.5 in units of 1/255 are exact in float32 after the multiplication: ties.
    values = [-0.3, 0.0, 0.5 / 255, 1.5 / 255, 2.5 / 255, 0.49 / 255, 254.6 / 255, 1.0, 1.7]
    assert (torch.tensor(values) * 255)[2:5].tolist() == [0.5, 1.5, 2.5]
    out_HWC = Upscaler(Constant(values))(np.zeros((1, 9, 3), np.uint8))
    assert out_HWC.dtype == np.uint8
    assert out_HWC.shape == (1, 9, 3)
    assert out_HWC[0, :, 1].tolist() == [0, 0, 0, 2, 2, 0, 255, 255, 255]


def test_image_in_image_out() -> None:
    model = lively(ALKDNet(scale=3, blocks=1))
    image_HWC = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    with torch.no_grad():
        x_BCHW = torch.from_numpy(image_HWC).permute(2, 0, 1)[None] / 255
        expected = (model(x_BCHW)[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    for view_HWC in (image_HWC, np.asfortranarray(image_HWC), image_HWC[::-1][::-1]):
        out_HWC = Upscaler(model)(view_HWC)
        assert out_HWC.shape == (63, 90, 3)
        assert np.abs(out_HWC - expected).max() <= 0.5 + 255 * TOLERANCE


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_other_images_are_rejected(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 of shape \(H, W, 3\)"):
        Upscaler(ALKDNet(scale=2, blocks=1))(image)


def test_several_threads_may_call_one_upscaler() -> None:
    upscaler = Upscaler(lively(ALKDNet(scale=2, blocks=2)))
    images = [torch.rand(1, 3, 20 + i, 24) for i in range(6)]
    expected = [upscaler.forward(image) for image in images]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(upscaler.forward, images))
    for one, other in itertools.zip_longest(found, expected):
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=0)


def test_self_ensemble_averages_the_symmetries() -> None:
    model = lively(ALKDNet(scale=2, blocks=1))
    x_BCHW = torch.rand(1, 3, 17, 20)
    with torch.no_grad():
        expected = SelfEnsemble(model)(x_BCHW)
    found = Upscaler(model, self_ensemble=True).forward(x_BCHW)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_tiles_at_least_as_large_as_the_image_change_nothing() -> None:
    model = lively(ALKDNet(scale=2, blocks=1))
    x_BCHW = torch.rand(1, 3, 90, 102)
    torch.testing.assert_close(
        Upscaler(model, tile=102).forward(x_BCHW), Upscaler(model).forward(x_BCHW), atol=1e-5, rtol=0
    )
    assert not torch.equal(Upscaler(model, tile=96).forward(x_BCHW), Upscaler(model).forward(x_BCHW))


@pytest.mark.parametrize(("name", "tile"), [*((name, None) for name in network_names()), ("alkdnet", 96)])
def test_bfloat16_stays_within_36_db_of_float32(name: str, tile: int | None) -> None:
    # On a CPU, to run what is meant for a GPU: measured with the authors' initialisation are 38 to 50 dB.
    model = build(name, 2, {})
    x_BCHW = torch.rand(1, 3, 18, 16)
    exact_BCHW = Upscaler(model).forward(x_BCHW)
    found_BCHW = Upscaler(model, dtype=torch.bfloat16, tile=tile).forward(x_BCHW)
    assert found_BCHW.dtype == torch.float32
    assert found_BCHW.isfinite().all()
    error = (found_BCHW - exact_BCHW).square().mean() / exact_BCHW.square().mean()
    assert -10 * torch.log10(error) > 36
