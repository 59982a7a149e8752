"""Taking the images out of a published zip or tar; a hostile or broken archive is refused as a whole."""

import errno
import hashlib
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from alkdnet.errors import UserError

CHUNK_BYTES = 1 << 20
# Images are compressed already: DIV2K's zip is as large as its content. A bomb is larger by thousands.
LARGEST_EXPANSION = 8
# What zipfile and tarfile raise on damage, each of them beside its own kind of error.
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    IndexError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class ArchiveError(UserError):
    """An archive that is not used, hostile or broken; as a download it is not worth keeping."""


@dataclass(frozen=True)
class Member:
    """A file inside an archive: `path` within it, declared size in `bytes`."""

    path: str
    bytes: int

    @property
    def name(self) -> str:
        """Return the file's name without folders, which is the one it gets on our disk."""
        return PurePosixPath(self.path).name


def images_in(archive: Path, pattern: str) -> list[Member]:
    """Return the members that match `folder/pattern`, after looking at every member of the archive.

    Raises:
        ArchiveError: it is truncated or damaged, is neither zip nor uncompressed tar, or has any member with
            an absolute path, `..`, a link, a device, a file that is encrypted, sparse or packed by another
            method than deflate, declares more than `LARGEST_EXPANSION` times its own size, or has two
            matching members of one name.
    """
    with _opened(archive) as content:
        return _chosen(archive, content.members, pattern)


def extract(archive: Path, pattern: str, folder: Path, advance: Callable[[int], None]) -> dict[str, str]:
    """Write the members that match `folder/pattern` into `folder`, flat; return their SHA-256 by name.

    `advance` is told of every chunk's bytes. Each file is flushed to the disk, so that the archive may be
    deleted afterwards. The caller removes `folder` after a failure.

    Raises:
        ArchiveError: as for `images_in`, or a member is not of its declared size or fails its checksum.
    """
    digests = {}
    with _opened(archive) as content:
        for member in _chosen(archive, content.members, pattern):
            told = f"{archive.name}: {member.path} is damaged"
            with _damage_refused(told), content.open(member) as packed:
                digests[member.name] = _write(packed, member, folder / member.name, advance)
    return digests


def _write(packed: IO[bytes], member: Member, target: Path, advance: Callable[[int], None]) -> str:
    # zipfile and tarfile give no more than the declared size, whatever is packed: a lie ends in an error.
    left = member.bytes
    sha256 = hashlib.sha256()
    with target.open("xb") as written:
        while chunk := packed.read(CHUNK_BYTES):
            written.write(chunk)
            sha256.update(chunk)
            advance(len(chunk))
            left -= len(chunk)
        written.flush()
        os.fsync(written.fileno())
    if left:
        raise EOFError(f"{left} of {member.bytes} bytes are missing")
    return sha256.hexdigest()


def _chosen(archive: Path, members: list[Member], pattern: str) -> list[Member]:
    """Check all members and return those that match."""
    declared = sum(member.bytes for member in members)
    if declared > LARGEST_EXPANSION * archive.stat().st_size:
        raise ArchiveError(f"{archive.name}: refused, it would unpack to {declared} bytes")
    folder, _, names = pattern.rpartition("/")
    chosen: dict[str, Member] = {}
    for member in members:
        path = PurePosixPath(member.path)
        if str(path.parent) != folder or not fnmatchcase(path.name, names):
            continue
        twin = chosen.setdefault(member.name.casefold(), member)
        if twin is not member:
            raise ArchiveError(f"{archive.name}: refused, it holds {twin.path} and {member.path}")
    return list(chosen.values())


def _check_path(archive: Path, path: str) -> None:
    parts = path.split("/")
    windows = "\\" in path or (len(path) > 1 and path[1] == ":")
    if path.startswith("/") or ".." in parts or windows or not path.isprintable():
        raise ArchiveError(f"{archive.name}: refused, a member wants to be written to {path!r}")


class _Zip:
    def __init__(self, path: Path, raw: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(raw)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self.members: list[Member] = []
        for info in self._zip.infolist():
            _check_path(path, info.orig_filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(f"{path.name}: refused, {info.filename} is a link or a device")
            if info.flag_bits & 1:
                raise ArchiveError(f"{path.name}: refused, {info.filename} is encrypted")
            # The readers of bzip2 and LZMA report damage as they please, and no data set needs them.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ArchiveError(
                    f"{path.name}: refused, {info.filename} is packed by another method than deflate"
                )
            if not info.is_dir():
                self.members.append(Member(info.filename, info.file_size))
                self._infos[info.filename] = info

    def open(self, member: Member) -> IO[bytes]:
        return self._zip.open(self._infos[member.path])


class _Tar:
    def __init__(self, path: Path, raw: IO[bytes]) -> None:
        self._tar = tarfile.TarFile(fileobj=raw)
        self._infos: dict[str, tarfile.TarInfo] = {}
        self.members: list[Member] = []
        for info in self._tar:
            _check_path(path, info.name)
            if info.isdir():
                continue
            if not info.isreg() or info.issparse():
                raise ArchiveError(f"{path.name}: refused, {info.name} is a link, a device or sparse")
            self.members.append(Member(info.name, info.size))
            self._infos[info.name] = info
        # tarfile takes a cut or garbled header for the end; the true end is a block of zeros.
        raw.seek(self._tar.offset)
        if raw.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"cut or damaged at byte {self._tar.offset}")

    def open(self, member: Member) -> IO[bytes]:
        content = self._tar.extractfile(self._infos[member.path])
        assert content is not None, "only regular files are members"
        return content


@contextmanager
def _opened(path: Path) -> Iterator[_Zip | _Tar]:
    with path.open("rb") as raw:
        with _damage_refused(f"{path.name}: not a complete zip or tar archive"):
            is_zip = zipfile.is_zipfile(raw)
            raw.seek(0)
            content = _Zip(path, raw) if is_zip else _Tar(path, raw)
        yield content


@contextmanager
def _damage_refused(told: str) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise ArchiveError(f"{told}: {error}") from error
    except OSError as error:
        # A damaged offset lies before the beginning; every other reason is the disk's.
        if error.errno != errno.EINVAL:
            raise
        raise ArchiveError(f"{told}: it names a place outside of the archive") from error
