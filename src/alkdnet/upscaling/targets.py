"""Checks of a file to be written, made before anything is computed or downloaded."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from alkdnet.data.images import read_rgb
from alkdnet.errors import UserError
from alkdnet.upscaling.damage import read_despite_damage
from alkdnet.upscaling.formats import FORMATS, Format, format_of

# What `atomic_path` adds to a name while it writes.
_TEMPORARY = len(f"..{2**22}.tmp")


def check_target(source: Path, target: Path, large: tuple[int, int]) -> Format:
    """Return the format of the target if an image of `large` (height, width) can be written there.

    A target that is a link is followed.

    Raises:
        UserError: the target is the source, its format is unknown or cannot store so many pixels or the
            source's transparency, its name is too long, or its folder cannot be made or written to.
    """
    known = format_of(target.suffix)
    if known is None:
        raise UserError(f"{target}: unknown ending; there are: {', '.join(FORMATS)}")
    real = check_file(target)
    if real.exists() and real.samefile(source):
        raise UserError(
            f"{target}: is the source itself, which would be lost; give the larger image another name"
        )
    height, width = large
    if max(height, width) > known.side:
        raise UserError(
            f"{target}: {width}x{height} pixels, but {known.kind} holds no more than {known.side} a side; "
            "write a .png"
        )
    if height * width > known.pixels:
        raise UserError(f"{target}: {width}x{height} pixels are too many for {known.kind}; write a .png")
    if not known.alpha and read_despite_damage(source, _is_transparent)[0]:
        raise UserError(f"{target}: {known.kind} holds no transparency, which {source} has; write a .png")
    return known


def check_file(target: Path) -> Path:
    """Return the file that a target leads to, links followed, if it can be written or replaced.

    Raises:
        UserError: it is a link to itself or no file, its name is too long, or its folder cannot be made or
            written to.
    """
    try:
        real = target.resolve()
    except (RuntimeError, OSError):  # up to Python 3.12, and from 3.13 on
        raise UserError(f"{target}: is a link that leads to itself") from None
    if real.is_symlink():
        raise UserError(f"{target}: is a link that leads to itself")
    if real.exists() and not real.is_file():
        raise UserError(f"{target}: is not a file that could be replaced")
    _check_folder(target, real)
    return real


def _check_folder(target: Path, real: Path) -> None:
    folder = next(parent for parent in real.parents if parent.exists())
    if not folder.is_dir():
        raise UserError(f"{target}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{target}: the folder {folder} cannot be written to")
    longest = os.pathconf(folder, "PC_NAME_MAX") - _TEMPORARY
    if len(os.fsencode(real.name)) > longest:
        raise UserError(f"{target}: a name of more than {longest} bytes; give a shorter one")


def _is_transparent(source: Path) -> bool:
    """Return whether an image has transparent pixels; of most files the header says that they have none."""
    with source.open("rb") as file, Image.open(file) as image:
        if not image.has_transparency_data:
            return False
    read_rgb(source, alpha="black")  # rejects what is damaged
    with source.open("rb") as file, Image.open(file) as image:
        alpha_HW = np.asarray(image.convert("RGBA").getchannel("A"))
    return bool((alpha_HW < 255).any())
