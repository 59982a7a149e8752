"""Training on a GPU: near the CPU's numbers, in every precision, compiled, recorded, resumed, never waiting.

`python -m pytest -m gpu tests/training` runs these; it needs PyTorch, NumPy, PyYAML, safetensors and Pillow.
"""

import dataclasses
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from alkdnet.config.params import Execution, Loss, Recipe
from alkdnet.data.packs import PackedImages
from alkdnet.data.sampler import PatchSampler
from alkdnet.device import arithmetic
from alkdnet.kernels.cuda.exchange import exchange_layers
from alkdnet.networks import build
from alkdnet.results.history import read_history
from alkdnet.training import step
from alkdnet.training.cuda_graph import WARM_UP
from alkdnet.training.distributed import Ranks
from alkdnet.training.losses import make_loss
from alkdnet.training.optimizers import make_optimizer
from alkdnet.training.running_loss import RunningLoss
from alkdnet.training.runtime.monitor import Monitor
from alkdnet.training.runtime.signals import Stopped
from tests.training.test_kills import Killer
from tests.training.test_loop import EVERY_STEP, GOLDEN
from tests.training.trainer import EXECUTION, RECIPE, RUN, train_small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    # The host's PyTorch is its own, and so are its deprecations.
    pytest.mark.filterwarnings("default"),
]
DEVICE = torch.device("cuda")
ON_CUDA = dataclasses.replace(EXECUTION, device="cuda")
# float32 against the CPU's golden losses: ten times what a CPU with other instructions is allowed, since more
# is summed in another order here, and atomically.
FLOAT32 = 2e-4


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.fixture(autouse=True)
def _no_slow_way(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No training here may have gone on without its graph or its kernels."""
    yield
    assert "slower" not in caplog.text


def _train(
    patches: Path,
    folder: Path,
    *,
    recipe: Recipe = RECIPE,
    execution: Execution = ON_CUDA,
    monitor: Monitor | None = None,
) -> list[float]:
    """Train the small run and return its losses."""
    output = train_small(
        patches, folder, recipe=recipe, history=EVERY_STEP, execution=execution, monitor=monitor
    )
    return [row.loss for row in read_history(output / "history.csv")]


def _weights(folder: Path) -> bytes:
    return (folder / "run" / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("compiled", [False, True])
def test_float32_follows_the_golden_losses_of_the_cpu(patches: Path, tmp_path: Path, compiled: bool) -> None:
    execution = dataclasses.replace(ON_CUDA, compile=compiled)
    assert _train(patches, tmp_path, execution=execution) == pytest.approx(GOLDEN, rel=FLOAT32)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_reduced_precision_lowers_the_loss_too(
    patches: Path, tmp_path: Path, precision: str, compiled: bool
) -> None:
    recipe = dataclasses.replace(RECIPE, precision=precision)  # type: ignore[arg-type]
    execution = dataclasses.replace(ON_CUDA, compile=compiled)
    losses = _train(patches, tmp_path, recipe=recipe, execution=execution)
    assert losses == pytest.approx(GOLDEN, rel=0.05)
    assert losses[-1] < losses[0] / 2


ADAN = {"optimizer": "adan", "beta3": 0.99}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"precision": "tf32"},
        {"precision": "bfloat16"},
        {"optimizer": "adamw", "weight_decay": 0.01, "clip_norm": 0.1},
        {**ADAN, "weight_decay": 0.02, "ema_decay": 0.9, "loss": Loss(l1=1.0, fft=0.05)},
    ],
    ids=["float32", "tf32", "bfloat16", "adamw", "adan"],
)
def test_the_graph_of_a_step_computes_the_same_bits(
    patches: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    compiled: bool,
) -> None:
    recipe = dataclasses.replace(RECIPE, **change)  # type: ignore[arg-type]
    execution = dataclasses.replace(ON_CUDA, compile=compiled)
    graph = _train(patches, tmp_path / "graph", recipe=recipe, execution=execution)
    monkeypatch.setattr(step, "GraphedFunction", lambda function: function)
    assert _train(patches, tmp_path / "plain", recipe=recipe, execution=execution) == graph
    assert _weights(tmp_path / "plain") == _weights(tmp_path / "graph")


@pytest.mark.parametrize("change", [{}, {"precision": "tf32"}, {**ADAN, "ema_decay": 0.9}])
def test_stopped_and_continued_ends_with_the_same_bits(
    patches: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    recipe = dataclasses.replace(RECIPE, **change)  # type: ignore[arg-type]
    losses = _train(patches, tmp_path / "whole", recipe=recipe)
    with pytest.raises(Stopped):
        _train(patches, tmp_path / "parts", recipe=recipe, monitor=Killer(7, signal.SIGTERM))
    assert _train(patches, tmp_path / "parts", recipe=recipe) == losses
    assert _weights(tmp_path / "parts") == _weights(tmp_path / "whole")


def _step(patches: Path, *, looks: bool) -> tuple[PatchSampler, step.TrainingStep]:
    """Return the small run's batches and step; `looks`: at a value, so that it cannot be recorded."""
    batches = PatchSampler(
        PackedImages.open(patches, RUN.scale), seed=3, batch_size=8, patch_size=14, device=DEVICE
    )
    torch.manual_seed(0)
    model = build(RUN.network, RUN.scale, RUN.options)
    model.to(device=DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload]
    exchange_layers(model)
    batch_loss = make_loss(RECIPE, model, model, DEVICE)

    def looking_loss(lr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
        loss = batch_loss(lr_BCHW, hr_BCHW)
        assert loss.item() > 0
        return loss

    return batches, step.TrainingStep(
        optimizer=make_optimizer(RECIPE, model.parameters()),
        batch_loss=looking_loss if looks else batch_loss,
        device=DEVICE,
        graph=True,
    )


def test_a_step_waits_for_nothing(patches: Path) -> None:
    batches, take_step = _step(patches, looks=False)
    running_loss = RunningLoss(DEVICE, Ranks())
    for iteration in range(10):
        if iteration > WARM_UP:  # the recording itself waits, once
            torch.cuda.set_sync_debug_mode("error")
        try:
            running_loss.add(take_step(*batches.batch(iteration), 1e-3))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert running_loss.mean() < 1


def test_a_step_that_cannot_be_recorded_goes_on(patches: Path, caplog: pytest.LogCaptureFixture) -> None:
    def losses(*, looks: bool) -> list[float]:
        batches, take_step = _step(patches, looks=looks)
        # cuDNN's deterministic algorithms, as in a training: the losses are compared bit for bit.
        with arithmetic(DEVICE, "float32", threads=1):
            return [take_step(*batches.batch(iteration), 1e-3).item() for iteration in range(8)]

    expected = losses(looks=False)
    assert losses(looks=True) == expected
    (message,) = caplog.messages
    assert "without a CUDA graph of its step" in message
    caplog.clear()
    # It leaves nothing behind: memory is freed, and the next step is recorded.
    torch.cuda.empty_cache()
    assert losses(looks=False) == expected


def test_stopped_and_continued(patches: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Stopped):
        _train(patches, tmp_path, monitor=Killer(7, signal.SIGTERM))
    caplog.set_level("INFO")
    losses = _train(patches, tmp_path)
    assert "continued after iteration 7" in caplog.text
    assert losses == pytest.approx(GOLDEN, rel=FLOAT32)


def test_a_checkpoint_of_the_cpu_is_continued(patches: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        _train(patches, tmp_path, execution=EXECUTION, monitor=Killer(7, signal.SIGTERM))
    assert _train(patches, tmp_path) == pytest.approx(GOLDEN, rel=FLOAT32)


@pytest.mark.parametrize("resident", [False, True])
def test_batches_are_those_of_the_cpu_and_wait_for_nothing(patches: Path, resident: bool) -> None:
    packed = PackedImages.open(patches, RUN.scale)

    def sampler(device: str, resident: bool | None) -> PatchSampler:
        return PatchSampler(
            packed, seed=3, batch_size=8, patch_size=14, device=torch.device(device), resident=resident
        )

    on_cpu, on_cuda = sampler("cpu", None), sampler("cuda", resident)
    on_cuda.batch(0)  # the first one may load kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = [on_cuda.batch(iteration) for iteration in range(1, 6)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for iteration, pair in enumerate(batches, start=1):
        for ours, expected in zip(pair, on_cpu.batch(iteration), strict=True):
            assert torch.equal(ours.cpu(), expected)
            assert ours.is_contiguous(memory_format=torch.channels_last)
