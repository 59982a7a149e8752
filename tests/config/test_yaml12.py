"""YAML 1.2 as DVC reads it: the same values, and the same mistakes reported."""

from pathlib import Path

import pytest
import ruamel.yaml

from alkdnet.config.yaml12 import read_yaml
from alkdnet.errors import UserError

VALUES = """
octal: 0777
sexagesimal: 1:30
word: on
exponent: 1e-3
hexadecimal: 0x10
list: [1, 2.5, .5, -3, ~, null, true, "x", False]
empty:
"""

PLAIN = """
2024-01-01 10:00 | 2024-1-1 10:00:00 | 2024-01-01 | 2024-1-1 | 2024-01-01T10:00:00 | 20240101 | 1-2-3 |
2024-01 | 1_200 | _1 | 1__ | 1_2.5 | 1.2_5 | +1_0 | 1_2e3 | a_1 | 1_a | -_1 | 0b11 | 0b2 | -0b1 | 0x1_f |
-0x10 | +0o7 | 0o7 | 0xfg | 0o8 | 1.5.2 | 12e | e3 | 1:30:20 | .5 | 5. | +.5 | .inf | -.Inf | .NaN | nan |
y | off | ~ | 0777 | 08 | +1 | -0 | 1e5 | 1E-5 | 1.e5 | .5e3
"""

# Text to DVC, where nobody would leave the quotes out.
REJECTED_TOO = (".5e3",)


def test_values_are_those_that_dvc_reads(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(VALUES)
    assert read_yaml(tmp_path / "a.yaml") == ruamel.yaml.YAML(typ="safe").load(VALUES)


def test_plain_values_are_those_of_dvc_or_rejected(tmp_path: Path) -> None:
    for text in map(str.strip, PLAIN.split("|")):
        (tmp_path / "a.yaml").write_text(f"x: {text}")
        theirs = ruamel.yaml.YAML(typ="safe").load(f"x: {text}")["x"]
        try:
            ours = read_yaml(tmp_path / "a.yaml")["x"]
        except UserError:
            assert not isinstance(theirs, str) or text in REJECTED_TOO, text
        else:
            assert repr(ours) == repr(theirs), text


@pytest.mark.parametrize("name", ["params.yaml", "paper/params.yaml", "released/params.yaml"])
def test_the_shipped_files_are_read_as_dvc_reads_them(repository: Path, name: str) -> None:
    text = (repository / name).read_text()
    assert read_yaml(repository / name) == ruamel.yaml.YAML(typ="safe").load(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2020: 1", 'line 1, column 1: the key 2020 is not text: put it in quotes: "2020"'),
        ("null: 1", "the key null is not text"),
        ("0x10: 1", "the key 0x10 is not text"),
        ("? [1]\n: 2", "the key a list or mapping is not text"),
        ("a: 1\nb: 2\na: 3", "duplicate key a"),
        ("a: {b: 1, b: 2}", "duplicate key b"),
        ("a: &a {b: 1}\nc:\n  <<: *a", "line 3, column 3: YAML 1.2 has no merge key <<: write its keys here"),
        ("x: " + "[" * 3000, "nested more than 50 levels deep"),
        ("x: " + "1" * 5000, "a number of more than 300 digits"),
        ("x: !!python/object:os.system 1", "leave the tag tag:yaml.org,2002:python/object:os.system out"),
        ("x: !!int y", "line 1, column 4: leave the tag tag:yaml.org,2002:int out"),
        ("x: ! y", "leave the tag ! out"),
        ("2024-01-01: 1", 'the key 2024-01-01 is not text: put it in quotes: "2024-01-01"'),
        (
            "x: 2024-01-01",
            'line 1, column 4: DVC does not read 2024-01-01 as text: put it in quotes: "2024-01-01"',
        ),
        ("x: 2024-1-1 10:00:00", "DVC does not read 2024-1-1 10:00:00 as text"),
        ("x: [1_200]", "DVC does not read 1_200 as text"),
        ("x: 1_2.5", "DVC does not read 1_2.5 as text"),
        ("x: =", "DVC does not read = as text"),
        ("x: 0b11", "DVC does not read 0b11 as text"),
        ("x: -0x10", "DVC does not read -0x10 as text"),
        ("x: &a [*a]", "x"),
        ("a: b\n  c: d: e", "line 2, column 4: mapping values are not allowed here"),
        ("a: \x07", "unacceptable character #x0007"),
    ],
)
def test_what_two_parsers_would_read_differently_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    if message == "x":  # a reference to itself: read, and rejected by whatever checks the types
        assert read_yaml(tmp_path / "a.yaml")["x"]
        return
    with pytest.raises(UserError, match=r"a\.yaml: not valid YAML") as error:
        read_yaml(tmp_path / "a.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.yaml").write_bytes("title: Größe".encode(encoding))
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_yaml(tmp_path / "a.yaml")
