"""The images that training is validated on, as plain arrays: no image library is needed to read them.

validation/x<s>/<set>.safetensors    `<number>.lr` and `<number>.hr`, uint8 HWC, numbered in name order
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from alkdnet.arrays import ImageHWC
from alkdnet.errors import UserError
from alkdnet.files import atomic_path

Pairs = Sequence[tuple[ImageHWC, ImageHWC]]


def write_validation(path: Path, pairs: Pairs) -> None:
    """Write pairs (LR, HR); the same pairs give the same bytes."""
    arrays = {
        f"{number:04}.{side}": np.ascontiguousarray(image_HWC)
        for number, pair in enumerate(pairs)
        for side, image_HWC in zip(("lr", "hr"), pair, strict=True)
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays))  # save_file would keep others from reading it


def read_validation(folder: Path, sets: Sequence[str]) -> Pairs:
    """Return the pairs (LR, HR) of some sets in a folder, in the order of the sets' names.

    Raises:
        UserError: a set has no file, or a damaged one.
    """
    return [pair for name in sorted(sets) for pair in _read_set(folder / f"{name}.safetensors")]


def _read_set(path: Path) -> Pairs:
    try:
        arrays = load_file(path)
        return [(arrays[name], arrays[f"{name[:-2]}hr"]) for name in sorted(arrays) if name.endswith(".lr")]
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run the stage `validation`") from None
    except (SafetensorError, KeyError) as error:
        raise UserError(f"{path}: damaged ({error}); run the stage `validation` again") from None
