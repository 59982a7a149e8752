"""Expected values: counted by hand from the cells of Table 4, and stated by the paper's text."""

import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from alkdnet.analysis.statistics import Comparison
from alkdnet.paper.audit import audit_page, counted, write_audit
from alkdnet.paper.consistency import (
    agreement,
    column_gaps,
    gains,
    left_out_gains,
    lost_cells,
    multi_adds_from_other_scales,
    protocol_fit,
    weights_per_pixel,
)
from alkdnet.paper.published import corrected_table4, table4
from tools.audit import against_lkdn

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "reports" / "released" / "tables" / "table4.csv"


def test_the_committed_page_is_what_the_tool_writes(tmp_path: Path) -> None:
    write_audit(tmp_path / "audit.md", MEASURED, list(against_lkdn(ROOT)))
    committed = (ROOT / "reports" / "audit.md").read_text(encoding="utf-8")
    assert (tmp_path / "audit.md").read_text(encoding="utf-8") == committed, "run: python tools/audit.py"


def test_the_page_has_what_was_counted_and_computed() -> None:
    page = audit_page(pd.read_csv(MEASURED), [])
    assert "the ×2 network has 81.76 G, and the ×3 network at 640×360 has 83.75 G" in page
    assert "27 of the 30 cells" in page
    assert "the cells as printed give -0.08 dB" in page
    assert "nan" not in page


def test_what_is_counted_belongs_to_the_published_rows() -> None:
    frame = counted().set_index(["method", "scale"])
    # The 9-5-5 network, beside which 8 K is printed; the others as their authors count.
    assert frame["parameters_k"]["SRCNN", 2] == pytest.approx(57.281)
    assert frame["multi_adds_g"]["FSRCNN", 3] == pytest.approx(5.0, abs=0.05)
    assert frame["multi_adds_g"]["IMDN", 4] == pytest.approx(40.9, abs=0.05)
    assert len(frame) == 12 * 3


@pytest.mark.slow
def test_published_numbers_need_no_torch() -> None:
    code = "import sys, alkdnet.paper.audit, alkdnet.paper.published; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_stated_gain_at_x2_needs_the_corrected_cell() -> None:
    # Section 4.4 states +0.11 dB; the cells as printed give (0.04 + 0.06 - 0.93 + 0.30 + 0.14) / 5.
    assert gains(table4())["psnr"][0] == pytest.approx(-0.078)
    corrected = gains(corrected_table4())
    assert corrected["psnr"].tolist() == pytest.approx([0.114, 0.09, 0.086])
    assert corrected["ssim"].tolist() == pytest.approx([0.0005, 0.00144, 0.0018])
    assert corrected["urban100_psnr"].tolist() == pytest.approx([0.30, 0.19, 0.17])


def test_little_of_the_stated_gain_remains_over_lkdn() -> None:
    # (-0.02 + 0.01 + 0 + 0.04 + 0) / 5 dB, (-3 + 1 - 3 + 5 - 3) / 5 in units of 0.0001
    lkdn = left_out_gains().set_index("method").loc["LKDN"]
    assert lkdn["psnr"] == pytest.approx(0.006)
    assert lkdn["ssim"] == pytest.approx(-0.00006)
    assert (lkdn["stated_psnr"], lkdn["stated_ssim"]) == (0.09, 0.0019)


@pytest.mark.parametrize(("low", "high"), [(-0.01, 0.03), (None, None)])
def test_the_page_calls_no_difference_a_gain_whose_interval_has_zero(
    low: float | None, high: float | None
) -> None:
    found = Comparison(
        variant="alkdnet_x4",
        baseline="lkdn_x4",
        set="Set14",
        metric="psnr",
        images=14,
        difference=0.01,
        low=low,
        high=high,
        p_value=0.001,
        adjusted_p=0.001,
        verdict="not distinguishable" if low else "too few images",
    )
    lines = audit_page(pd.read_csv(MEASURED), [(4, found)]).splitlines()
    (line,) = (each for each in lines if each.startswith("| ×4 | Set14 | 14 | +0.010"))
    assert "gain" not in line
    assert line.endswith(f"{found.verdict} |")


def test_one_cell_sticks_out() -> None:
    first, second = column_gaps().iloc[0], column_gaps().iloc[1]
    assert (first["best"], first["scale"], first["set"], first["ahead_of_second"]) == (
        "HSNet",
        2,
        "BSD100",
        0.93,
    )
    assert second["ahead_of_second"] == 0.30


def test_the_cells_that_are_not_won() -> None:
    lost = lost_cells(table4())
    assert lost[["scale", "set", "measure", "methods"]].to_numpy().tolist() == [
        [2, "Set5", "SSIM", "BSRN"],
        [2, "Set14", "SSIM", "BSRN"],
        [2, "BSD100", "PSNR", "HSNet"],
    ]
    assert len(lost_cells(corrected_table4())) == 2


def test_rows_of_the_old_protocol() -> None:
    cells = pd.read_csv(MEASURED)
    fit = protocol_fit(cells).set_index("method")
    # Bicubic on Set14 by the paper's protocol: 30.326, 27.635 and 26.095; by the classic one 30.232, ...
    assert fit["paper"]["Bicubic"] > 0.07
    assert (fit["classic"].dropna() < 0.05).all()
    assert (fit["paper"][["IMDN", "BSRN", "CFSR", "ALKDNet"]] < 0.01).all()
    assert fit["follows"]["Bicubic"] == "classic"
    assert set(fit["follows"][["IMDN", "BSRN", "CFSR", "ALKDNet"]]) == {"paper"}


def test_agreement_counts_cells_with_the_published_digits() -> None:
    cells = pd.DataFrame(
        {
            "method": ["A", "A", "A", "B"],
            "published_psnr": [30.0, 31.0, 32.0, 33.0],
            "published_ssim": [0.9, 0.9, 0.9, 0.9],
            "measured_psnr": [30.004, 31.02, math.nan, 33.0],
            "measured_ssim": [0.90004, 0.9, math.nan, 0.9001],
            "psnr_difference": [0.004, 0.02, math.nan, 0.0],
        }
    )
    assert agreement(cells).to_dict("records") == [
        {"method": "A", "cells": 2, "psnr": 1, "ssim": 2, "largest": pytest.approx(0.02)},
        {"method": "B", "cells": 1, "psnr": 1, "ssim": 0, "largest": 0.0},
    ]


def test_multi_adds_at_x2_do_not_follow_from_the_other_scales() -> None:
    bounds = multi_adds_from_other_scales()
    # Counted by thop 0.1.1: 81.7565 G for the x2 network, 83.7471 G for the x3 network at 640x360.
    assert (bounds["x2_low"] <= 81.7565).all()
    assert (bounds["x2_high"] >= 81.7565).all()
    assert (bounds["x2_high"] < 83.65).all()
    assert (bounds["x3_low"] <= 83.7471).all()
    assert (bounds["x3_high"] >= 83.7471).all()


def test_weights_per_pixel() -> None:
    ratio = weights_per_pixel().set_index(["method", "scale"])
    # 52.7 G / 921,600 pixels: the 57,184 weights of the 9-5-5 network, printed beside 8 K.
    assert ratio["thousands_per_pixel"]["SRCNN", 2] == pytest.approx(57.18, abs=0.05)
    assert ratio["pixels"]["SRCNN", 4] == "HR"
    assert ratio["ratio"]["IMDN", 2] == pytest.approx(0.993, abs=0.001)
    assert ratio["ratio"]["HSNet", 4] > 1.6
