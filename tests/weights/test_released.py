"""Importers: the plain networks bear the released names, so what they compute is what an import must give."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from alkdnet.data.resize import crop_to_multiple, downscale
from alkdnet.errors import UserError
from alkdnet.evaluation.metrics import score
from alkdnet.evaluation.protocol import Protocol
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks import build
from alkdnet.weights.released import import_released, read_released
from benchmarks.plain import PlainALKDNet

BSRN = {
    "convolution": "bsconv",
    "fusion": "bsconv",
    "residual": "fsrl",
    "block_norm": False,
    "esa_padding": 0,
}
SMALL = {"blocks": 2, "channels": 8}


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
    return PlainALKDNet(scale=2, **SMALL, **(BSRN if name == "bsrn" else {}))


def ours(name: str) -> tuple[nn.Module, str]:
    torch.manual_seed(1)
    return build(name, 2, SMALL), name


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
    model, network = ours(name)
    import_released(tmp_path / "net.pth", model, network=network)
    x_BCHW = torch.rand(2, 3, 16, 17)
    with torch.no_grad():
        torch.testing.assert_close(model(x_BCHW), source(x_BCHW), atol=2e-6, rtol=0)


def test_half_precision_and_ema_are_understood(tmp_path):
    weights = plain("alkdnet").half().state_dict()
    torch.save({"params": {}, "params_ema": weights}, tmp_path / "net.pth")
    model, network = ours("alkdnet")
    import_released(tmp_path / "net.pth", model, network=network)
    assert model.tail.weight.dtype == torch.float32
    assert torch.equal(model.tail.weight, weights["c_up.weight"].float())


def _save(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b""), "not a PyTorch file"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html><html>404: Not Found</html>"), "not a PyTorch file"),
        (
            lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
            "not a PyTorch file",
        ),
        (_save(Path("/")), "not a PyTorch file"),  # an object whose unpickling would run code
        (_save([torch.ones(1)]), "holds list, not a dictionary"),
        (_save({}), "holds dict, not a dictionary of tensors"),
        (_save({"params": {"fea_conv.weight": 3}}), "fea_conv.weight is no floating-point tensor"),
        (
            _save({"c_up.bias": torch.ones(1), "upsampler.upsampleOneStep.0.bias": torch.ones(1)}),
            "same weights",
        ),
    ],
)
def test_other_files_are_refused(tmp_path, write, message):
    path = tmp_path / "net.pth"
    write(path)
    with pytest.raises(UserError, match=message) as error:
        read_released(path, network="alkdnet")
    assert str(path) in str(error.value)


def test_truncated_file_is_refused(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"params": plain("alkdnet").state_dict()}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="not a PyTorch file"):
        read_released(path, network="alkdnet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("B2.esa.conv_f.bias"), "missing blocks.1.esa.skip.bias"),
        (lambda weights: weights.update({"B3.c5.bias": torch.ones(8)}), "unknown blocks.2.condense.bias"),
        (lambda weights: weights.update({"mean": torch.ones(3)}), "unknown mean"),
        (
            lambda weights: weights.update({"c_up.bias": torch.ones(27)}),
            r"wrong shape tail.bias \[27\] instead of \[12\]",
        ),
    ],
)
def test_mutilated_weights_are_refused(tmp_path, change, message):
    weights = dict(plain("alkdnet").state_dict())
    change(weights)
    torch.save({"params": weights}, tmp_path / "net.pth")
    model, network = ours("alkdnet")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError, match=message):
        import_released(tmp_path / "net.pth", model, network=network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_file_of_another_network_is_refused(tmp_path):
    torch.save(as_published("imdn", plain("imdn").state_dict()), tmp_path / "net.pth")
    model, network = ours("alkdnet")
    with pytest.raises(UserError, match=r"do not fit ALKDNet: missing .* and \d+ more; unknown"):
        import_released(tmp_path / "net.pth", model, network=network)


def test_networks_without_an_importer(tmp_path):
    torch.save({"weight": torch.ones(1)}, tmp_path / "net.pth")
    with pytest.raises(UserError, match="can be imported for alkdnet, bsrn, imdn, not for bicubic"):
        read_released(tmp_path / "net.pth", network="bicubic")


# PSNR and SSIM of the authors' weights in float32 on a CPU. ALKDNet: rounded, these are the cells of the
# paper's Table 4; BSRN and IMDN: measured in the same way with their authors' networks.
CALIBRATION = {
    ("alkdnet", 2): {"Set5": (38.1445, 0.96095), "Set14": (33.8131, 0.91934), "BSD100": (32.2883, 0.90106)},
    ("alkdnet", 4): {"Set5": (32.3698, 0.89757), "Set14": (28.8005, 0.78597), "BSD100": (27.6916, 0.73989)},
    ("bsrn", 2): {
        "Set5": (38.08397, 0.960837),
        "Set14": (33.73360, 0.919259),
        "BSD100": (32.23520, 0.900452),
    },
    ("bsrn", 4): {
        "Set5": (32.35007, 0.896524),
        "Set14": (28.73908, 0.784718),
        "BSD100": (27.64938, 0.738626),
    },
    ("imdn", 2): {
        "Set5": (37.99662, 0.960494),
        "Set14": (33.63211, 0.917737),
        "BSD100": (32.18931, 0.899633),
    },
    ("imdn", 4): {
        "Set5": (32.21145, 0.894776),
        "Set14": (28.58688, 0.781105),
        "BSD100": (27.56138, 0.735305),
    },
}
FILES = {"alkdnet": "net_g_ALKDN_x{}.pth", "bsrn": "net_g_BSRN_x{}.pth", "imdn": "IMDN_x{}.pth"}
IMAGES = {
    "Set5": (5, "Set5/image_SRF_2/*_HR.png"),
    "Set14": (14, "Set14/image_SRF_2/*_HR.png"),
    "BSD100": (100, "BSD100/image_SRF_3/*_HR.png"),
}


def released_network(shared_dir: Path, name: str, scale: int) -> nn.Module:
    model = build(name, scale, {})
    (weights,) = (shared_dir / "mirror").rglob(FILES[name].format(scale))
    import_released(weights, model, network=name)
    return model


SETS = [
    "Set5",
    pytest.param("Set14", marks=pytest.mark.slow),
    pytest.param("BSD100", marks=pytest.mark.slow),
]


def check_calibration(
    shared_dir: Path, name: str, scale: int, test_set: str, upscale: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Compare the means over a test set with CALIBRATION, to 0.0005 dB and 0.00001."""
    count, pattern = IMAGES[test_set]
    scores = []
    for path in sorted((shared_dir / "mirror").rglob(pattern)):
        with Image.open(path) as image:
            hr_HWC = crop_to_multiple(np.array(image.convert("RGB")), scale)
        sr_HWC = upscale(downscale(hr_HWC, scale))
        scores.append(score(sr_HWC, hr_HWC, scale=scale, protocol=Protocol()))
    assert len(scores) == count
    psnr, ssim = np.mean(scores, axis=0)
    expected_psnr, expected_ssim = CALIBRATION[name, scale][test_set]
    assert psnr == pytest.approx(expected_psnr, abs=0.0005)
    assert ssim == pytest.approx(expected_ssim, abs=0.00001)


@pytest.mark.data
@pytest.mark.parametrize("test_set", SETS)
@pytest.mark.parametrize(("name", "scale"), CALIBRATION)
def test_released_weights_give_the_published_figures(shared_dir, name, scale, test_set):
    """By the network's own forward pass."""
    model = released_network(shared_dir, name, scale).to(memory_format=torch.channels_last)

    def upscale(lr_HWC):
        x_BCHW = torch.from_numpy(lr_HWC).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            y_BCHW = (model(x_BCHW).clamp(0, 1) * 255).round().byte()
        return y_BCHW[0].permute(1, 2, 0).numpy()

    check_calibration(shared_dir, name, scale, test_set, upscale)


@pytest.mark.data
@pytest.mark.parametrize("test_set", SETS)
@pytest.mark.parametrize(("name", "scale"), [("alkdnet", 2), ("alkdnet", 4), ("bsrn", 2), ("imdn", 4)])
def test_the_default_inference_gives_the_published_figures(shared_dir, name, scale, test_set):
    """By `Upscaler`, through which evaluation and every other inference go: FastALKDNet on a CPU."""
    upscale = Upscaler(released_network(shared_dir, name, scale))
    check_calibration(shared_dir, name, scale, test_set, upscale)
