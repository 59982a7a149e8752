"""The demo's conclusions survive a last bit, in which CPU models differ, and its networks beat bicubic."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import alkdnet.training.loop
from alkdnet.config.loading import load_pipeline
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.data.lr import downscale_folder
from alkdnet.data.packing import TrainingSet, pack
from alkdnet.data.packs import PackedImages
from alkdnet.evaluation.benchmark import BenchmarkSet, evaluate
from alkdnet.evaluation.protocol import Protocol
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks import build
from alkdnet.results.scores import read_means
from alkdnet.sources.catalogue import source
from alkdnet.sources.fetching import fetch
from alkdnet.training.runtime.monitor import NullMonitor
from alkdnet.weights.runs import load_run

# In dB: what `alkdnet verify` takes for agreement.
TOLERANCE = 0.02
SET = "embedded_test"


@pytest.fixture(scope="module")
def demo(repository: Path) -> Params:
    return load_pipeline("demo", repository)


@pytest.fixture(scope="module")
def data(demo: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's images and packs, made as its stages make them."""
    folder = tmp_path_factory.mktemp("demo")
    for name in demo.datasets:
        fetch(
            source(name),
            folder / "raw" / name,
            cache=folder / "c",
            mirror=None,
            digests=folder / "digests.json",
        )
        downscale_folder(folder / "raw" / name, folder / "lr" / name, demo.downscale.scales)
    train = TrainingSet("embedded_train", folder / "raw/embedded_train", folder / "lr/embedded_train")
    pack([train], folder / "patches", dict.fromkeys(demo.downscale.scales, 1))
    return folder


def nudged(network: str, scale: int, options: dict) -> nn.Module:
    """Return a network half of whose weights are one unit in the last place larger."""
    model = build(network, scale, options)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            chosen = torch.rand(weight.shape, generator=generator) < 0.5
            weight.copy_(torch.where(chosen, torch.nextafter(weight, torch.tensor(torch.inf)), weight))
    return model


def psnr(upscale: Callable, data: Path, scale: int, *, channel: str = "y") -> float:
    test_set = BenchmarkSet(
        name=SET, hr_folder=data / "raw" / SET, lr_folder=data / "lr" / SET / f"x{scale}", expected=5
    )
    protocol = Protocol(channel=channel)  # type: ignore[arg-type]
    return evaluate(upscale, [test_set], scale=scale, protocol=protocol).means()[SET].psnr


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", ["bsrn_x2", "kernel3_x2", "kernel11_x2", "norm_x2", "alkdnet_x3", "alkdnet_x4"]
)
def test_a_last_bit_moves_no_result(
    demo: Params,
    data: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    row: str,
) -> None:
    """Against the committed results, so that it also holds on another model of CPU."""
    run = demo.runs[row]
    monkeypatch.setattr(alkdnet.training.loop, "build", nudged)
    alkdnet.training.loop.train(
        run=run,
        recipe=demo.recipes[run.recipe],
        history=demo.history,
        execution=demo.execution,
        packed=PackedImages.open(data / "patches", run.scale),
        validation=[],
        output=tmp_path / row,
        checkpoints=tmp_path / "checkpoints",
        monitor=NullMonitor(),
    )
    model, _ = load_run(tmp_path / row)
    committed = read_means(Paths("demo", repository).evaluation(row))[SET].psnr
    assert psnr(Upscaler(model), data, run.scale) == pytest.approx(committed, abs=TOLERANCE)
    if row.startswith(("alkdnet", "bsrn")):
        bicubic = Upscaler(build("bicubic", run.scale, {}))
        ours, theirs = (psnr(each, data, run.scale, channel="rgb") for each in (Upscaler(model), bicubic))
        assert ours > theirs + 0.1
