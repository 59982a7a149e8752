"""What decides exactness and waiting on a GPU, looked at without one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from alkdnet.config.loading import load_pipeline
from alkdnet.config.params import Execution, Recipe
from alkdnet.data import sampler
from alkdnet.data.packs import PackedImages
from alkdnet.device import arithmetic
from alkdnet.training import step
from alkdnet.training.runtime.session import has_diverged
from alkdnet.training.validation import Validator
from benchmarks import train_step
from tests.training.trainer import RUN, validation_pair

CUDA = torch.device("cuda")


class Nearest(nn.Module):
    """Repeats pixels, and notes the precision it was asked to compute in."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, bool]] = []

    def forward(self, x_BCHW: Tensor) -> Tensor:
        self.seen.append(_precision())
        return x_BCHW.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def _precision() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def test_validation_is_float32_whatever_the_training_computes_in() -> None:
    model = Nearest()
    with arithmetic(CUDA, "tf32", threads=1):
        training = _precision()
        Validator([validation_pair()], scale=2, device=torch.device("cpu")).start(model).result()
        assert _precision() == training == ("high", True)
    assert model.seen == [("highest", False)]


def test_convolutions_are_deterministic_while_the_arithmetic_is_fixed() -> None:
    before = torch.backends.cudnn.deterministic
    with arithmetic(CUDA, "tf32", threads=1):
        assert torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.deterministic is before is False


def test_the_plain_step_of_the_benchmark_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(train_step, "time_plain", lambda *_: seen.append(_precision()))
    arguments = train_step.argparse.Namespace(device="cuda", threads=1, batch=8, steps=5)
    train_step.time_variant("plain", Path(), arguments)
    assert seen == [("highest", False)]


@pytest.mark.parametrize("name", train_step.variants("cuda")[1:])
def test_the_benchmark_trains_with_what_its_rows_say(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def record(folder: Path, recipe: Recipe, execution: Execution, *, steps_per_row: int) -> None:
        seen.append((recipe.precision, execution))

    seen: list[tuple[str, Execution]] = []
    recorder = step.GraphedFunction
    monkeypatch.setattr(step, "GraphedFunction", recorder)  # to be restored
    monkeypatch.setattr(train_step, "time_ours", record)
    arguments = train_step.argparse.Namespace(device="cuda", threads=1, batch=8, steps=5)
    train_step.time_variant(name, Path(), arguments)
    ((precision, execution),) = seen
    words = [precision]
    words += ["kernels"] if execution.kernels == "triton" else []
    words += ["graph"] if step.GraphedFunction is recorder else []
    words += ["compiled"] if execution.compile else []
    assert " ".join(words) == name


def test_the_benchmark_trains_by_the_recipe_of_the_paper(repository: Path) -> None:
    recipe = train_step.recipe_of(batch=64, precision="float32", iterations=20)
    paper = load_pipeline("paper", repository).recipes["paper"]
    for name in ("batch_size", "patch_size", "learning_rate", "final_learning_rate", "beta1", "beta2"):
        assert getattr(recipe, name) == getattr(paper, name), name


def test_a_variant_that_fails_or_finds_no_time_costs_its_numbers_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(train_step, "time_child", lambda name, *_: None if name == "plain" else (0.5, 0.25))
    monkeypatch.setattr(train_step, "step_cost", lambda _: (2e9, 1e9))
    monkeypatch.setattr(train_step, "copy_bandwidth", lambda _: 1e10)
    monkeypatch.setattr(train_step, "matrix_rate", lambda *_: 1e11)
    arguments = train_step.argparse.Namespace(
        device="cpu", threads=1, batch=8, rounds=1, seconds=1.0, only=None
    )
    lines = train_step.table(tmp_path, arguments).splitlines()
    assert "copies run at 10 GB/s, matrix products at (TFLOP/s) float32 0.1." in lines[0]
    assert "| plain | not timed | | | | | 0.0200 | 0.1000 | |" in lines
    assert "| float32 | 0.5000 | 2.00 |  | 0.250 |  | 0.0200 | 0.1000 | 20% |" in lines


class Looks(TorchDispatchMode):
    """Counts how often a number is taken out of a tensor: each of these waits for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("bad", [None, torch.nan, torch.inf, -torch.inf])
def test_divergence_is_looked_for_once(bad: float | None) -> None:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(20)))
    with Looks() as looks:
        assert not has_diverged(0.1, model, limit=10)
    assert looks.count == 1
    if bad is not None:
        with torch.no_grad():
            model[7].weight[1, 2] = bad
        assert has_diverged(0.1, model, limit=10)


def test_what_to_crop_travels_from_pinned_memory_without_waiting(
    patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tensors' methods are replaced: there need be no GPU."""
    calls: list[object] = []

    def pin(tensor: Tensor) -> Tensor:
        calls.append("pinned")
        return tensor

    def send(tensor: Tensor, device: torch.device, *, non_blocking: bool = False) -> Tensor:
        calls.append((device.type, non_blocking))
        return tensor

    drawn = sampler.draw(PackedImages.open(patches, RUN.scale), seed=0, iteration=0, patch_size=14, count=4)
    expected = torch.from_numpy(drawn.image)
    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "to", send)
    assert torch.equal(sampler._sent(drawn.image, CUDA), expected)
    assert calls == ["pinned", ("cuda", True)]
    assert torch.equal(sampler._sent(drawn.image, torch.device("cpu")), expected)
    assert calls[2:] == [("cpu", False)]
