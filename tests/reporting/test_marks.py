import math

import pytest

from alkdnet.reporting.marks import (
    ABOVE,
    BELOW,
    EQUAL,
    FAR_ABOVE,
    FAR_BELOW,
    NEAR,
    Mark,
    published_mark,
    ranks,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([38.0, 38.1, 37.9], ["second", "best", ""]),
        # Two that share the second place.
        ([38.0, 38.1, 38.0], ["second", "best", "second"]),
        # Two that share the first place leave no second.
        ([38.1, 38.1, 38.0], ["best", "best", ""]),
        ([None, 38.0, math.nan, 37.0], ["", "best", "", "second"]),
        ([None, None], ["", ""]),
        ([38.0], [""]),
        ([None, 38.0], ["", ""]),
        ([], []),
    ],
)
def test_best_and_second_with_ties_and_missing_cells(values: list[float | None], expected: list[str]) -> None:
    assert ranks(values) == expected


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (38.1445, EQUAL),
        (38.1351, EQUAL),
        (38.1549, NEAR),
        (38.1251, NEAR),
        (38.17, ABOVE),
        (38.11, BELOW),
        (38.239, ABOVE),
        (38.25, FAR_ABOVE),
        (38.03, FAR_BELOW),
    ],
)
def test_marks_beside_a_published_38_14(measured: float, expected: Mark) -> None:
    assert published_mark(measured, 38.14) == expected
