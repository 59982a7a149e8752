import dataclasses

import numpy as np
import pytest

from alkdnet.analysis.statistics import Comparison, Verdict
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.paper.published import STATED, Stated
from alkdnet.reporting.ablation_tables import (
    AblationResult,
    ablation_frame,
    ablation_table,
    ablation_verdicts,
    ablations,
    agreement,
    camera_ready_table,
    mean_difference,
    statements_table,
)
from alkdnet.reporting.seeds import seeds_frame, seeds_table
from alkdnet.reporting.study import Study
from alkdnet.reporting.table import Table
from alkdnet.results.scores import Scores


def _table(study: Study, number: int) -> AblationResult:
    (found,) = (each for each in ablations(study) if each.number == number)
    return found


def _texts(table: Table) -> list[tuple[str, ...]]:
    return [tuple(cell.parts[0].text for cell in row) for row in table.rows]


def _copy_scores(tree: Paths, source: str, name: str, gain: float) -> None:
    """Give a row the scores of another, with a gain that varies a little from image to image."""
    scores = Scores.read(tree.evaluation(source))
    noise = 0.001 * np.sin(np.arange(len(scores.images)) + len(name))
    images = scores.images.assign(psnr=scores.images["psnr"] + gain + noise)
    dataclasses.replace(scores, images=images).write(tree.evaluation(name))


def test_table_1_by_hand(study: Study) -> None:
    found = _table(study, 1)
    bsrn, kernel5 = (study.rows[name].images for name in ("bsrn_x2", "kernel5_x2"))
    assert bsrn is not None
    assert kernel5 is not None
    by_set = [
        (kernel5["psnr"] - bsrn["psnr"])[kernel5["set"] == name].mean() for name in ("set5", "urban100")
    ]
    row = ablation_frame(study, found).set_index("run").loc["kernel5_x2"]
    assert row["mean_psnr_difference"] == pytest.approx(np.mean(by_set), abs=1e-12)
    assert row["stated_psnr"] == 0.04
    assert [each.variant for each in found.comparisons[::4]] == ["kernel5_x2", "kernel9_x2"]
    table = ablation_table(study, found)
    assert table.header == (
        *("Variant", "Weights", "Parameters", "Multi-Adds", "Set5", "Urban100", "Mean difference"),
    )
    assert [row[0].parts[0].text for row in table.rows] == ["BSRN (baseline)", "ALKConv, k = 5", "kernel9_x2"]
    assert [row[-1].parts[0].text[:5] for row in table.rows] == ["–", "+0.05", "+0.20"]
    verdicts = [row[-2].parts[0].text for row in ablation_verdicts(study, found).rows]
    assert verdicts == ["too few images", "gain"] * 2
    assert _texts(statements_table(study, found)) == [
        (
            *("ALKConv, k = 5", "BSRN", "better on all sets except Set5 and BSD100", "4.3.1"),
            *("+0.04 / +0.0002", "–", table.rows[1][-1].parts[0].text, "yes"),
        ),
        (
            *("kernel9_x2", "BSRN", "best overall", "4.3.1"),
            *("+0.07 / +0.0004", "–", table.rows[2][-1].parts[0].text, "yes"),
        ),
    ]


def test_the_camera_ready_table_has_costs_and_sets_and_says_how_long(study: Study) -> None:
    table = camera_ready_table(study, _table(study, 1))
    assert table.header == ("Variant", "Parameters", "Multi-Adds", "Set5", "Urban100")
    assert table.caption == "Kernel size: PSNR (dB) / SSIM. Trained for 300 iterations."


def test_tables_without_rows_are_left_out_and_absent_rows_named(study: Study) -> None:
    assert [each.number for each in ablations(study)] == [1, 3]
    found = _table(study, 3)
    assert found.missing == ("absent_x2",)
    assert len(found.rows) == 1


def test_without_its_baseline_a_table_has_no_differences(study: Study) -> None:
    rows = {
        **study.rows,
        "bsrn_x2": dataclasses.replace(study.rows["bsrn_x2"], images=None, scores={}),
    }
    study = dataclasses.replace(study, rows=rows)
    assert _table(study, 1).comparisons == ()
    assert mean_difference(rows["kernel5_x2"], rows["bsrn_x2"], "psnr") is None


