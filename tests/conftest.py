"""Fixtures that several test folders share."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

import pipeline.stage  # noqa: F401 - it chooses the CPU instructions of all stages
from alkdnet.arrays import ImageHWC
from alkdnet.data.images import write_png
from alkdnet.data.resize import crop_to_multiple, downscale, upscale
from alkdnet.evaluation.benchmark import BenchmarkSet

# Before anything imports triton: its interpreter runs the CUDA kernels on a CPU.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

ROOT = Path(__file__).resolve().parent.parent
MakeSet = Callable[..., BenchmarkSet]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m gpu` read only files and folders with such tests: a GPU host may lack what others import."""
    if config.getoption("markexpr") != "gpu":
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else (collection_path,)
    return None if any("mark.gpu" in file.read_text() for file in files) else True


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """One thread: xdist's workers share the cores, and sums keep one order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with published files (`mirror/`) and photographs (`photos/`)."""
    name = os.environ.get("ALKDNET_TEST_DATA")
    if not name:
        pytest.skip("ALKDNET_TEST_DATA names no folder with the published files")
    folder = Path(name)
    if not (folder / "mirror").is_dir():
        pytest.skip(f"ALKDNET_TEST_DATA: {folder} has no folder mirror")
    return folder


@pytest.fixture
def photograph() -> Callable[..., ImageHWC]:
    """Return an image with large and small structures, by a seed; HR size."""

    def make(seed: int, height: int = 41, width: int = 50) -> ImageHWC:
        random = np.random.default_rng(seed)
        coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        return np.ascontiguousarray(upscale(coarse, 8)[:height, :width])

    return make


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    """Write a set's original and LR images under the test's folder."""

    def make(
        name: str, images: Mapping[str, ImageHWC], *, scale: int = 2, expected: int | None = None
    ) -> BenchmarkSet:
        hr_folder, lr_folder = tmp_path / "raw" / name, tmp_path / "lr" / name / f"x{scale}"
        hr_folder.mkdir(parents=True, exist_ok=True)
        lr_folder.mkdir(parents=True)
        for stem, image in images.items():
            write_png(hr_folder / f"{stem}.png", image)
            write_png(lr_folder / f"{stem}.png", downscale(crop_to_multiple(image, scale), scale))
        return BenchmarkSet(name=name, hr_folder=hr_folder, lr_folder=lr_folder, expected=expected)

    return make
