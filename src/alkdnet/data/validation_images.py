"""The validation images as plain arrays: reading them needs no image library.

validation/x<s>.safetensors    `<number>.lr` and `<number>.hr`, uint8 HWC, numbered in the order of the names
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from alkdnet.arrays import ImageHWC
from alkdnet.errors import UserError
from alkdnet.files import atomic_path


def write_validation(path: Path, pairs: Sequence[tuple[ImageHWC, ImageHWC]]) -> None:
    """Write pairs (LR, HR); the same pairs give the same bytes."""
    arrays = {
        f"{number:04}.{side}": np.ascontiguousarray(image_HWC)
        for number, pair in enumerate(pairs)
        for side, image_HWC in zip(("lr", "hr"), pair, strict=True)
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays))  # save_file would keep others from reading it


def read_validation(path: Path) -> list[tuple[ImageHWC, ImageHWC]]:
    """Return the pairs (LR, HR).

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        arrays = load_file(path)
        return [(arrays[name], arrays[f"{name[:-2]}hr"]) for name in sorted(arrays) if name.endswith(".lr")]
    except (FileNotFoundError, SafetensorError, KeyError) as error:
        raise UserError(
            f"{path}: no validation images ({error}); the stage `validation` makes them"
        ) from None
