import dataclasses

import pytest

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.reporting.row_tables import costs_table, rows_frame
from alkdnet.reporting.study import Study
from alkdnet.reporting.table import Cell, Table
from alkdnet.reporting.table4 import main_table, reproduced_table, table4_frame, table4_table
from alkdnet.results.scores import Scores


def _texts(row: tuple[Cell, ...]) -> list[str]:
    return [" / ".join(part.text for part in cell.parts) for cell in row]


def _row(table: Table, method: str) -> tuple[Cell, ...]:
    (row,) = (row for row in table.rows if row[0].parts[0].text == method)
    return row


def test_measured_minus_published(study: Study) -> None:
    rows = table4_frame(study).set_index(["method", "scale", "set"])
    assert len(rows) == 15 * 3 * 5
    measured = study.rows["alkdnet_x2"].scores["urban100"].psnr
    cell = rows.loc[("ALKDNet", 2, "Urban100")]
    assert cell["published_psnr"] == 32.71
    assert cell["psnr_difference"] == pytest.approx(measured - 32.71)
    assert rows["psnr_difference"].isna()[("ALKDNet", 2, "Set14")]
    assert rows["run"].isna()[("SRCNN", 2, "Set5")]


def test_best_and_second_are_marked_apart(study: Study) -> None:
    table = table4_table(study, 2)
    column = table.header.index("Set5")
    # As published: 38.14 is best, 38.10 of FMEN and BSRN second; SSIM 0.9610 of BSRN is best.
    assert [part.rank for part in _row(table, "ALKDNet")[column].parts] == ["best", "second"]
    assert [part.rank for part in _row(table, "BSRN")[column].parts] == ["second", "best"]
    assert [part.rank for part in _row(table, "FMEN")[column].parts] == ["second", "second"]
    measured = _row(table, "↳ ALKDNet")
    assert [part.rank for part in measured[column].parts] == ["best", "best"]
    assert _texts(measured)[1] == "measured: 300 of 1,000,000 iterations"
    assert measured[column].difference.startswith("−2.8")


def test_a_copied_row_is_compared_by_the_classic_protocol(params: Params, tree: Paths) -> None:
    scores = Scores.read(tree.evaluation("bicubic_x2"))
    images = scores.images.assign(classic_psnr=33.664, classic_ssim=0.93)
    dataclasses.replace(scores, images=images).write(tree.evaluation("bicubic_x2"))
    study = Study.read(params, tree)
    cell = table4_frame(study).set_index(["method", "scale", "set"]).loc[("Bicubic", 2, "Set5")]
    assert (cell["protocol"], cell["measured_psnr"]) == ("classic", pytest.approx(33.664))
    assert cell["psnr_difference"] == pytest.approx(0.004)
    assert cell["paper_psnr"] == study.rows["bicubic_x2"].scores["set5"].psnr
    row = _row(table4_table(study, 2), "↳ Bicubic")
    assert _texts(row)[1] == "measured: interpolation, classic protocol"
    assert row[4].difference.startswith("0.00")


def test_missing_cells_say_so(study: Study) -> None:
    table = table4_table(study, 2)
    row = _texts(_row(table, "↳ BSRN"))
    # Manga109 has no images here; Set14 is no set of this pipeline.
    assert row[table.header.index("Manga109")] == row[table.header.index("Set14")] == "not available"


def test_a_part_of_a_set_is_marked_and_not_compared(params: Params, tree: Paths) -> None:
    scores = Scores.read(tree.evaluation("alkdnet_x2"))
    missing = {"urban100": "img_012: cannot be read"}
    dataclasses.replace(scores, missing=missing).write(tree.evaluation("alkdnet_x2"))
    study = Study.read(params, tree)
    cell = _row(table4_table(study, 2), "↳ ALKDNet")[-2]
    assert cell.parts[0].text.endswith("†")
    assert (cell.parts[0].rank, cell.difference) == ("", "")
    rows = table4_frame(study).set_index(["method", "scale", "set"])
    assert rows["psnr_difference"].isna()[("ALKDNet", 2, "Urban100")]


def test_a_method_that_the_paper_does_not_have_gets_its_row(params: Params, tree: Paths) -> None:
    report = dataclasses.replace(params.report, table4={**params.report.table4, "Mine": ("kernel9_x2",)})
    study = Study.read(dataclasses.replace(params, report=report), tree)
    assert _row(table4_table(study, 2), "↳ Mine")[4].difference == ""
    rows = table4_frame(study)
    assert rows[rows["method"] == "Mine"]["published_psnr"].isna().all()


def test_sets_without_any_score_have_no_column(study: Study) -> None:
    assert main_table(study).header[-2:] == ("Set5", "Urban100")


def test_cells_that_released_weights_give_to_the_last_digit(params: Params, tree: Paths) -> None:
    scores = Scores.read(tree.evaluation("imdn_x2"))
    images = scores.images
    # Table 4, IMDN x2: 38.00 / 0.9605 on Set5 and 32.17 / 0.9283 on Urban100.
    images.loc[images["set"] == "set5", ["psnr", "ssim"]] = 37.9966, 0.96049
    images.loc[images["set"] == "urban100", ["psnr", "ssim"]] = 32.181, 0.92826
    scores.write(tree.evaluation("imdn_x2"))
    table = reproduced_table(Study.read(params, tree))
    assert table is not None
    assert [_texts(row) for row in table.rows] == [["IMDN", "2 of 15", "1", "0.011", "2", "0.00004"]]


def test_costs_are_shown_by_both_rules(study: Study) -> None:
    rows = [_texts(row) for row in costs_table(study).rows]
    assert ["×2", "ALKDNet", "372,716", "81.757 G", "79.456 G", "423.0 M"] in rows
    assert "Bicubic" not in {row[1] for row in rows}
    frame = rows_frame(study).set_index("run")
    assert frame["multi_adds_convolutions"]["imdn_x2"] == 79_456_000_000
    assert frame["activations"]["imdn_x2"] == 423_014_808
