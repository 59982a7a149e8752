"""Extracting the images of a published zip or tar; nothing else in it is read or written."""

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from alkdnet.errors import UserError

CHUNK_BYTES = 1 << 20
# What zipfile and tarfile raise for damaged archives, besides their own errors.
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class ArchiveError(UserError):
    """An archive is damaged, or not the expected one."""


@dataclass(frozen=True)
class Member:
    """An image inside an archive: its file name without folders, its declared size in bytes, its content."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@contextmanager
def open_archive(archive: Path, pattern: str) -> Iterator[list[Member]]:
    """Yield the regular files in a zip or an uncompressed tar that match `folder/pattern`.

    Raises:
        ArchiveError: it is damaged or not an archive, or two matching files have the same name.
    """
    with archive.open("rb") as raw:
        with _reporting_damage(f"{archive.name}: not a complete zip or tar archive"):
            is_zip = zipfile.is_zipfile(raw)
            raw.seek(0)
            found = list(_zip_members(raw) if is_zip else _tar_members(raw))
        folder, _, names = pattern.rpartition("/")
        chosen = [
            member for path, member in found if str(path.parent) == folder and fnmatchcase(member.name, names)
        ]
        if len({member.name for member in chosen}) < len(chosen):
            raise ArchiveError(f"{archive.name}: two of its images have the same name")
        yield chosen


def extract(member: Member, folder: Path, advance: Callable[[int], None]) -> str:
    """Write a member to `folder/<its name>` and return its SHA-256; `advance` gets each chunk's bytes.

    The file is flushed to the disk, so that the archive may be deleted afterwards.

    Raises:
        ArchiveError: it is damaged, or not of its declared size.
    """
    sha256 = hashlib.sha256()
    left = member.size
    with (
        _reporting_damage(f"{member.name} is damaged in the archive"),
        member.open() as packed,
        (folder / member.name).open("xb") as written,
    ):
        while chunk := packed.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise EOFError(f"more than {member.size} bytes")
            written.write(chunk)
            sha256.update(chunk)
            advance(len(chunk))
        if left:
            raise EOFError(f"{left} of {member.size} bytes are missing")
        written.flush()
        os.fsync(written.fileno())
    return sha256.hexdigest()


def _zip_members(raw: IO[bytes]) -> Iterator[tuple[PurePosixPath, Member]]:
    content = zipfile.ZipFile(raw)
    for info in content.infolist():
        if not info.is_dir():
            path = PurePosixPath(info.filename)
            yield path, Member(path.name, info.file_size, partial(content.open, info))


def _tar_members(raw: IO[bytes]) -> Iterator[tuple[PurePosixPath, Member]]:
    content = tarfile.TarFile(fileobj=raw)
    for info in content:
        if info.isreg() and not info.issparse():
            path = PurePosixPath(info.name)
            yield path, Member(path.name, info.size, partial(_open_in_tar, content, info))


def _open_in_tar(content: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    packed = content.extractfile(info)
    assert packed is not None, "it is a regular file"
    return packed


@contextmanager
def _reporting_damage(message: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise ArchiveError(f"{message}: {error}") from error
