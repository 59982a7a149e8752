"""YAML 1.2, as DVC reads it, with PyYAML, which hosts without DVC have too."""

import re
from pathlib import Path
from typing import Any

import yaml

from alkdnet.errors import UserError, one_line

# Deeper or longer than any parameter file, and far from where Python stops.
MAX_DEPTH, MAX_DIGITS = 50, 300


class _Loader(yaml.SafeLoader):
    """The core schema of YAML 1.2: `on`, `0777` and `1:30` are text; keys are text and unique.

    Rejected is what DVC reads as something else: dates, `0b11`, `1_000`, and tags such as `!!int`.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} levels deep")
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if tag := getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(problem=f"leave the tag {tag} out", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                text = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise yaml.MarkedYAMLError(
                    problem=f'the key {text} is not text: put it in quotes: "{text}"',
                    problem_mark=key.start_mark,
                )
            if key.value == "<<" and key.style is None:
                raise yaml.MarkedYAMLError(
                    problem="YAML 1.2 has no merge key <<: write its keys here", problem_mark=key.start_mark
                )
            if key.value in seen:
                problem = f"duplicate key {key.value}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_ambiguous(self, node: yaml.ScalarNode) -> None:
        raise yaml.MarkedYAMLError(
            problem=f'DVC does not read {node.value} as text: put it in quotes: "{node.value}"',
            problem_mark=node.start_mark,
        )

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        if len(text) > MAX_DIGITS:
            raise yaml.MarkedYAMLError(
                problem=f"a number of more than {MAX_DIGITS} digits", problem_mark=node.start_mark
            )
        return int(text, 0 if text.lstrip("+-").startswith(("0x", "0o")) else 10)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", "-+0123456789"),
    ("float", r"[-+]?\.[0-9]+([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    # What is left of the numbers and dates of ruamel.yaml, with which DVC reads.
    ("ambiguous", r"[-+]?(0b[01_]+|0o?[0-7_]+|[0-9_]+|0x[0-9a-fA-F_]+)", "-+0123456789"),
    ("ambiguous", r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9_]+)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("ambiguous", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "0123456789"),
    ("ambiguous", r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*", "0123456789"),
    ("ambiguous", r"=", "="),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:ambiguous", _Loader.construct_ambiguous)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        UserError: the file is missing, is not UTF-8 or not YAML, has keys that are not text or not unique, or
            something that DVC reads as another value.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such parameter file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {_in_words(error)}") from None


def _in_words(error: Exception) -> str:
    """Return what is wrong, and in which line, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return one_line(" ".join(str(error).split()))
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + one_line(", ".join(part for part in (error.problem, error.context) if part))