def _agreement(study: Study, stated: Stated, **verdicts: Verdict) -> str:
    comparisons = [
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
    return agreement(study, stated, comparisons)


@pytest.mark.parametrize(
    ("first", "second", "direction", "expected"),
    [
        ("gain", "not distinguishable", 1, "yes"),
        ("loss", "too few images", 1, "no"),
        ("loss", "loss", -1, "yes"),
        ("gain", "loss", 1, "on some sets"),
        ("not distinguishable", "too few images", 1, "undecided"),
    ],
)
def test_agreement_with_the_text(
    study: Study, first: Verdict, second: Verdict, direction: int, expected: str
) -> None:
    stated = next(each for each in STATED if each.direction == direction)
    assert _agreement(study, stated, own=first, other=second) == expected


def test_a_statement_is_judged_by_the_sets_that_it_is_about(study: Study) -> None:
    norm = next(each for each in STATED if each.table == 3)
    # "Little on the whole", but better on Urban100.
    assert _agreement(study, norm, manga109="loss", urban100="gain") == "yes"
    assert _agreement(study, norm, manga109="gain", urban100="not distinguishable") == "undecided"
    # "Better on all sets except Set5 and BSD100."
    assert _agreement(study, STATED[0], set5="loss", urban100="gain") == "yes"
    assert _agreement(study, STATED[0], manga109="loss", urban100="gain") == "on some sets"


@pytest.mark.parametrize(
    ("abrl", "expected"),
    [
        (0.2, {"BSRN": "yes", "abrl_x2": "yes"}),
        (-0.2, {"BSRN": "yes", "abrl_x2": "no"}),
        (None, {"BSRN": "yes"}),
    ],
)
def test_worse_than_either_alone_is_judged_against_both(
    params: Params, tree: Paths, abrl: float | None, expected: dict[str, str]
) -> None:
    """FSRL + ABRL 0.1 dB below BSRN (FSRL), and ABRL `abrl` dB above FSRL + ABRL."""
    bsrn = params.runs["bsrn_x2"]
    residuals = {"abrl_x2": "abrl", "both_x2": "both"}
    new = {
        name: dataclasses.replace(bsrn, options={**bsrn.options, "residual": value})
        for name, value in residuals.items()
    }
    table2 = dataclasses.replace(params.report.table2, rows=("bsrn_x2", *new))
    report = dataclasses.replace(params.report, table2=table2)
    _copy_scores(tree, "bsrn_x2", "both_x2", -0.1)
    if abrl is not None:
        _copy_scores(tree, "bsrn_x2", "abrl_x2", abrl - 0.1)
    study = Study.read(dataclasses.replace(params, runs={**params.runs, **new}, report=report), tree)
    found = _table(study, 2)
    stated = [texts for texts in _texts(statements_table(study, found)) if texts[0] == "both_x2"]
    assert {texts[1]: texts[-1] for texts in stated} == expected
    pairs = {(each.variant, each.baseline) for each in found.comparisons}
    assert (("both_x2", "abrl_x2") in pairs) == (abrl is not None)


def test_spread_between_seeds(study: Study) -> None:
    frame = seeds_frame(study)
    first, second = (study.rows[name].scores["set5"].psnr for name in ("bsrn_x2", "bsrn_x2_seed1"))
    assert frame["run"].tolist() == ["bsrn_x2", "bsrn_x2"]
    assert frame["runs"].tolist() == [2, 2]
    assert frame["psnr_range"][0] == pytest.approx(abs(first - second))
    assert frame["psnr_difference"].isna().all()


def test_two_trainings_with_seeds_are_compared_by_their_means(params: Params, tree: Paths) -> None:
    seeds = {"bsrn_x2": ("bsrn_x2_seed1",), "kernel9_x2": ("kernel9_x2_seed1",)}
    runs = {**params.runs, "kernel9_x2_seed1": params.runs["kernel9_x2"]}
    params = dataclasses.replace(params, runs=runs, report=dataclasses.replace(params.report, seeds=seeds))
    _copy_scores(tree, "kernel9_x2", "kernel9_x2_seed1", 0.02)
    study = Study.read(params, tree)
    row = seeds_frame(study).set_index(["run", "set"]).loc[("kernel9_x2", "urban100")]
    names = ("bsrn_x2", "bsrn_x2_seed1", "kernel9_x2", "kernel9_x2_seed1")
    means = [study.rows[name].scores["urban100"].psnr for name in names]
    bsrn, kernel9 = means[:2], means[2:]
    assert row["psnr_difference"] == pytest.approx(np.mean(kernel9) - np.mean(bsrn))
    # Two variances with 1 degree of freedom each, pooled; t with 2 degrees of freedom is 4.30265.
    half = 4.30265 * np.sqrt((np.var(bsrn, ddof=1) + np.var(kernel9, ddof=1)) / 2)
    assert row["psnr_difference_high"] - row["psnr_difference"] == pytest.approx(half, rel=1e-5)
    table = seeds_table(study)
    assert table is not None
    cells = [cell.parts[0].text for cell in table.rows[-1]]
    assert cells[:4] == ["kernel9_x2", "300 of 1,000,000 iterations", "Urban100", "2"]
    assert cells[-1].startswith("+0.2")
