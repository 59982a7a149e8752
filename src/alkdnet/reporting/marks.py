"""Which numbers of a column are best and second, and marks for the size and the standing of a difference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from alkdnet.analysis.statistics import Verdict

Rank = Literal["best", "second", ""]


@dataclass(frozen=True)
class Mark:
    """A symbol for Markdown, which has no colours, and a colour of xcolor for LaTeX."""

    symbol: str
    colour: str


EQUAL = Mark("=", "black")
NEAR = Mark("≈", "gray")
ABOVE = Mark("△", "teal")
FAR_ABOVE = Mark("▲", "blue")
BELOW = Mark("▽", "orange")
FAR_BELOW = Mark("▼", "red")

# PSNR in dB. Below NEAR_DB two evaluations of one network may differ by border or rounding alone; from FAR_DB
# on a difference is of the size that separates the methods of Table 4.
NEAR_DB = 0.02
FAR_DB = 0.10
PUBLISHED_LEGEND = (
    f"`{EQUAL.symbol}` the published digits exactly; `{NEAR.symbol}` within {NEAR_DB:.2f} dB of them; "
    f"`{ABOVE.symbol}` above and `{BELOW.symbol}` below by up to {FAR_DB:.2f} dB; "
    f"`{FAR_ABOVE.symbol}` and `{FAR_BELOW.symbol}` by more"
)

VERDICTS: Mapping[Verdict, Mark] = {
    "gain": Mark("▲", "blue"),
    "loss": Mark("▼", "red"),
    "not distinguishable": Mark("○", "gray"),
    "too few images": Mark("?", "gray"),
}
VERDICT_LEGEND = (
    "In brackets the 95 % interval of the difference. `▲` a gain and `▼` a loss that can be told from "
    "chance over the images of the set; `○` cannot; `?` the set has too few images to tell"
)


def ranks(values: Sequence[float | None]) -> list[Rank]:
    """Return for each value whether it is the best (greatest) or the second of the column.

    Equal values share a rank; two that share the best leave no second, as in a competition. A value alone is
    best of nothing. None and NaN are missing cells and have no rank. Values are compared as they are: round
    them first to what is printed.
    """
    present = sorted((value for value in values if value is not None and not math.isnan(value)), reverse=True)
    if len(present) < 2:
        return ["" for _ in values]
    best = present[0]
    second = present[1] if present[1] < best else None
    return ["best" if value == best else "second" if value == second is not None else "" for value in values]


def published_mark(measured: float, published: float) -> Mark:
    """Return the mark of a measured PSNR (dB) beside a published one that has two decimals."""
    if round(measured, 2) == round(published, 2):
        return EQUAL
    difference = measured - published
    if abs(difference) < NEAR_DB:
        return NEAR
    if abs(difference) <= FAR_DB:
        return ABOVE if difference > 0 else BELOW
    return FAR_ABOVE if difference > 0 else FAR_BELOW
