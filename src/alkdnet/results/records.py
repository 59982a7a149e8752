"""Reading and writing JSON records as frozen dataclasses."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from alkdnet.config.schema import parse
from alkdnet.errors import UserError, one_line
from alkdnet.files import read_json, write_json

T = TypeVar("T")


def write_record(path: Path, record: object) -> None:
    """Write a dataclass as JSON, keys in the order of its fields."""
    write_json(path, dataclasses.asdict(record))  # type: ignore[call-overload]


def write_table(path: Path, table: Mapping[str, object]) -> None:
    """Write dataclasses by name as JSON."""
    write_json(path, {name: dataclasses.asdict(record) for name, record in table.items()})  # type: ignore[call-overload]


def read_record(path: Path, kind: type[T]) -> T:
    """Return the dataclass `kind` that `write_record` wrote.

    Raises:
        UserError: the file is missing, is not JSON, or does not have the fields of `kind`.
    """
    problems: list[str] = []
    record = parse(kind, _read(path), "", problems)
    if record is None:
        raise damaged(path, "; ".join(problem.removeprefix(": ") for problem in problems))
    return record


def read_table(path: Path, kind: type[T]) -> dict[str, T]:
    """Return the dataclasses by name that `write_table` wrote; see `read_record` for what it raises."""
    content = _read(path)
    if not isinstance(content, Mapping):
        raise damaged(path, "expected keys and values")
    problems: list[str] = []
    table = {name: parse(kind, value, name, problems) for name, value in content.items()}
    found = {name: record for name, record in table.items() if record is not None}
    if problems:
        raise damaged(path, "; ".join(problems))
    return found


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise damaged(path, f"not JSON ({error})") from None


def damaged(path: Path, problem: str) -> UserError:
    """Return the error for a file that differs from what a stage writes."""
    return UserError(f"{path}: {one_line(problem)}; delete the file and run its stage again")
