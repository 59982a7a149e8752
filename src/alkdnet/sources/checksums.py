"""Verifying files by their published checksums, or by those recorded at the first download."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from alkdnet.errors import UserError
from alkdnet.files import read_json, sha256_file, write_json
from alkdnet.sources.catalogue import PublishedFile, Source


class ChecksumError(Exception):
    """A file is not the published one; the message says why."""


def verify(path: Path, file: PublishedFile) -> str:
    """Return the SHA-256 of a file after comparing its size and checksum with the published ones.

    Without a checksum it is checked only that the file is not the HTML page of a login form.

    Raises:
        ChecksumError: it is another file.
    """
    size = path.stat().st_size
    if not size:
        raise ChecksumError("the file is empty")
    if file.bytes not in (None, size):
        raise ChecksumError(f"{size} bytes instead of {file.bytes}")
    sha256 = sha256_file(path)
    with path.open("rb") as content:
        if file.sha256 is not None:
            if sha256 != file.sha256:
                raise ChecksumError(f"its SHA-256 is {sha256}, not {file.sha256}")
        elif file.md5 is not None:
            md5 = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            if md5 != file.md5:
                raise ChecksumError(f"its MD5 is {md5}, not {file.md5}")
        elif content.read(256).lstrip().startswith(b"<"):
            raise ChecksumError("it is an HTML page")
    return sha256


class RecordedChecksums:
    """A JSON file of `url: SHA-256`, shared by processes; the files of an archive are `url#name`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def expected(self, files: Sequence[PublishedFile]) -> list[PublishedFile]:
        """Return the files, each with the recorded SHA-256 where none is published.

        Raises:
            UserError: the JSON file is damaged.
        """
        recorded = self._read()
        return [file if file.sha256 else replace(file, sha256=recorded.get(file.urls[0])) for file in files]

    def contents(self, source: Source) -> dict[str, str | None]:
        """Return the names of the files of a set, each with its SHA-256 where that is known.

        None are known for an archive that was not unpacked with this record.

        Raises:
            UserError: as `expected`.
        """
        if source.kind != "archives":
            return {file.name: file.sha256 for file in self.expected(source.files)}
        archives = {file.urls[0] for file in source.files}
        parts = ((*key.partition("#"), sha256) for key, sha256 in self._read().items())
        return {name: sha256 for url, _, name, sha256 in parts if name and url in archives}

    def record(self, checksums: Mapping[str, str]) -> None:
        """Add the SHA-256 by URL of files that were downloaded for the first time."""
        if not checksums:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_suffix(".lock")):
            write_json(self._path, dict(sorted({**self._read(), **checksums}.items())))

    def _read(self) -> dict[str, str]:
        try:
            content = read_json(self._path)
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UserError(
                f"{self._path}: not JSON ({error}); delete it to record checksums again"
            ) from None
        if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
            raise UserError(f"{self._path}: not an object of checksums; delete it to record them again")
        return content
