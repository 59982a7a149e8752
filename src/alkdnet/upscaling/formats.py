"""Output formats and what each of them supports."""

from collections.abc import Mapping
from typing import NamedTuple


class Format(NamedTuple):
    """How a format is written.

    `kind`: Pillow's name. `alpha`: whether it supports transparency. `holds`: the metadata that it supports
    (`metadata.py`). `options`: of Pillow's writer. `side`: the most pixels a side. `pixels`: the most in
    total, as some files are limited to 4 GiB.
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
    """Return the format of a file's suffix, in upper or lower case."""
    return FORMATS.get(suffix.lower())
