"""The weights that a training starts from: those of another network as far as they fit."""

from pathlib import Path

import torch
from torch import nn

from alkdnet.errors import UserError
from alkdnet.files import sha256_file
from alkdnet.results.run import InitFrom
from alkdnet.weights.files import read_weights


def start_from(weights: Path, model: nn.Module) -> InitFrom:
    """Copy into the model the weights that fit by name and shape, and return what does not.

    `weights`: a safetensors file in the folder of its row.

    Raises:
        UserError: the file is missing or damaged, or nothing in it fits.
    """
    tensors = read_weights(weights)
    own = model.state_dict()
    taken = [name for name, tensor in own.items() if name in tensors and tensors[name].shape == tensor.shape]
    if not taken:
        raise UserError(
            f"{weights}: no tensor fits {type(model).__name__} by name and shape: start from a row of "
            "the same network, or train from nothing"
        )
    with torch.no_grad():
        for name in taken:
            own[name].copy_(tensors[name])
    return InitFrom(
        row=weights.parent.name,
        weights_sha256=sha256_file(weights),
        new=tuple(name for name in own if name not in taken),
        unused=tuple(name for name in tensors if name not in taken),
    )
