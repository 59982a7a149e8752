"""Safetensors files, with this library's names or the authors'."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors."""
    tensors: dict[str, Tensor] = load_file(path)
    return tensors
