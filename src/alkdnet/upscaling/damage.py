"""Pictures whose metadata are damaged and whose pixels are not: Pillow rejects some, and warns of others."""

import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image

T = TypeVar("T")

_PNG, _WEBP = b"\x89PNG\r\n\x1a\n", b"WEBP"
_NAMES = {b"eXIf": "EXIF", b"iCCP": "ICC profile", b"pHYs": "DPI", b"gAMA": "gamma"}
# Transparency and animation: optional in PNG, but no metadata.
_PIXELS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
_IHDR_END = 33


class _Repaired(NamedTuple):
    """A file's bytes without damaged metadata, and the names of these."""

    content: bytes
    damaged: set[str]


def read_despite_damage(path: Path, read: Callable[[Path], T]) -> tuple[T, set[str]]:
    """Return the result of `read` on an image file, and the names of its damaged metadata.

    If `read` raises, it is given a copy without the damaged metadata; its first exception is raised if
    there are none, or if it raises again.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            result, damaged = read(path), set[str]()
        except Exception as error:  # Pillow's readers report damage by all kinds of exceptions
            result, damaged = _read_repaired(path, read, error)
    # It reads EXIF in all formats, and warns of damage.
    if any(Path(each.filename).stem == "TiffImagePlugin" for each in warned):
        damaged.add("EXIF")
    return result, damaged


def _read_repaired(path: Path, read: Callable[[Path], T], error: Exception) -> tuple[T, set[str]]:
    if not path.is_file():
        raise error
    content, damaged = _repaired(path.read_bytes())
    if not damaged:
        raise error
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(content)
        try:
            return read(copy), damaged
        except Exception:  # as above
            raise error from None


def _repaired(content: bytes) -> _Repaired:
    if content.startswith(_PNG):
        return _repaired_png(content)
    if content[8:12] == _WEBP:
        return _repaired_webp(content)
    return _Repaired(content, set())


def _repaired_png(content: bytes) -> _Repaired:
    """Leave out chunks of metadata that Pillow does not read, such as those with a wrong checksum."""
    kept, damaged, start = [_PNG], set(), len(_PNG)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4])
        chunk, name = content[start:end], content[start + 4 : start + 8]
        if name[:1].islower() and name not in _PIXELS and not _is_readable(chunk):
            damaged.add(_NAMES.get(name, f"PNG chunk {name.decode('latin-1')}"))
        else:
            kept.append(chunk)
        start = end
    return _Repaired(b"".join(kept), damaged)


def _is_readable(chunk: bytes) -> bool:
    """Return whether Pillow reads a small PNG with this chunk."""
    small = io.BytesIO()
    Image.new("L", (1, 1)).save(small, "PNG")
    content = small.getvalue()
    try:
        with Image.open(io.BytesIO(content[:_IHDR_END] + chunk + content[_IHDR_END:])) as image:
            image.getexif()
    except Exception:  # as above
        return False
    return True


def _repaired_webp(content: bytes) -> _Repaired:
    """Rename an EXIF chunk that Pillow does not read: decoders skip chunks of unknown names."""
    changed, damaged, start = bytearray(content), set(), 12
    while start < len(content):
        length = int.from_bytes(content[start + 4 : start + 8], "little")
        if content[start : start + 4] == b"EXIF":
            try:
                Image.Exif().load(content[start + 8 : start + 8 + length])
            except Exception:  # as above
                changed[start : start + 4] = b"exif"
                damaged.add("EXIF")
        start += 8 + length + length % 2
    return _Repaired(bytes(changed), damaged)
