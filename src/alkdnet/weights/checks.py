"""What weights must be before a network takes them, wherever they come from."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from alkdnet.errors import UserError, visible

NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# As many names are told of what does not fit.
TOLD = 4


def check_file(path: Path) -> None:
    """Raise UserError unless the path is an existing file."""
    if path.is_dir():
        raise UserError(f"{path}: is a directory, not a file of weights")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of weights")


def check_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise UserError, naming file and tensor, unless all tensors are plain arrays of finite numbers."""
    for name, tensor in ((visible(name), tensor) for name, tensor in tensors.items()):
        if tensor.dtype not in NUMBERS:
            raise UserError(
                f"{path}: {name} has {tensor.dtype}, not floating-point numbers of 16 bits or more"
            )
        if not _is_plain(tensor):
            raise UserError(
                f"{path}: {name} is no plain array of numbers, but sparse, nested or without data"
            )
        if not tensor.float().isfinite().all():
            raise UserError(f"{path}: {name} holds NaN or infinity, or numbers too large for float32")


def _is_plain(tensor: Tensor) -> bool:
    """Return whether every element has its own place in memory."""
    if tensor.is_meta or tensor.is_nested or tensor.layout != torch.strided:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def check_weights(
    path: Path, tensors: Mapping[str, Tensor], model: nn.Module, *, published: Mapping[str, str] | None = None
) -> None:
    """Raise UserError, naming the file, unless names and shapes are exactly those of the model.

    Args:
        path: the file that the tensors come from.
        tensors: by the model's names.
        model: the network.
        published: the file's own names by the model's, where they differ.
    """
    published = published or {}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    problems = []
    if missing := [name for name in expected if name not in found]:
        problems.append(f"missing {_some(missing)}")
    if unknown := [published.get(name, name) for name in found if name not in expected]:
        problems.append(f"unknown {_some(unknown)}")
    if wrong := [
        f"{published.get(name, name)} {list(shape)} instead of {list(expected[name])}"
        for name, shape in found.items()
        if name in expected and shape != expected[name]
    ]:
        problems.append(f"wrong shape {_some(wrong)}")
    if problems:
        raise UserError(f"{path}: these weights do not fit {type(model).__name__}: {'; '.join(problems)}")


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - TOLD} more" if len(texts) > TOLD else ""
    return visible(", ".join(texts[:TOLD])) + more
