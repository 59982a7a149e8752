"""Costs of the networks of all rows: `results/complexity.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alkdnet.results.records import read_table, write_table


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network costs for one image; see analysis/complexity.py for the counting rules.

    Attributes:
        parameters: trainable values.
        multi_adds: products with sums, thop 0.1.1's rule.
        multi_adds_convolutions: the same of convolutions only.
        activations: elements of the outputs of all convolutions.
    """

    parameters: int
    multi_adds: int
    multi_adds_convolutions: int
    activations: int


def write_costs(path: Path, costs: Mapping[str, Cost]) -> None:
    """Write the costs by the name of the row."""
    write_table(path, costs)


def read_costs(path: Path) -> Mapping[str, Cost]:
    """Return the costs by the name of the row; see `read_table` for what it raises."""
    return read_table(path, Cost)
