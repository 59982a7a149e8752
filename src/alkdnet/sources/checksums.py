"""What tells a published file from another one: its size, its digests, how it begins."""

import hashlib
from pathlib import Path

from alkdnet.sources.catalogue import PublishedFile

CHUNK_BYTES = 1 << 18
# How a file begins; looked at where no digest is known, so that a portal's login page is not taken for data.
_SIGNATURES: dict[str, tuple[bytes, ...]] = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".zip": (b"PK",),
    ".pth": (b"PK", b"\x80"),
}


class Fingerprint:
    """The bytes of a file, of which `size` have been seen so far; `md5`: whether that is computed too."""

    def __init__(self, *, md5: bool) -> None:
        self.size = 0
        self._begins = b""
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None

    def add(self, chunk: bytes) -> None:
        """Take the next bytes into account."""
        self.size += len(chunk)
        self._begins = (self._begins + chunk[:8])[:8]
        self._sha256.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)

    def add_file(self, path: Path) -> None:
        """Take the bytes of a file into account."""
        with path.open("rb") as content:
            while chunk := content.read(CHUNK_BYTES):
                self.add(chunk)

    @property
    def sha256(self) -> str:
        """Return the hexadecimal SHA-256 of what has been seen."""
        return self._sha256.hexdigest()

    def difference(self, file: PublishedFile) -> str:
        """Say what speaks against these bytes being the published file; empty: nothing that is known."""
        if self.size == 0:
            return "it is empty"
        if file.bytes is not None and self.size != file.bytes:
            return f"{self.size} bytes instead of {file.bytes}"
        if file.sha256 is not None:
            return "" if self.sha256 == file.sha256 else f"its SHA-256 is {self.sha256}, not {file.sha256}"
        if self._md5 is not None and self._md5.hexdigest() != file.md5:
            return f"its MD5 is {self._md5.hexdigest()}, not {file.md5}"
        suffix = Path(file.name).suffix
        if not self._begins.startswith(_SIGNATURES.get(suffix, (b"",))):
            return f"it does not begin as a {suffix} file does"
        return ""


def fingerprint(path: Path, file: PublishedFile) -> Fingerprint:
    """Return the fingerprint of a file on this disk, with what is needed to compare it with `file`."""
    found = Fingerprint(md5=file.md5 is not None)
    found.add_file(path)
    return found
