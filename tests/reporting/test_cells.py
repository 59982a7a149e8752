import dataclasses
import math
import shutil

import pytest

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.reporting.cells import (
    ABOVE,
    BELOW,
    EQUAL,
    FAR_ABOVE,
    FAR_BELOW,
    NEAR,
    published_mark,
    ranks,
    score_cells,
)
from alkdnet.reporting.study import Study
from alkdnet.reporting.table import Mark
from alkdnet.results.scores import Scores


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


def test_ranks_of_a_column_with_ties_gaps_and_parts(params: Params, tree: Paths) -> None:
    means = {
        # Equal after rounding to the printed digits: they share the first place, and there is no second.
        "bsrn_x2": (35.001, 0.95),
        "kernel5_x2": (34.999, 0.94),
        "kernel9_x2": (34.5, 0.94),
        # Over a part of the set: shown, but in no place.
        "alkdnet_x2": (39.0, 0.99),
    }
    for name, (psnr, ssim) in means.items():
        scores = Scores.read(tree.evaluation(name))
        missing = {"urban100": "img_012: cannot be read"} if name == "alkdnet_x2" else {}
        images = scores.images.assign(psnr=psnr, ssim=ssim)
        dataclasses.replace(scores, images=images, missing=missing).write(tree.evaluation(name))
    shutil.rmtree(tree.evaluation("imdn_x2"))
    rows = Study.read(params, tree).of([*means, "imdn_x2"])
    cells = score_cells(rows, "urban100")
    assert [[part.text for part in cell.parts] for cell in cells] == [
        ["35.00", "0.9500"],
        ["35.00", "0.9400"],
        ["34.50", "0.9400"],
        ["39.00†", "0.9900†"],
        ["not evaluated"],
    ]
    assert [[part.rank for part in cell.parts] for cell in cells] == [
        ["best", "best"],
        ["best", "second"],
        ["", "second"],
        ["", ""],
        [""],
    ]
