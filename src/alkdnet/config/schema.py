"""From the plain values of a YAML file to frozen dataclasses, rejecting everything that does not fit.

Supported field types: bool, int, float, str, `Literal`, `X | None`, unions of these, `tuple[X, ...]`,
`Mapping[str, X]` and nested dataclasses. A field is declared by `setting`, which holds its description (the
documentation is made from it) and its bounds.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from alkdnet.errors import shown

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of a field beyond its type."""

    doc: str
    minimum: float | None = None
    above: float | None = None
    below: float | None = None
    maximum: float | None = None


def setting(
    doc: str,
    *,
    default: Any = dataclasses.MISSING,
    minimum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Declare a field: what it means, its default, and for numbers the values it may take."""
    known = Setting(doc=doc, minimum=minimum, above=above, below=below, maximum=maximum)
    return dataclasses.field(default=default, metadata={"setting": known})


def parse(kind: type[T], value: object, where: str, problems: list[str]) -> T | None:
    """Return `value` as the dataclass `kind`; append to `problems`, by key path, all that does not fit.

    The result is None where a problem was found.
    """
    known = len(problems)
    if not isinstance(value, Mapping):
        problems.append(f"{where}: expected keys and values, got {_shown(value)}")
        return None
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in value:
        if key not in fields:
            problems.append(f"{_join(where, str(key))}: unknown key{_suggestion(str(key), fields)}")
    arguments = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = _parse_value(
                hints[name], value[name], _join(where, name), problems, _setting_of(field)
            )
        elif field.default is dataclasses.MISSING:
            doc = _setting_of(field).doc
            problems.append(f"{_join(where, name)}: missing{f' ({doc})' if doc else ''}")
    return kind(**arguments) if len(problems) == known else None


def _setting_of(field: dataclasses.Field) -> Setting:
    """Return what is known of a field; a field of a plain dataclass has its type only."""
    known: Setting = field.metadata.get("setting", Setting(doc=""))
    return known


def type_name(hint: Any) -> str:
    """Return a field's type in words, for messages and documentation."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " | ".join(str(choice) for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return " | ".join("null" if member is type(None) else type_name(member) for member in arguments)
    if origin is tuple:
        return f"list of {type_name(arguments[0])}"
    if origin is Mapping:
        return f"mapping to {type_name(arguments[1])}"
    return {bool: "true | false", int: "integer", float: "number", str: "text"}.get(hint, str(hint.__name__))


def _parse_value(hint: Any, value: object, where: str, problems: list[str], limits: Setting) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return parse(typing.cast(type, hint), value, where, problems)
    if origin in (typing.Union, types.UnionType):
        if type(value) in arguments:
            return value if value is None else _parse_value(type(value), value, where, problems, limits)
        if len(members := [member for member in arguments if member is not type(None)]) == 1:
            return _parse_value(members[0], value, where, problems, limits)
    if origin is Literal:
        if value not in arguments or type(value) not in {type(choice) for choice in arguments}:
            problems.append(f"{where}: {_shown(value)} is none of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(
            _parse_value(arguments[0], item, f"{where}[{index}]", problems, limits)
            for index, item in enumerate(value)
        )
    if origin is Mapping and isinstance(value, Mapping):
        return {
            _parse_text(str(key), where, problems): _parse_value(
                arguments[1], item, _join(where, str(key)), problems, limits
            )
            for key, item in value.items()
        }
    # YAML reads 1e-3 as text and 1 as an integer; bool is an int in Python, and neither is meant.
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            value = float(value)
        except (OverflowError, ValueError):
            pass
        else:
            return _within(value, where, problems, limits)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return _within(value, where, problems, limits)
    if hint is int and isinstance(value, float) and value.is_integer():
        problems.append(f"{where}: expected integer, got {value:g} (float); write {int(value)}")
        return None
    if hint is bool and isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str):
        return _parse_text(value, where, problems)
    problems.append(f"{where}: expected {type_name(hint)}, got {_shown(value)}")
    return None


def _parse_text(value: str, where: str, problems: list[str]) -> str:
    """Return a text, which no path and no file can hold with one of these characters in it."""
    if any(each == "\0" or 0xD800 <= ord(each) <= 0xDFFF for each in value):
        problems.append(f"{where}: {shown(value)} holds a character that no file can hold")
    return value


def _within(value: float, where: str, problems: list[str], limits: Setting) -> float:
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(f"{where}: {value} is not a finite number")
    if limits.minimum is not None and value < limits.minimum:
        problems.append(f"{where}: {shown(value)} is below the least value {limits.minimum:g}")
    if limits.above is not None and value <= limits.above:
        problems.append(f"{where}: {shown(value)} must be above {limits.above:g}")
    if limits.below is not None and value >= limits.below:
        problems.append(f"{where}: {shown(value)} must be below {limits.below:g}")
    if limits.maximum is not None and value > limits.maximum:
        problems.append(f"{where}: {shown(value)} is above the greatest value {limits.maximum:g}")
    return value


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _suggestion(key: str, choices: Mapping[str, object]) -> str:
    close = get_close_matches(key, choices, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(choices)}"


def _shown(value: object) -> str:
    return f"{shown(value)} ({type(value).__name__})"
