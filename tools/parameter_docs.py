"""Write docs/parameters.md and docs/parameters.schema.json from the dataclasses that read a parameter file.

Editors complete and check params.yaml by the schema.
"""

import dataclasses
import inspect
import json
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from alkdnet.config.params import Params, Row, Run
from alkdnet.config.schema import Setting, type_name
from alkdnet.networks import network_class, network_names

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, SCHEMA = DOCS / "parameters.md", DOCS / "parameters.schema.json"
# What stands in dvc.yaml, and what is written beside the other keys of a row.
NO_KEYS = ("pipeline", "options")
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def page() -> str:
    """Return the page as Markdown."""
    lines = [
        "# Parameters",
        "",
        "Every key of a parameter file (`params.yaml`, `paper/params.yaml`, ...). `make docs` makes this",
        "page from `src/alkdnet/config/params.py` and the networks' constructors; a test compares them.",
        "Unknown keys, wrong types and impossible combinations are rejected by the stage `check`.",
        "",
        *_table(Params, ""),
    ]
    for name, kind in _sections(Params):
        lines += ["", f"## {name}", "", inspect.getdoc(kind) or "", "", *_table(kind, name)]
        if kind is Run:
            lines += ["", *_network_options()]
    return "\n".join(lines) + "\n"


def schema() -> str:
    """Return the JSON schema of a parameter file."""
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_object(Params)}
    return json.dumps(content, indent=1) + "\n"


def _object(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.name not in NO_KEYS]
    return {
        "type": "object",
        "properties": {field.name: _property(hints[field.name], field) for field in fields},
        "required": [field.name for field in fields if field.default is dataclasses.MISSING],
        "additionalProperties": issubclass(kind, Row),
    }


def _property(hint: Any, field: dataclasses.Field) -> dict[str, Any]:
    known: Setting = field.metadata["setting"]
    limits = {
        "minimum": known.minimum,
        "exclusiveMinimum": known.above,
        "exclusiveMaximum": known.below,
        "maximum": known.maximum,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return {"description": known.doc, **_type(hint, given)}


def _type(hint: Any, limits: dict[str, float]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object(hint)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _type(arguments[0], limits)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _type(arguments[1], {})}
    if arguments:
        return {"anyOf": [_type(member, limits) for member in arguments]}
    return {"type": TYPES[hint], **(limits if hint in (int, float) else {})}


def _sections(kind: type) -> Iterator[tuple[str, type]]:
    """Yield the dotted name and the dataclass of every section, nested ones after their parents."""
    for name, hint in typing.get_type_hints(kind).items():
        for part in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                dotted = f"{name}.&lt;name&gt;" if typing.get_origin(hint) is Mapping else name
                yield dotted, part
                yield from ((f"{dotted}.{inner}", section) for inner, section in _sections(part))


def _table(kind: type, section: str) -> list[str]:
    hints = typing.get_type_hints(kind)
    rows = ["| key | type | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(kind):
        if field.name in NO_KEYS:
            continue
        known: Setting = field.metadata["setting"]
        default = "" if field.default is dataclasses.MISSING else f" Default: {_shown(field.default)}."
        kind_name = type_name(hints[field.name]).replace("|", "\\|")
        rows.append(f"| `{field.name}` | {kind_name}{_limits(known)} | {_escaped(known.doc)}.{default} |")
    return rows


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|")


def _limits(known: Setting) -> str:
    limits = [
        f"{sign} {value:g}"
        for sign, value in (
            ("≥", known.minimum),
            (">", known.above),
            ("<", known.below),
            ("≤", known.maximum),
        )
        if value is not None
    ]
    return f" ({', '.join(limits)})" if limits else ""


def _network_options() -> list[str]:
    rows = ["Options of the networks, with their defaults:", "", "| network | options |", "|---|---|"]
    for name in network_names():
        parameters = inspect.signature(network_class(name)).parameters.values()
        options = ", ".join(f"`{p.name}: {_shown(p.default)}`" for p in parameters if p.name != "scale")
        rows.append(f"| `{name}` | {options or 'none'} |")
    return rows


def _shown(value: object) -> str:
    """Return a default as YAML spells it."""
    if dataclasses.is_dataclass(value):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
