"""Weights to and from safetensors files of this library."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from alkdnet.errors import UserError
from alkdnet.files import atomic_path
from alkdnet.weights.checks import check_file, check_values, check_weights


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the parameters and buffers as safetensors; the same weights give the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors))  # save_file would keep others from reading it


def load_weights(path: Path, model: nn.Module) -> None:
    """Fill the model with the weights of a safetensors file whose names and shapes are exactly the model's.

    Raises:
        UserError: as `read_weights`; also if the file belongs to another network.
    """
    tensors = read_weights(path)
    check_weights(path, tensors, model)
    model.load_state_dict(tensors)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name.

    Raises:
        UserError: the file is missing, is no safetensors file, or its weights are no finite floating-point
            numbers.
    """
    check_file(path)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file ({error})") from error
    check_values(path, tensors)
    return tensors
