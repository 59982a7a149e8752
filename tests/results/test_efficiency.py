from pathlib import Path

import pytest

from alkdnet.errors import UserError
from alkdnet.results.efficiency import (
    MEASUREMENTS,
    Machine,
    Measurement,
    read_efficiency,
    write_efficiency,
)

MACHINE = Machine(
    date="2026-01-01",
    device="cpu",
    processor="A processor, avx2",
    threads=2,
    cores=4,
    memory_gib=8.0,
    system="Linux x86_64",
    versions="torch 2.6",
)


def measurement(network: str, backend: str, **values: object) -> Measurement:
    known = {
        "network": network,
        "backend": backend,
        "scale": 4,
        "height": 180,
        "width": 320,
        "parameters": 1000,
        "multi_adds": 10**9,
        "multi_adds_convolutions": 10**9,
        "multi_adds_torch": 10**9,
        "activations": 10**6,
        "precision": "float32",
    }
    return Measurement(**(known | values))  # type: ignore[arg-type]


def test_measurements_are_read_as_they_were_written(tmp_path: Path) -> None:
    folder = tmp_path / "cpu"
    folder.mkdir()
    written = [
        measurement("a", "plain", median_ms=12.5, low_ms=12.25, high_ms=13.0, samples=3, difference=0.0),
        measurement("b", "plain", remark="not timed: a pass takes 9 s at least"),
    ]
    write_efficiency(folder, MACHINE, written)
    assert read_efficiency(tmp_path) == [(MACHINE, written)]


def test_without_a_folder_nothing_was_measured(tmp_path: Path) -> None:
    assert read_efficiency(tmp_path / "absent") == []


def test_a_table_with_other_columns_is_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "cpu"
    folder.mkdir()
    write_efficiency(folder, MACHINE, [measurement("a", "plain")])
    (folder / MEASUREMENTS).write_text("network,scale\na,4\n")
    with pytest.raises(UserError, match=r"measurements\.csv: its columns are not"):
        read_efficiency(tmp_path)
