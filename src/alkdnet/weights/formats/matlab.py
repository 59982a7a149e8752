"""MATLAB's .mat files up to version 7."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def read(path: Path) -> dict[str, Tensor]:
    """Return the numeric arrays with MATLAB's axes; the members of structures and cells as `a.b.0`."""
    from scipy.io import loadmat  # here: it takes long to import, and most files need none of it

    content = loadmat(path)
    return {
        name: torch.from_numpy(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("=")))
        for variable, value in content.items()
        if not variable.startswith("__")
        for name, array in _arrays(variable, value)
    }


def _arrays(name: str, value: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    if value.dtype.names is not None:
        for member in value.dtype.names:
            yield from _arrays(f"{name}.{member}", value[member])
    elif value.dtype == object:
        # A structure's members are themselves in cells, of one element.
        cells = list(value.flat)
        for number, cell in enumerate(cells):
            yield from _arrays(name if len(cells) == 1 else f"{name}.{number}", np.asarray(cell))
    else:
        yield name, value
