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


def test_values_are_those_that_dvc_reads(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(VALUES)
    assert read_yaml(tmp_path / "a.yaml") == ruamel.yaml.YAML(typ="safe").load(VALUES)


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
        ("x: !!python/object:os.system 1", "could not determine a constructor"),
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
