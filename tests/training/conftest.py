"""A run that takes a second: a small network, four images of noise with structure."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TRAINER = Path(__file__).parent / "trainer.py"
ROOT = TRAINER.parent.parent.parent


@pytest.fixture(scope="session")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of packs that every test of the training shares."""
    from tests.training.trainer import make_patches

    return make_patches(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="session")
def start_trainer(patches: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a real training process: `start_trainer(folder, "--iterations", "40", ...)`."""

    def start(folder: Path, *options: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *prefix, str(TRAINER), str(patches), str(folder), *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "src"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start
