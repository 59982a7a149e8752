"""Writing files and folders atomically: a reader sees the complete one or none."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alkdnet.errors import UserError
from alkdnet.process import is_alive


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` that becomes `path` when the block ends without an exception.

    The bytes reach the disk before the rename, so that a power cut leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise _named(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary directory beside `path` that replaces `path` when the block ends well.

    What was there is moved aside first and removed last: `path` is the old one or the new one, for a moment
    missing, never a part of one. What a killed process left of an earlier attempt is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists() or path.is_symlink():
            path.replace(old)
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise _named(error, path) from error
    finally:
        if old.exists() and not path.exists():  # the second renaming failed
            old.replace(path)
        shutil.rmtree(temporary, ignore_errors=True)
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink(missing_ok=True)


def require_replaceable(folder: Path, *, mark: str) -> None:
    """Check that a folder that will be replaced holds nothing of the user's.

    Raises:
        UserError: it is not a folder, or has files but none named `mark`.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        raise UserError(f"{folder}: has other files, which would be deleted; give a new folder")


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary directories of `path` whose process has ended; they may have tens of gigabytes."""
    name = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.(tmp|old)")
    for leftover in path.parent.iterdir():
        match = name.fullmatch(leftover.name)
        if match and (int(match[1]) == os.getpid() or not is_alive(int(match[1]))):
            shutil.rmtree(leftover, ignore_errors=True)


def _named(error: OSError, path: Path) -> OSError:
    """Return an error with a path: writing to a full disk raises one without."""
    return (
        error if error.filename is not None else OSError(error.errno, error.strerror or str(error), str(path))
    )


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, keys in the given order, floats with all digits; NaN is an error."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the value in a JSON file; raise ValueError if there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def python_files(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the Python files of a folder that are named, and those of the folders in it that are named."""
    paths = [folder / name for name in names]
    return [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
