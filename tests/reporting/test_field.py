import dataclasses
from pathlib import Path

import pytest

from alkdnet.analysis.statistics import LEVEL, compare_pairs
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.reporting.ablation_tables import ablations
from alkdnet.reporting.comparisons import against_ours
from alkdnet.reporting.pages import pages
from alkdnet.reporting.study import Study
from alkdnet.results.efficiency import write_efficiency
from tests.results.test_efficiency import MACHINE, measurement


def _with_a_network_of_today(params: Params) -> Params:
    """Return parameters in which the row kernel9_x2 is a method that Table 4 leaves out."""
    table4 = {**params.report.table4, "LKDN": ("kernel9_x2",), "Own": ("kernel5_x2",)}
    return dataclasses.replace(params, report=dataclasses.replace(params.report, table4=table4))


def _pages(study: Study) -> dict[str, str]:
    return pages(study, ablations(study), against_ours(study), [], [])


def test_a_study_of_table_4_alone_has_no_such_page(study: Study) -> None:
    found = _pages(study)
    assert "field.md" not in found
    assert "field.md" not in found["README.md"]


def test_the_page_has_score_interval_verdict_and_time_in_one_row(params: Params, tree: Paths) -> None:
    folder = tree.efficiency / "cpu"
    folder.mkdir(parents=True)
    rows = [
        measurement("imdn", "plain", scale=2, height=360, width=640, median_ms=1234.4),
        measurement("imdn", "openvino", scale=2, height=360, width=640, median_ms=567.8),
        measurement(
            "imdn", "openvino_bf16", scale=2, height=360, width=640, precision="bfloat16", median_ms=1.0
        ),
        # Of another size, and of a network whose row has options of its own.
        measurement("imdn", "upscale", scale=2, height=36, width=64, median_ms=9.0),
        measurement("bsrn", "plain", scale=2, height=360, width=640, median_ms=7777.0),
    ]
    write_efficiency(folder, MACHINE, rows)
    study = Study.read(_with_a_network_of_today(params), tree)
    found = _pages(study)
    assert "[field](field.md)" in found["README.md"]
    page = found["field.md"]
    header = next(line for line in page.splitlines() if line.startswith("| Method"))
    assert "PyTorch, ms | OpenVINO, ms | Set5" in header
    assert "7777" not in page
    imdn = next(line for line in page.splitlines() if line.startswith("| IMDN"))
    assert "| 1234 | 568 |" in imdn
    (comparison,) = (
        each
        for each in against_ours(study)[2]
        if (each.variant, each.set, each.metric) == ("imdn_x2", "urban100", "psnr")
    )
    assert comparison.verdict == "loss"
    assert imdn.rstrip(" |").endswith("] loss")
    assert f"−{abs(comparison.difference):.3f} [−" in imdn
    assert "too few images" in imdn  # Set5 has five
    assert "VapSR" not in page  # published at x4 only


@pytest.mark.parametrize(
    ("others", "headings"),
    [
        ("Another one, avx512f", "PyTorch, ms, A processor | PyTorch, ms, Another one"),
        ("A processor, avx512f", "PyTorch, ms, A processor, avx2 | PyTorch, ms, A processor, avx512f"),
    ],
)
def test_times_of_two_machines_name_them(params: Params, tree: Paths, others: str, headings: str) -> None:
    for name, processor in (("a", MACHINE.processor), ("b", others)):
        (tree.efficiency / name).mkdir(parents=True)
        times = [measurement("imdn", "plain", scale=2, height=360, width=640, median_ms=1234.4)]
        write_efficiency(tree.efficiency / name, dataclasses.replace(MACHINE, processor=processor), times)
    page = _pages(Study.read(_with_a_network_of_today(params), tree))["field.md"]
    assert f"| {headings} |" in page


def test_no_difference_is_a_gain_whose_interval_has_zero(params: Params, tree: Paths) -> None:
    """Over many made-up rows; the verdict is also read from the page."""
    study = Study.read(_with_a_network_of_today(params), tree)
    pairs = [(a, b) for a in study.rows for b in study.rows if a != b and a[-2:] == b[-2:] == "x2"]
    images = study.images(study.rows.values())
    decided = 0
    for each in compare_pairs(images, pairs):
        if each.verdict in ("gain", "loss"):
            assert each.low is not None
            assert each.high is not None
            assert each.low > 0 or each.high < 0
            assert each.adjusted_p < LEVEL
            decided += 1
    assert decided
    for line in _pages(study)["field.md"].splitlines():
        for part in line.split(" | "):
            if part.endswith(("] gain", "] loss")):
                low, high = part[part.index("[") + 1 : part.index("]")].replace("−", "-").split(", ")
                assert float(low) * float(high) > 0, line


def test_the_committed_field_page_calls_no_such_difference_a_gain() -> None:
    page = Path(__file__).resolve().parents[2] / "reports" / "field" / "field.md"
    cells = [part for line in page.read_text().splitlines() for part in line.split(" | ") if "] gain" in part]
    assert cells
    for part in cells:
        low, high = part[part.index("[") + 1 : part.index("]")].replace("−", "-").split(", ")
        assert float(low) > 0, part
        assert float(high) > 0, part
