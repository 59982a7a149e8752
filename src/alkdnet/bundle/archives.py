"""Tar archives of results, each within a size limit."""

import dataclasses
import io
import json
import logging
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from alkdnet.bundle.records import RECORDS, Result
from alkdnet.config.schema import parse
from alkdnet.data.disk import size
from alkdnet.errors import UserError, in_one_line
from alkdnet.files import atomic_path

logger = logging.getLogger(__name__)

# Of tar: the size of a header, to a multiple of which contents are padded; the largest end of an archive.
_BLOCK, _END = 512, 10240


class ArchiveWriter:
    """Fills results-0.tar, results-1.tar, ... in a folder; a run is never split.

    A run is added when it ends: a later crash of the host loses no finished run.

    Args:
        folder: archives that it has already are left as they are.
        limit_bytes: largest size of an archive.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        numbers = [path.stem.removeprefix("results-") for path in folder.glob("results-*.tar")]
        self._number = max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)
        self._used = _END

    def add(self, result: Result, files: Mapping[str, Path]) -> bool:
        """Add a run with its files; return False, with a warning, if no archive can hold them."""
        record = json.dumps(dataclasses.asdict(result), indent=1).encode()
        needed = sum(_tar_bytes(path.stat().st_size) for path in files.values()) + _tar_bytes(len(record))
        if needed + _END > self._limit:
            logger.warning(
                "%s: its files take %s, more than an archive may (%s): they stay where they are",
                *(result.run, size(needed), size(self._limit)),
            )
            return False
        if self._used + needed > self._limit:
            self._number += 1
            self._used = _END
        self._used += needed
        target = self._folder / f"results-{self._number}.tar"
        # A copy, so that a full disk or a kill in the middle leaves the runs that are in it.
        with atomic_path(target) as temporary:
            if target.exists():
                shutil.copyfile(target, temporary)
            with tarfile.open(temporary, "a") as archive:
                for name, path in files.items():
                    archive.add(path, name)
                member = tarfile.TarInfo(f"{RECORDS}/{result.run}.json")
                member.size = len(record)
                archive.addfile(member, io.BytesIO(record))
        return True


def _tar_bytes(file_bytes: int) -> int:
    """Return what a file takes in a tar."""
    return _BLOCK + -(-file_bytes // _BLOCK) * _BLOCK


@contextmanager
def open_archive(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive of results.

    Raises:
        UserError: it is missing, truncated, or not an archive.
    """
    try:
        with tarfile.open(path) as archive:
            archive.getmembers()
            yield archive
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{path}: damaged; copy it again ({in_one_line(error)})") from None


def read_results(archive: tarfile.TarFile) -> Iterator[Result]:
    """Yield the records in an archive.

    Raises:
        UserError: one is damaged.
    """
    for member in archive.getmembers():
        if not member.name.startswith(f"{RECORDS}/"):
            continue
        problems: list[str] = []
        try:
            result = parse(Result, json.loads(read_member(archive, member.name)), "", problems)
        except ValueError as error:
            raise UserError(f"{archive.name!s}: {member.name}: not JSON ({error})") from None
        if result is None:
            raise UserError(f"{archive.name!s}: {member.name}: {'; '.join(problems)}")
        yield result


def read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """Return the bytes of a file in an archive; raise UserError if it is not there."""
    try:
        file = archive.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise UserError(f"{archive.name!s}: it lacks {name}")
    return file.read()
