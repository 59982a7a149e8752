import dataclasses
import shutil
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from alkdnet.analysis.statistics import Comparison, Verdict
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.paper.published import SETS, STATED
from alkdnet.reporting.ablations import ablation, agreement, mean_difference, stated_text
from alkdnet.reporting.comparisons import seed_margins
from alkdnet.reporting.pages import ablations_page
from alkdnet.reporting.seeds import seeds_frame, seeds_table
from alkdnet.results.tree import read_results


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


def comparisons_of(**verdicts: Verdict) -> list[Comparison]:
    return [
        Comparison(
            variant="v",
            baseline="b",
            set=name,
            metric="psnr",
            images=10,
            difference=0.1,
            low=0.0,
            high=0.2,
            p_value=0.01,
            adjusted_p=0.01,
            verdict=verdict,
        )
        for name, verdict in verdicts.items()
    ]


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
    comparisons = comparisons_of(**{f"set{index}": verdict for index, verdict in enumerate(verdicts)})
    stated = next(each for each in STATED if each.direction == direction)
    assert agreement(stated, comparisons) == expected
    assert agreement(None, comparisons) == "–"


def test_a_statement_is_judged_by_the_sets_that_it_is_about() -> None:
    columns = {name.lower(): name for name in SETS}
    norm = next(each for each in STATED if each.table == 3)
    # "Little on the whole", but better on Urban100.
    assert agreement(norm, comparisons_of(set14="loss", urban100="gain"), columns) == "yes"
    assert agreement(norm, comparisons_of(set14="gain", urban100="not distinguishable"), columns) == (
        "cannot be told"
    )
    assert agreement(norm, comparisons_of(set14="gain"), columns) == "cannot be told"
    # "Better on all sets except Set5 and BSD100."
    kernel5 = STATED[0]
    assert agreement(kernel5, comparisons_of(bsd100="loss", urban100="gain"), columns) == "yes"
    assert agreement(kernel5, comparisons_of(set14="loss", urban100="gain"), columns) == "on some sets"
    # "Best, except on Set5 and Set14."
    assert agreement(STATED[4], comparisons_of(set14="loss", manga109="gain"), columns) == "yes"


@pytest.mark.parametrize(
    ("abrl", "expected"),
    [
        (0.2, "yes"),
        (-0.2, "yes against BSRN; no against abrl_x2"),
        (None, "yes (against BSRN only)"),
    ],
)
def test_worse_than_either_alone_is_judged_against_both(
    params: Params, tree: Paths, abrl: float | None, expected: str
) -> None:
    """FSRL + ABRL 0.1 dB below BSRN (FSRL), and ABRL `abrl` dB above FSRL + ABRL."""
    bsrn = params.runs["bsrn_x2"]
    runs = dict(params.runs)
    for name, residual in (("abrl_x2", "abrl"), ("both_x2", "both")):
        runs[name] = dataclasses.replace(bsrn, options={**bsrn.options, "residual": residual})
    table2 = dataclasses.replace(params.report.table2, rows=("bsrn_x2", "abrl_x2", "both_x2"))
    params = dataclasses.replace(params, runs=runs, report=dataclasses.replace(params.report, table2=table2))
    for name, gain in (("both_x2", -0.1), ("abrl_x2", None if abrl is None else abrl - 0.1)):
        if gain is not None:
            copy_evaluation(tree, "bsrn_x2", name, gain)
    found = ablation(params, read_results(params, tree), 2)
    assert found is not None
    assert found.table.rows[-1][-1].parts[0].text == expected
    assert {each.baseline for each in found.comparisons} == {"bsrn_x2"}
    assert {(each.variant, each.baseline) for each in found.others} == (
        set() if abrl is None else {("both_x2", "abrl_x2")}
    )
    assert len(found.comparison_frame()) == len(found.comparisons) + len(found.others)
    if abrl is not None:
        verb = "loses" if abrl > 0 else "gains"
        assert found.sentences[-1].startswith(f"both_x2 against abrl_x2 {verb} 0.20 dB on Urban100")


def copy_evaluation(tree: Paths, source: str, name: str, gain: float) -> None:
    """Give a run the evaluation of another, with a gain that varies a little from image to image."""
    images = pd.read_csv(tree.evaluation(source) / "images.csv", dtype={"image": str})
    images["psnr"] += gain + 0.001 * np.sin(np.arange(len(images)) + len(name))
    tree.evaluation(name).mkdir()
    images.to_csv(tree.evaluation(name) / "images.csv", index=False)
    shutil.copy(tree.evaluation(source) / "sets.json", tree.evaluation(name))


