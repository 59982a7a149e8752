"""Importers: the plain networks bear the released names, so what they compute is what an import must give."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.io
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from alkdnet.errors import UserError
from alkdnet.networks import build
from alkdnet.weights.released import import_released, released_names
from benchmarks.plain import PlainALKDNet

SMALL = {"blocks": 2, "channels": 8}
# What makes the plain network a BSRN.
PLAIN_BSRN = {
    "convolution": "bsconv",
    "fusion": "bsconv",
    "residual": "fsrl",
    "block_norm": False,
    "esa_padding": 0,
}


class PlainIMDN(nn.Module):
    """IMDN with the released names, after the fact sheet alone."""

    def __init__(self, scale: int, blocks: int, c: int) -> None:
        super().__init__()
        self.scale, self.n, q = scale, blocks, c // 4
        self.fea_conv = nn.Conv2d(3, c, 3, 1, 1)
        for i in range(blocks):
            block = nn.Module()
            block.c1, block.c2 = nn.Conv2d(c, c, 3, 1, 1), nn.Conv2d(c - q, c, 3, 1, 1)
            block.c3, block.c4 = nn.Conv2d(c - q, c, 3, 1, 1), nn.Conv2d(c - q, q, 3, 1, 1)
            block.c5, block.cca = nn.Conv2d(c, c, 1), nn.Module()
            h = max(c // 16, 1)
            block.cca.conv_du = nn.Sequential(nn.Conv2d(c, h, 1), nn.ReLU(), nn.Conv2d(h, c, 1), nn.Sigmoid())
            self.add_module(f"IMDB{i + 1}", block)
        self.c = nn.Sequential(nn.Conv2d(c * blocks, c, 1), nn.LeakyReLU(0.05))
        self.LR_conv = nn.Conv2d(c, c, 3, 1, 1)
        self.upsampler = nn.Sequential(nn.Conv2d(c, 3 * scale**2, 3, 1, 1), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        fea = self.fea_conv(x)
        q = fea.shape[1] // 4
        out, outs = fea, []
        for i in range(self.n):
            block = self.get_submodule(f"IMDB{i + 1}")
            r1 = F.leaky_relu(block.c1(out), 0.05)
            r2 = F.leaky_relu(block.c2(r1[:, q:]), 0.05)
            r3 = F.leaky_relu(block.c3(r2[:, q:]), 0.05)
            cat = torch.cat([r1[:, :q], r2[:, :q], r3[:, :q], block.c4(r3[:, q:])], 1)
            contrast = cat.var((2, 3), unbiased=False, keepdim=True).sqrt()
            weight = block.cca.conv_du(contrast + cat.mean((2, 3), keepdim=True))
            out = block.c5(cat * weight) + out
            outs.append(out)
        return self.upsampler(self.LR_conv(self.c(torch.cat(outs, 1))) + fea)


def plain(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "imdn":
        return PlainIMDN(2, blocks=2, c=8)
    return PlainALKDNet(scale=2, **SMALL, **(PLAIN_BSRN if name == "bsrn" else {}))


def ours(name: str) -> nn.Module:
    torch.manual_seed(1)
    return build(name, 2, SMALL)


def as_published(name: str, weights: dict[str, Tensor]) -> object:
    """Wrap weights as the authors do."""
    if name == "imdn":
        return {f"module.{key}": value for key, value in weights.items()}
    if name == "bsrn":
        weights = {k.replace("c_up.", "upsampler.upsampleOneStep.0."): v for k, v in weights.items()}
    return {"params": weights}


@pytest.mark.parametrize("name", ["alkdnet", "bsrn", "imdn"])
def test_import_gives_what_the_released_names_compute(tmp_path, name):
    source = plain(name)
    torch.save(as_published(name, source.state_dict()), tmp_path / "net.pth")
    model = ours(name)
    import_released(tmp_path / "net.pth", model)
    x_BCHW = torch.rand(2, 3, 16, 17)
    with torch.no_grad():
        torch.testing.assert_close(model(x_BCHW), source(x_BCHW), atol=2e-6, rtol=0)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".PTH", ".ckpt"])
def test_every_suffix_of_pytorch_is_read(tmp_path, suffix):
    weights = plain("alkdnet").state_dict()
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / f"net{suffix}")
    model = ours("alkdnet")
    import_released(tmp_path / f"net{suffix}", model)
    assert torch.equal(model.tail.weight, weights["c_up.weight"])


@pytest.mark.parametrize("key", ["params_ema", "model_state_dict", "model"])
def test_a_state_dict_is_found_in_a_checkpoint(tmp_path, key):
    weights = plain("alkdnet").state_dict()
    torch.save({"epoch": 3, "params": {}, key: weights}, tmp_path / "net.pth")
    model = ours("alkdnet")
    import_released(tmp_path / "net.pth", model)
    assert torch.equal(model.tail.weight, weights["c_up.weight"])


@pytest.mark.parametrize("theirs", [True, False])
def test_safetensors_have_the_authors_names_or_ours(tmp_path, theirs):
    source = plain("alkdnet") if theirs else build("alkdnet", 2, SMALL)
    save_file(source.state_dict(), tmp_path / "net.safetensors")
    model = ours("alkdnet")
    import_released(tmp_path / "net.safetensors", model)
    assert torch.equal(model.tail.weight, (source.c_up if theirs else source.tail).weight)


def test_half_precision_and_ema_are_understood(tmp_path):
    weights = plain("alkdnet").half().state_dict()
    torch.save({"params_ema": {}, "params": weights}, tmp_path / "net.pth")
    model = ours("alkdnet")
    import_released(tmp_path / "net.pth", model)
    assert model.tail.weight.dtype == torch.float32
    assert torch.equal(model.tail.weight, weights["c_up.weight"].float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("B2.esa.conv_f.bias"), "missing blocks.1.esa.skip.bias"),
        (lambda weights: weights.update({"B3.c5.bias": torch.ones(8)}), "unknown B3.c5.bias"),
        (lambda weights: weights.update({"mean": torch.ones(3)}), "unknown mean"),
        (
            lambda weights: weights.update({"c_up.bias": torch.ones(27)}),
            r"wrong shape c_up.bias \[27\] instead of \[12\]",
        ),
        (
            lambda weights: weights.update({"tail.bias": torch.ones(12)}),
            "c_up.bias and tail.bias are the same weights, tail.bias",
        ),
        (lambda weights: weights.update({"a\nb\x1b": torch.ones(3)}), r"unknown a\\nb\\x1b"),
        (lambda weights: weights["B1.c5.bias"].fill_(torch.nan), "B1.c5.bias holds NaN or infinity"),
        (lambda weights: weights["c1.bias"].fill_(torch.inf), "c1.bias holds NaN or infinity"),
        (
            lambda weights: weights.update({"c1.bias": torch.ones(8, dtype=torch.int8)}),
            "c1.bias has torch.int8, not floating-point numbers",
        ),
        (
            lambda weights: weights.update({"c1.bias": torch.ones(8, dtype=torch.bool)}),
            "c1.bias has torch.bool, not floating-point numbers",
        ),
        (
            lambda weights: weights.update({"c1.bias": torch.ones(8).to(torch.float8_e4m3fn)}),
            "c1.bias has torch.float8_e4m3fn, not floating-point numbers",
        ),
        (
            lambda weights: weights.update({"c1.bias": torch.full((8,), 1e300, dtype=torch.float64)}),
            "c1.bias holds NaN or infinity, or numbers too large for float32",
        ),
        (
            lambda weights: weights.update({"c1.bias": torch.ones(8).to_sparse()}),
            "c1.bias is no plain array of numbers",
        ),
        (
            lambda weights: weights.update({"c1.bias": torch.ones(1).expand(10**6, 10**6)}),
            "c1.bias is no plain array of numbers",
        ),
    ],
)
def test_wrong_weights_are_rejected_by_the_names_of_the_file(tmp_path, change, message):
    weights = dict(plain("alkdnet").state_dict())
    change(weights)
    torch.save({"params": weights}, tmp_path / "net.pth")
    model = ours("alkdnet")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError, match=message) as error:
        import_released(tmp_path / "net.pth", model)
    assert str(error.value).startswith(f"{tmp_path / 'net.pth'}: ")
    assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("network", ["alkdnet", "bicubic", "srcnn", "vdsr", "safmn", "rfdn"])
def test_a_file_of_another_network_is_rejected(tmp_path, network):
    torch.save(as_published("imdn", plain("imdn").state_dict()), tmp_path / "net.pth")
    model = build(network, 2, {})
    with pytest.raises(
        UserError, match=rf"do not fit {type(model).__name__}: (missing .*; )?unknown|not arranged"
    ):
        import_released(tmp_path / "net.pth", model)


def test_safmn_has_the_authors_names_too():
    """No test reads a .pth of SAFMN: they are not in any repository."""
    layers = ["norm1", "norm2", *(f"safm.mfr.{i}" for i in range(4)), "safm.aggr", "ccm.ccm.0", "ccm.ccm.2"]
    names = ["to_feat", "to_img.0", *(f"feats.{block}.{layer}" for block in range(8) for layer in layers)]
    theirs = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    model = build("safmn", 2, {})
    assert sorted(released_names(theirs, model).values()) == sorted(model.state_dict())


def test_srcnn_s_pixels_count_down_the_columns(tmp_path):
    """As `reshape(weights_conv2(channel, :, filter), 5, 5)` in the authors' code."""
    random = np.random.default_rng(0)
    arrays = {
        "weights_conv1": random.random((81, 64)),
        "weights_conv2": random.random((64, 25, 32)),
        "weights_conv3": random.random((32, 25)),
        **{f"biases_conv{i}": random.random((size, 1)) for i, size in ((1, 64), (2, 32), (3, 1))},
    }
    scipy.io.savemat(tmp_path / "x2.mat", arrays)
    model = build("srcnn", 2, {})
    import_released(tmp_path / "x2.mat", model)
    kernel = arrays["weights_conv2"][7, :, 11].reshape(5, 5, order="F")
    np.testing.assert_allclose(model.mapping.weight[11, 7].detach(), kernel, rtol=1e-6)
    kernel = arrays["weights_conv1"][:, 5].reshape(9, 9, order="F")
    np.testing.assert_allclose(model.extraction.weight[5, 0].detach(), kernel, rtol=1e-6)
    kernel = arrays["weights_conv3"][3].reshape(5, 5, order="F")
    np.testing.assert_allclose(model.reconstruction.weight[0, 3].detach(), kernel, rtol=1e-6)


