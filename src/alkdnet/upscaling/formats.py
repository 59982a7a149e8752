"""The formats that large images are written in, and what each of them can hold."""

from collections.abc import Mapping
from typing import NamedTuple


class Format(NamedTuple):
    """How a format is written.

    `kind`: Pillow's name. `alpha`: whether it can hold transparency. `holds`: the metadata that it can
    (`metadata.py`). `options`: of Pillow's writer. `side`: the most pixels of a side. `pixels`: the most in
    all, as some files hold no more than 4 GiB.
    """

    kind: str
    alpha: bool
    holds: frozenset[str]
    options: Mapping[str, int | bool]
    side: int = 2**31 - 1
    pixels: int = 2**62


_JPEG = Format(
    "JPEG", False, frozenset({"EXIF", "XMP", "ICC", "DPI"}), {"quality": 95, "subsampling": 0}, side=65_500
)
_TIFF = Format("TIFF", True, frozenset({"EXIF", "ICC", "DPI"}), {}, pixels=2**30 - 2**20)
FORMATS: Mapping[str, Format] = {
    ".png": Format("PNG", True, frozenset({"EXIF", "XMP", "ICC", "DPI", "gamma"}), {}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": Format("WEBP", True, frozenset({"EXIF", "XMP", "ICC"}), {"lossless": True}, side=16_383),
    ".bmp": Format("BMP", False, frozenset({"DPI"}), {}, pixels=2**30 - 2**20),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}


def format_of(suffix: str) -> Format | None:
    """Return the format that a file's suffix stands for, in upper or lower case."""
    return FORMATS.get(suffix.lower())
