"""Import of released weights: files by their authors' names, as a network of this library has them.

How a network's files are to be read stands in the network's own module:

- `RELEASED_NAMES`: pairs (pattern, replacement), all applied in this order to every name of a file. Then
  `<3-1>` is replaced by the difference: authors count from 1, or from elsewhere, where a ModuleList counts
  from 0. A name that no rule knows stays as it is.
- `arrange_released(tensors)`, where names do not suffice: changes layout or range of the tensors, before the
  names. It raises ValueError for a file that it cannot read.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from alkdnet.errors import UserError, in_one_line
from alkdnet.weights.checks import check_weights
from alkdnet.weights.formats import read_tensors

Rules = tuple[tuple[str, str], ...]
SUM = re.compile(r"<(\d+)([+-]\d+)>")


def import_released(path: Path, model: nn.Module) -> None:
    """Fill the model with the weights of a published file, or of one with this library's own names.

    Args:
        path: the file as published; of a pair for ncnn the .param.
        model: the network of the file's architecture and scale.

    Raises:
        UserError: the file is missing or unreadable, its weights are no finite floating-point numbers, or its
            names and shapes are not exactly the model's.
    """
    tensors = read_tensors(path)
    if tensors.keys() == model.state_dict().keys():
        names = {name: name for name in tensors}
    else:
        tensors = _arranged(path, tensors, model)
        names = released_names(tensors, model)
    _check_unique(path, names)
    weights = {ours: tensors[theirs].float() for theirs, ours in names.items()}
    check_weights(path, weights, model, published={ours: theirs for theirs, ours in names.items()})
    model.load_state_dict(weights)


def released_names(names: Iterable[str], model: nn.Module) -> dict[str, str]:
    """Return this library's name for each name of a released file of the model's network."""
    rules: Rules = getattr(sys.modules[type(model).__module__], "RELEASED_NAMES", ())
    return {name: translate(name, rules) for name in names}


def translate(name: str, rules: Rules) -> str:
    """Return a name after all rules, with `<3-1>` and `<3+1>` computed."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return SUM.sub(lambda match: str(int(match[1]) + int(match[2])), name)


def _arranged(path: Path, tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    arrange = getattr(sys.modules[type(model).__module__], "arrange_released", dict)
    try:
        arranged: dict[str, Tensor] = arrange(tensors)
    except (IndexError, RuntimeError, ValueError) as error:  # PyTorch's errors for wrong shapes
        raise UserError(
            f"{path}: not arranged as released weights of {type(model).__name__} ({in_one_line(error)})"
        ) from error
    return arranged


def _check_unique(path: Path, names: Mapping[str, str]) -> None:
    theirs_of: dict[str, str] = {}
    for theirs, ours in names.items():
        if ours in theirs_of:
            raise UserError(f"{path}: {theirs_of[ours]} and {theirs} are the same weights, {ours}")
        theirs_of[ours] = theirs
