"""Fixtures that several test folders share."""

from pathlib import Path

import pytest
import torch

import pipeline.stage  # noqa: F401 - it chooses the CPU instructions of all stages

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """One thread: xdist's workers share the cores, and sums keep one order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder beside the project with published files (`mirror/`) and photographs (`photos/`)."""
    folder = ROOT.parent / "shared"
    if not (folder / "mirror").is_dir():
        pytest.skip(f"no folder {folder.name}/mirror beside the repository")
    return folder
