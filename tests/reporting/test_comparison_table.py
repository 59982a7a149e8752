import dataclasses
import json

import pytest

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.reporting.comparison_table import (
    against_ours,
    against_ours_table,
    comparison_rows,
    comparison_table,
)
from alkdnet.reporting.main_table import reproduced
from alkdnet.reporting.table import Cell
from alkdnet.results.tree import read_results


def _row(rows: list[tuple[Cell, ...]], method: str) -> tuple[Cell, ...]:
    (row,) = (row for row in rows if row[0].parts[0].text == method)
    return row


def test_measured_minus_published(params: Params, tree: Paths) -> None:
    results = read_results(params, tree)
    rows = comparison_rows(params, results).set_index(["method", "scale", "set"])
    assert len(rows) == 15 * 3 * 5
    measured = results.runs["alkdnet_x2"].scores["urban100"].psnr
    cell = rows.loc[("ALKDNet", 2, "Urban100")]
    assert cell["published_psnr"] == 32.71
    assert cell["psnr_difference"] == pytest.approx(measured - 32.71)
    assert rows["psnr_difference"].isna()[("ALKDNet", 2, "Set14")]
    assert rows["run"].isna()[("SRCNN", 2, "Set5")]


def test_best_and_second_are_marked_apart(params: Params, tree: Paths) -> None:
    table = comparison_table(params, read_results(params, tree), 2)
    column = table.header.index("Set5")
    # As published: 38.14 is best, 38.10 of FMEN and BSRN second; SSIM 0.9610 of BSRN is best.
    assert [part.rank for part in _row(table.rows, "ALKDNet")[column].parts] == ["best", "second"]
    assert [part.rank for part in _row(table.rows, "BSRN")[column].parts] == ["second", "best"]
    assert [part.rank for part in _row(table.rows, "FMEN")[column].parts] == ["second", "second"]
    assert [part.rank for part in _row(table.rows, "↳ ALKDNet")[column].parts] == ["best", "best"]
    assert _row(table.rows, "↳ ALKDNet")[1].parts[0].text == "measured: 300 of 1,000,000 iterations"
    assert _row(table.rows, "↳ ALKDNet")[column].difference.startswith("−2.8")


def test_missing_cells_say_so(params: Params, tree: Paths) -> None:
    table = comparison_table(params, read_results(params, tree), 2)
    row = _row(table.rows, "↳ BSRN")
    assert row[table.header.index("Manga109")].parts[0].text == "not available"
    assert row[table.header.index("Set14")].parts[0].text == "not available"


def test_a_part_of_a_set_is_marked_and_not_compared(params: Params, tree: Paths) -> None:
    path = tree.evaluation("alkdnet_x2") / "sets.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["missing"]["urban100"] = "img_012: cannot be read"
    path.write_text(json.dumps(content), encoding="utf-8")
    results = read_results(params, tree)
    cell = _row(comparison_table(params, results, 2).rows, "↳ ALKDNet")[-2]
    assert cell.parts[0].text.endswith("†")
    assert cell.parts[0].rank == ""
    assert cell.difference == ""
    rows = comparison_rows(params, results).set_index(["method", "scale", "set"])
    assert rows["psnr_difference"].isna()[("ALKDNet", 2, "Urban100")]


def test_a_method_that_the_paper_does_not_have_gets_its_row(params: Params, tree: Paths) -> None:
    report = dataclasses.replace(params.report, table4={**params.report.table4, "Mine": ("kernel9_x2",)})
    mine = dataclasses.replace(params, report=report)
    results = read_results(mine, tree)
    row = _row(comparison_table(mine, results, 2).rows, "↳ Mine")
    assert row[4].difference == ""
    rows = comparison_rows(mine, results)
    assert rows[rows["method"] == "Mine"]["published_psnr"].isna().all()


def test_which_differences_can_be_told(params: Params, tree: Paths) -> None:
    (found,) = against_ours(params, read_results(params, tree))
    assert found.scale == 2
    verdicts = {(each.variant, each.set): each.verdict for each in found.comparisons if each.metric == "psnr"}
    # 2.0 dB over bicubic against 2.3, with noise of 0.01: plain on 12 images, too few with 5.
    assert verdicts["bsrn_x2", "urban100"] == "loss"
    assert verdicts["bsrn_x2", "set5"] == "too few images"
    table = against_ours_table(params, found)
    assert _row(table.rows, "BSRN")[3].mark is not None
    assert _row(table.rows, "BSRN")[3].mark.symbol == "▼"
    assert _row(table.rows, "BSRN")[4].parts[0].text == "–"


def test_cells_that_released_weights_give_to_the_last_digit(params: Params, tree: Paths) -> None:
    path = tree.evaluation("imdn_x2") / "sets.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    # Table 4, IMDN x2: 38.00 / 0.9605 on Set5 and 32.17 / 0.9283 on Urban100.
    content["sets"]["set5"] |= {"psnr": 37.9966, "ssim": 0.96049}
    content["sets"]["urban100"] |= {"psnr": 32.181, "ssim": 0.92826}
    path.write_text(json.dumps(content), encoding="utf-8")
    (sentence,) = reproduced(params, read_results(params, tree))
    assert sentence == (
        "IMDN: 2 of its 15 cells in Table 4 measured, of them 1 PSNRs and 2 SSIMs to the last digit; the "
        "largest differences are 0.011 dB and 0.00004."
    )