def test_what_the_text_states_in_one_cell() -> None:
    assert stated_text(STATED[4]) == (
        "+0.10 dB, +0.0006 on average; +0.25 dB, +0.0026 on Urban100; best, except on Set5 and Set14 (4.3.2)"
    )
    assert stated_text(STATED[3]) == "worse than either alone (4.3.2)"
    assert stated_text(None) == "–"


def test_spread_between_seeds(params: Params, tree: Paths) -> None:
    results = read_results(params, tree)
    first, second = (results.runs[name].scores["set5"].psnr for name in ("bsrn_x2", "bsrn_x2_seed1"))
    # Two seeds: the standard deviation is |a - b| / sqrt(2), Student's t with 1 degree of freedom 12.706.
    margin = pytest.approx(12.7062 * abs(first - second), rel=1e-5)
    assert seed_margins(params, results, ["kernel9_x2", "bsrn_x2"])["set5"] == margin
    assert seed_margins(params, results, ["alkdnet_x2"]) == {}
    frame = seeds_frame(params, results)
    assert frame["run"].tolist() == ["bsrn_x2", "bsrn_x2"]
    assert frame["runs"].tolist() == [2, 2]
    assert frame["psnr_range"][0] == pytest.approx(abs(first - second))
    assert frame["psnr_margin"][0] == margin
    assert frame["psnr_difference"].isna().all()


def test_two_trainings_with_seeds_are_compared_by_their_means(params: Params, tree: Paths) -> None:
    seeds = {"bsrn_x2": ("bsrn_x2_seed1",), "kernel9_x2": ("kernel9_x2_seed1",)}
    runs = {**params.runs, "kernel9_x2_seed1": params.runs["kernel9_x2"]}
    params = dataclasses.replace(params, runs=runs, report=dataclasses.replace(params.report, seeds=seeds))
    copy_evaluation(tree, "kernel9_x2", "kernel9_x2_seed1", 0.02)
    results = read_results(params, tree)
    row = seeds_frame(params, results).set_index(["run", "set"]).loc[("kernel9_x2", "urban100")]
    means = {}
    for name in ("bsrn_x2", "bsrn_x2_seed1", "kernel9_x2", "kernel9_x2_seed1"):
        images = results.runs[name].images
        assert images is not None
        means[name] = images["psnr"][images["set"] == "urban100"].mean()
    bsrn, kernel9 = list(means.values())[:2], list(means.values())[2:]
    assert row["psnr_difference"] == pytest.approx(np.mean(kernel9) - np.mean(bsrn))
    # Two variances with 1 degree of freedom each, pooled; t with 2 degrees of freedom is 4.30265.
    half = 4.30265 * np.sqrt((np.var(bsrn, ddof=1) + np.var(kernel9, ddof=1)) / 2)
    assert row["psnr_difference_high"] - row["psnr_difference"] == pytest.approx(half, rel=1e-5)
    table = seeds_table(params, results)
    assert table is not None
    cells = [cell.parts[0].text for cell in table.rows[-1]]
    assert cells[:4] == ["kernel9_x2", "300 of 1,000,000 iterations", "Urban100", "2"]
    assert cells[-1].startswith("+0.2")


def test_the_page_shows_the_seeds_beside_the_ablations(params: Params, tree: Paths) -> None:
    results = read_results(params, tree)
    page = ablations_page(params, results, [])
    assert "| BSRN | 300 of 1,000,000 iterations | Set5 | 2 | " in page
    without = dataclasses.replace(params, report=dataclasses.replace(params.report, seeds={}))
    found = ablation(without, results, 1)
    assert found is not None
    assert "is not known" in ablations_page(without, results, [found])


def test_variants_of_which_nothing_can_be_said_share_a_sentence(params: Params, tree: Paths) -> None:
    for name in params.runs:
        path = tree.evaluation(name) / "images.csv"
        images = pd.read_csv(path, dtype={"image": str})
        images[images["set"] == "set5"].to_csv(path, index=False)
    found = ablation(params, read_results(params, tree), 1)
    assert found is not None
    (sentence,) = found.sentences
    assert sentence.startswith("Nothing can be said of any of the 2 variants: Set5 (5 images) has too few")
