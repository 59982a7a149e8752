"""Which numbers of a column are best and second, and how far a measured one is from the published one."""

import math
from collections.abc import Sequence
from enum import Enum
from typing import Literal

Rank = Literal["best", "second", ""]


class Tone(Enum):
    """The size of a difference measured - published, as a symbol and a colour of LaTeX's xcolor."""

    EQUAL = ("=", "black")
    NEAR = ("≈", "gray")
    ABOVE = ("△", "teal")
    FAR_ABOVE = ("▲", "blue")
    BELOW = ("▽", "orange")
    FAR_BELOW = ("▼", "red")

    def __init__(self, symbol: str, colour: str) -> None:
        self.symbol = symbol
        self.colour = colour


# PSNR in dB: below NEAR_DB two evaluations of one network may differ by border or rounding alone; from
# FAR_DB on a difference is of the size that separates the methods of Table 4.
NEAR_DB = 0.02
FAR_DB = 0.10
LEGEND = (
    f"`{Tone.EQUAL.symbol}` the published digits exactly; `{Tone.NEAR.symbol}` within {NEAR_DB:.2f} dB; "
    f"`{Tone.ABOVE.symbol}` `{Tone.BELOW.symbol}` above, below by up to {FAR_DB:.2f} dB; "
    f"`{Tone.FAR_ABOVE.symbol}` `{Tone.FAR_BELOW.symbol}` by more"
)


def ranks(values: Sequence[float | None]) -> list[Rank]:
    """Return for each value whether it is the best (greatest) or the second of the column.

    Equal values share a rank; two that share the best leave no second, as in a competition. None and NaN are
    missing cells and have no rank. Values are compared as they are: round them first to what is printed.
    """
    present = sorted((value for value in values if value is not None and not math.isnan(value)), reverse=True)
    if not present:
        return ["" for _ in values]
    best = present[0]
    second = present[1] if len(present) > 1 and present[1] < best else None
    return [
        "best" if value == best else "second" if value == second and value is not None else ""
        for value in values
    ]


def tone(measured: float, published: float) -> Tone:
    """Return the mark of a measured PSNR (dB) beside a published one that has two decimals."""
    if round(measured, 2) == round(published, 2):
        return Tone.EQUAL
    difference = measured - published
    if abs(difference) < NEAR_DB:
        return Tone.NEAR
    if abs(difference) <= FAR_DB:
        return Tone.ABOVE if difference > 0 else Tone.BELOW
    return Tone.FAR_ABOVE if difference > 0 else Tone.FAR_BELOW
