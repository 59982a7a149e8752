"""PyTorch's pickles (.pth, .pt, .ckpt), read as weights only."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alkdnet.errors import UserError, visible

# Names that a state dict may be wrapped in, in the order of preference.
WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model")
# What `nn.DataParallel` puts before every name.
PARALLEL = "module."


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a state dict, without a wrapping dictionary and the prefix of `nn.DataParallel`.

    Raises:
        UserError: what the file holds is no dictionary of tensors by name.
    """
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(inner := content.get(wrapper), dict) and inner:
            content = inner
            break
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds {type(content).__name__}, not a dictionary of tensors")
    for name, tensor in content.items():
        if not isinstance(name, str):
            raise UserError(f"{path}: {name!r} is no name of a tensor")
        if not isinstance(tensor, Tensor):
            raise UserError(f"{path}: {visible(name)} is {type(tensor).__name__}, not a tensor")
    if all(name.startswith(PARALLEL) for name in content):
        return {name.removeprefix(PARALLEL): tensor for name, tensor in content.items()}
    return content
