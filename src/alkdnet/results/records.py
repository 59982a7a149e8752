"""Reading and writing JSON records as frozen dataclasses."""

import dataclasses
from pathlib import Path
from typing import TypeVar

from alkdnet.config.schema import parse
from alkdnet.errors import UserError
from alkdnet.files import read_json, write_json

T = TypeVar("T")


def write_record(path: Path, record: object) -> None:
    """Write a dataclass as JSON, keys in the order of its fields."""
    write_json(path, dataclasses.asdict(record))  # type: ignore[call-overload]


def read_record(path: Path, kind: type[T]) -> T:
    """Return the dataclass `kind` that `write_record` wrote.

    Raises:
        UserError: the file is missing, is not JSON, or does not have the fields of `kind`.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"not JSON ({error})") from None
    problems: list[str] = []
    record = parse(kind, content, "", problems)
    if record is None:
        raise _damaged(path, "; ".join(problem.removeprefix(": ") for problem in problems))
    return record


def _damaged(path: Path, problem: str) -> UserError:
    return UserError(f"{path}: {problem}; delete the file and run its stage again")
