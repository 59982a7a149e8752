"""Metadata of image files: read from the source, written to the large image."""

import struct
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from alkdnet.upscaling.formats import Format

# Tags about the picture; those about the storage of the source's pixels do not apply to the large image.
_KEPT = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.HostComputer,
    Base.Copyright,
    Base.Rating,
    Base.RatingPercent,
    Base.XPTitle,
    Base.XPComment,
    Base.XPAuthor,
    Base.XPKeywords,
    Base.XPSubject,
)
_LONGEST_EXIF = 65_527  # bytes of a JPEG segment beside its header
_SRGB_GAMMA = 1 / 2.2
_PROFILE_SPACES = {b"RGB ": "RGB", b"GRAY": "L"}
_PROFILE_HEADER = 128  # bytes


class Saving(TypedDict, total=False):
    """Arguments of Pillow's `save`."""

    exif: bytes
    xmp: bytes
    icc_profile: bytes
    dpi: tuple[float, float]
    pnginfo: PngInfo


@dataclass(frozen=True)
class Metadata:
    """Metadata of an image.

    Attributes:
        exif: without orientation, thumbnail and sizes in pixels; empty if there is none.
        xmp: without orientation; None if there is none.
        icc: the colour profile.
        icc_mode: the mode of the images that the profile describes: "RGB", "L" or "" for another one.
        dpi: pixels per inch.
        png_chunks: gamma, chromaticities and rendering intent as PNG has them, by their names.
        damaged: metadata of the source that cannot be read, and are left out.
    """

    exif: bytes
    xmp: bytes | None
    icc: bytes | None
    icc_mode: str
    dpi: tuple[float, float] | None
    png_chunks: Mapping[bytes, bytes]
    damaged: Set[str] = frozenset()

    def without(self, damaged: Set[str]) -> "Metadata":
        """Return the metadata without those found to be damaged; an EXIF block is dropped as a whole."""
        exif = b"" if "EXIF" in damaged else self.exif
        return replace(self, exif=exif, damaged=self.damaged | damaged)

    def saving(self, known: Format, *, gray: bool) -> tuple[Saving, list[str]]:
        """Return the arguments for writing what a format supports, and messages on what is lost.

        An ICC profile for another colour space than that of the written image, such as CMYK, would give wrong
        colours, and is left out too.
        """
        options: Saving = {}
        lost = [f"{name} (it is damaged)" for name in sorted(self.damaged)]
        for name in self._present():
            if name not in known.holds:
                lost.append(f"{name} ({known.kind} holds none)")
            elif name == "ICC" and self.icc_mode != ("L" if gray else "RGB"):
                lost.append(f"ICC profile (it is not for {'gray' if gray else 'RGB'})")
            elif name == "EXIF" and known.kind == "JPEG" and len(self.exif) > _LONGEST_EXIF:
                lost.append("EXIF (JPEG holds no more than 64 kB)")
            elif name == "EXIF":
                options["exif"] = self.exif
            elif name == "ICC" and self.icc is not None:
                options["icc_profile"] = self.icc
            elif name == "DPI" and self.dpi is not None:
                options["dpi"] = self.dpi
            elif name == "XMP" and self.xmp is not None and known.kind != "PNG":
                options["xmp"] = self.xmp
        if known.kind == "PNG" and (chunks := self._png_info(with_icc="icc_profile" in options)):
            options["pnginfo"] = chunks
        return options, lost

    def _present(self) -> Iterator[str]:
        if self.exif:
            yield "EXIF"
        if self.xmp:
            yield "XMP"
        if self.icc:
            yield "ICC"
        if self.dpi:
            yield "DPI"
        gamma = self.png_chunks.get(b"gAMA")
        # Without it, programs assume that of sRGB.
        if gamma and abs(struct.unpack(">I", gamma)[0] / 100_000 - _SRGB_GAMMA) > 0.001:
            yield "gamma"

    def _png_info(self, *, with_icc: bool) -> PngInfo | None:
        info = PngInfo()
        for name, content in self.png_chunks.items():
            if not (with_icc and name == b"sRGB"):  # PNG allows one of the two
                info.add(name, content)
        if self.xmp:
            info.add_itxt("XML:com.adobe.xmp", self.xmp.decode("utf-8", "replace"))
        return info if info.chunks else None


def read_metadata(image: Image.Image) -> Metadata:
    """Return the metadata of an image that has been read and turned upright (`ImageOps.exif_transpose`)."""
    info = image.info
    exif, xmp, icc, dpi = _exif(image), _as_bytes(info.get("xmp")), info.get("icc_profile"), _dpi(info)
    damaged = {
        "EXIF": exif is None,
        "XMP": xmp is not None and not _is_utf8(xmp),
        "ICC profile": "icc_profile" in info and not _is_profile(icc),
    }
    return Metadata(
        exif=exif or b"",
        xmp=None if damaged["XMP"] else xmp,
        icc=None if damaged["ICC profile"] else icc,
        icc_mode=_PROFILE_SPACES.get(icc[16:20], "") if icc else "",
        dpi=dpi,
        png_chunks=dict(_png_chunks(info)) if image.format == "PNG" else {},
        damaged={name for name, is_damaged in damaged.items() if is_damaged},
    )


def _exif(image: Image.Image) -> bytes | None:
    """Return the EXIF block of the large image, empty if the source's says nothing; None: it is damaged."""
    kept = Image.Exif()
    try:
        Image.Exif().load(image.info.get("exif", b""))  # raises what `open` of a JPEG has swallowed
        source = image.getexif()
        for tag in _KEPT:
            if tag in source:
                kept[tag] = source[tag]
        for ifd in (IFD.Exif, IFD.GPSInfo):
            if values := dict(source.get_ifd(ifd)):
                for outdated in (Base.ExifImageWidth, Base.ExifImageHeight, IFD.Interop):
                    values.pop(outdated, None)
                kept[ifd] = values
        return kept.tobytes() if len(kept) else b""
    except Exception:  # untrusted bytes: Pillow raises almost anything, and an image needs no EXIF
        return None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_profile(icc: bytes | None) -> bool:
    """Return whether a colour profile is complete and has the signature of one, by its header."""
    return (
        icc is not None and _PROFILE_HEADER <= int.from_bytes(icc[:4]) <= len(icc) and icc[36:40] == b"acsp"
    )


def _dpi(info: Mapping[str | tuple[int, int], Any]) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 < x < 1e5 and 1 < y < 1e5 else None  # 1 x 1 is only the aspect ratio of a pixel


def _as_bytes(found: bytes | str | None) -> bytes | None:
    return found.encode() if isinstance(found, str) else found


def _png_chunks(info: Mapping[str | tuple[int, int], Any]) -> Iterator[tuple[bytes, bytes]]:
    if gamma := info.get("gamma"):
        yield b"gAMA", struct.pack(">I", round(gamma * 100_000))
    if chromaticity := info.get("chromaticity"):
        yield b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in chromaticity))
    if (intent := info.get("srgb")) is not None:
        yield b"sRGB", bytes([intent])
