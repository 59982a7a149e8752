"""Weights to and from safetensors files."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from alkdnet.errors import UserError
from alkdnet.files import atomic_path


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the parameters and buffers as safetensors; the same weights give the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors))  # save_file would keep others from reading it


def load_weights(path: Path, model: nn.Module) -> None:
    """Fill the model with the weights of a safetensors file whose names and shapes are exactly the model's.

    Raises:
        UserError: the file is missing, is no safetensors file, or belongs to another network.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of weights")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file ({error})") from error
    check_weights(path, tensors, model)
    model.load_state_dict(tensors)


def check_weights(path: Path, tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    """Raise UserError, naming the file, unless names and shapes are exactly those of the model."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    problems = []
    if missing := [name for name in expected if name not in found]:
        problems.append(f"missing {_some(missing)}")
    if unknown := [name for name in found if name not in expected]:
        problems.append(f"unknown {_some(unknown)}")
    if wrong := [name for name in found if name in expected and found[name] != expected[name]]:
        problems.append(
            "wrong shape "
            + _some([f"{name} {list(found[name])} instead of {list(expected[name])}" for name in wrong])
        )
    if problems:
        raise UserError(f"{path}: these weights do not fit {type(model).__name__}: {'; '.join(problems)}")


def _some(names: Iterable[str], count: int = 4) -> str:
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
