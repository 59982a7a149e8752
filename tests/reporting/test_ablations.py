from typing import get_args

import numpy as np
import pytest

from alkdnet.config import Params
from alkdnet.evaluation.statistics import Comparison, Verdict
from alkdnet.paths import Paths
from alkdnet.reporting.ablations import ablation, agreement, mean_difference, stated_text
from alkdnet.reporting.comparisons import seed_ranges
from alkdnet.reporting.published import STATED
from alkdnet.reporting.report import seeds_frame
from alkdnet.reporting.results import read_results


def test_table_1_by_hand(params: Params, tree: Paths) -> None:
    results = read_results(params, tree)
    found = ablation(params, results, 1)
    assert found is not None
    bsrn, kernel5 = results.runs["bsrn_x2"], results.runs["kernel5_x2"]
    by_set = [
        (kernel5.images["psnr"] - bsrn.images["psnr"])[kernel5.images["set"] == name].mean()  # type: ignore[index]
        for name in ("set5", "urban100")
    ]
    row = found.frame.set_index("run").loc["kernel5_x2"]
    assert row["mean_psnr_difference"] == pytest.approx(np.mean(by_set), abs=1e-12)
    assert row["stated_psnr"] == 0.04
    assert [each.variant for each in found.comparisons[::4]] == ["kernel5_x2", "kernel9_x2"]
    assert found.sentences[0].startswith("ALKConv, k = 5 gains 0.05 dB on Urban100")
    assert found.sentences[0].endswith("on Set5 (5 images) nothing can be said.")
    header = found.table.header
    baseline, first, _ = found.table.rows
    assert baseline[0].parts[0].text == "BSRN (baseline)"
    assert baseline[header.index("Urban100")].difference == ""
    assert first[header.index("Urban100")].difference.startswith("+0.05 [")
    assert first[header.index("Set5")].mark is not None
    assert first[header.index("Set5")].mark.symbol == "?"
    assert first[header.index("Agrees")].parts[0].text == "yes"


def test_a_table_without_runs_is_left_out(params: Params, tree: Paths) -> None:
    assert ablation(params, read_results(params, tree), 2) is None


def test_a_run_that_was_taken_out_is_named(params: Params, tree: Paths) -> None:
    found = ablation(params, read_results(params, tree), 3)
    assert found is not None
    assert found.missing == ("absent_x2",)
    assert len(found.table.rows) == 1


def test_without_its_baseline_a_table_has_no_differences(params: Params, tree: Paths) -> None:
    (tree.evaluation("bsrn_x2") / "sets.json").unlink()
    results = read_results(params, tree)
    found = ablation(params, results, 1)
    assert found is not None
    assert found.comparisons == ()
    assert mean_difference(results.runs["kernel5_x2"], results.runs["bsrn_x2"], "psnr") is None


@pytest.mark.parametrize(
    ("verdicts", "direction", "expected"),
    [
        (("gain", "not distinguishable"), 1, "yes"),
        (("loss", "too few images"), 1, "no"),
        (("loss",), -1, "yes"),
        (("gain", "loss"), 1, "on some sets"),
        (("not distinguishable", "too few images"), 1, "cannot be told"),
        ((), 1, "–"),
    ],
)
def test_agreement_with_the_text(verdicts: tuple[Verdict, ...], direction: int, expected: str) -> None:
    assert set(verdicts) <= set(get_args(Verdict))
    comparisons = [
        Comparison(
            variant="v",
            baseline="b",
            set=str(index),
            metric="psnr",
            images=10,
            difference=0.1,
            low=0.0,
            high=0.2,
            p_value=0.01,
            adjusted_p=0.01,
            verdict=verdict,
        )
        for index, verdict in enumerate(verdicts)
    ]
    stated = next(each for each in STATED if each.direction == direction)
    assert agreement(stated, comparisons) == expected
    assert agreement(None, comparisons) == "–"


def test_what_the_text_states_in_one_cell() -> None:
    assert stated_text(STATED[4]) == (
        "+0.10 dB, +0.0006 on average; +0.25 dB, +0.0026 on Urban100; best, except on Set5 and Set14 (4.3.2)"
    )
    assert stated_text(STATED[3]) == "worse than either alone (4.3.2)"
    assert stated_text(None) == "–"


def test_spread_between_seeds(params: Params, tree: Paths) -> None:
    results = read_results(params, tree)
    first, second = (results.runs[name].scores["set5"].psnr for name in ("bsrn_x2", "bsrn_x2_seed1"))
    assert seed_ranges(params, results, ["bsrn_x2"])["set5"] == pytest.approx(abs(first - second))
    assert seed_ranges(params, results, ["alkdnet_x2"]) == {}
    frame = seeds_frame(params, results)
    assert frame["run"].tolist() == ["bsrn_x2", "bsrn_x2"]
    assert frame["runs"].tolist() == [2, 2]