def test_vdsr_s_cells_are_read(tmp_path):
    random = np.random.default_rng(0)
    widths = [1, 64, 64, 1]
    cells = np.empty((1, 3), dtype=object)
    biases = np.empty((1, 3), dtype=object)
    for i, (ins, outs) in enumerate(pairwise(widths)):
        kernels = random.random((3, 3, ins, outs)).astype(np.float32)
        cells[0, i] = kernels[..., 0] if outs == 1 else kernels
        biases[0, i] = random.random((outs, 1)).astype(np.float32)
    scipy.io.savemat(tmp_path / "net.mat", {"model": {"weight": cells, "bias": biases}})
    model = build("vdsr", 2, {"layers": 3})
    import_released(tmp_path / "net.mat", model)
    assert model.layers[1].weight[9, 5, 0, 2].item() == cells[0, 1][0, 2, 5, 9]
    assert model.layers[2].weight[0, 5, 0, 2].item() == cells[0, 2][0, 2, 5]


def test_weights_for_0_to_255_compute_the_same_for_0_to_1(tmp_path):
    torch.manual_seed(0)
    model, source = (build("fmen", 2, {"blocks": 1, "channels": 8}) for _ in range(2))
    theirs = {
        ours.replace("shallow.", "head.").replace("tail.", "tail.0.").replace("fusion.", "lr_conv."): tensor
        for ours, tensor in source.state_dict().items()
    }
    torch.save(theirs, tmp_path / "net.pt")
    import_released(tmp_path / "net.pt", model)
    x_BCHW = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        torch.testing.assert_close(model(x_BCHW) * 255, source(x_BCHW * 255), atol=1e-4, rtol=1e-5)
