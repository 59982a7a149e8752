import dataclasses
import inspect

import pytest

from alkdnet.config.params import Params
from alkdnet.paper.published import (
    BSRN_DEFAULTS,
    SCALES,
    SETS,
    stated_difference,
    table4,
)


def test_table_4_is_whole() -> None:
    cells = table4()
    assert len(cells) == 15 * 3 * 5
    assert cells["method"].nunique() == 15
    assert not cells[["psnr", "ssim"]].isna().any(axis=None)
    assert set(cells["scale"]) == set(SCALES)
    assert list(dict.fromkeys(cells["set"])) == list(SETS)
    # The paper's Table 4, row ALKDNet x2, column Urban100; HSNet's costs are printed without decimals.
    ours = cells.query("method == 'ALKDNet' and scale == 2 and set == 'Urban100'").iloc[0]
    assert (ours["psnr"], ours["ssim"], ours["parameters_k"], ours["multi_adds_g"]) == (
        32.71,
        0.9332,
        373,
        83.7,
    )
    assert set(cells.query("method == 'HSNet'")["multi_adds_printed"]) == {"81", "36", "30"}


def test_defaults_are_those_of_the_network() -> None:
    from alkdnet.networks.bsrn import BSRN

    parameters = inspect.signature(BSRN).parameters
    assert {name: parameters[name].default for name in BSRN_DEFAULTS} == BSRN_DEFAULTS


@pytest.mark.parametrize(
    ("table", "run", "psnr"),
    [(1, "kernel5_x2", 0.04), (1, "kernel9_x2", 0.07), (1, "bsrn_x2", None), (3, "bsrn_x2", None)],
)
def test_stated_differences_find_their_variant(
    params: Params, table: int, run: str, psnr: float | None
) -> None:
    stated = stated_difference(table, params.runs[run])
    assert (stated.psnr if stated else None) == psnr


def test_table_2_tells_the_three_variants_apart(params: Params) -> None:
    bsrn = params.runs["bsrn_x2"]

    def stated(**changes: str) -> str:
        found = stated_difference(2, dataclasses.replace(bsrn, options={**bsrn.options, **changes}))
        return found.words if found else ""

    assert stated(residual="abrl") == "better than FSRL"
    assert stated(residual="both") == "worse than either alone"
    assert stated(residual="both", convolution="alkconv") == "best, except on Set5 and Set14"


def test_other_networks_have_no_stated_difference(params: Params) -> None:
    assert stated_difference(1, params.rows["imdn_x2"]) is None
