import dataclasses
import hashlib
import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.paper.published import RECIPE
from alkdnet.reporting.ablation_tables import ablations
from alkdnet.reporting.comparisons import against_ours
from alkdnet.reporting.deviations import evaluation_deviations, outdated, training_deviations
from alkdnet.reporting.pages import pages
from alkdnet.reporting.report import write_report
from alkdnet.reporting.study import Study
from tests.reporting.latex import check_table

FIGURES = ("crop_1", "cost", "gains_x2", "curves", "maps", "fields")
LINE_ART = ("cost", "gains_x2", "curves")
PAGES = {"README.md", "ablations.md", "comparison.md", "runs.md", "figures.md"}
HOSTILE = r"_$\frac{$ <script>alert(1)</script> | [a](https://x.y) `b` \ } {% x %} {{ y }} ~^&#"


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_report_is_whole(report: Path) -> None:
    files = set(_digests(report))
    assert files >= PAGES
    assert {"tables/table1.csv", "tables/table4_x3.tex", "figures/crop_1.png"} <= files
    assert {file for file in files if file.endswith(".svg")} == {f"figures/{name}.svg" for name in LINE_ART}


def test_a_report_is_the_same_on_a_second_run(report: Path, params: Params, tree: Paths) -> None:
    # Another matplotlib style of the surrounding process must not change a file.
    with mpl.rc_context({"font.size": 30, "figure.facecolor": "black", "svg.hashsalt": None}):
        write_report(params=params, paths=tree)
    assert _digests(tree.report) == _digests(report)
    results = _digests(tree.directory / "results")
    assert {"curves.csv"} <= set(results)
    assert results == _digests(report.parents[1] / "trial" / "results")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_not_blank(report: Path, name: str) -> None:
    with Image.open(report / "figures" / f"{name}.png") as image:
        assert "Software" not in image.info
        pixels = np.asarray(image.convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    pixels = pixels[..., :3]
    assert min(pixels.shape[:2]) > 50
    # White, not transparent: it reads the same on a dark page.
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert len(np.unique(pixels.astype(np.uint32) @ np.array([1, 256, 65536], dtype=np.uint32))) > 50


@pytest.mark.parametrize("name", LINE_ART)
def test_line_art_names_no_time_and_no_software(report: Path, name: str) -> None:
    text = (report / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    ET.fromstring(text)
    assert not re.search(r"matplotlib|dc:date|20\d\d-\d\d", text.partition("<defs>")[0])


def test_links_lead_somewhere(report: Path) -> None:
    for page in PAGES:
        text = (report / page).read_text(encoding="utf-8")
        for target in re.findall(r"(?<!\\)\]\(([^)#]+)\)", text):
            if not target.startswith("../"):
                assert (report / target).is_file(), f"{page} links to {target}"
    # The audit is one page of the project.
    assert "(../audit.md)" in (report / "README.md").read_text(encoding="utf-8")


def test_every_latex_table_compiles(report: Path) -> None:
    files = sorted((report / "tables").glob("*.tex"))
    assert len(files) == 7
    for file in files:
        found = check_table(file.read_text(encoding="utf-8"))
        assert found["label"] == f"tab:{file.stem.replace('_', '-')}"
        assert not re.match("Table [0-9]", found["caption"])


def test_any_label_leads_to_a_report(params: Params, tree: Paths) -> None:
    labels = dict.fromkeys(params.rows, HOSTILE)
    report = dataclasses.replace(params.report, labels=labels, title=HOSTILE, summary=HOSTILE)
    report = dataclasses.replace(
        report,
        table1=dataclasses.replace(report.table1, title=HOSTILE),
        table4={f"{HOSTILE}{index}": names for index, names in enumerate(report.table4.values())},
    )
    write_report(params=dataclasses.replace(params, report=report), paths=tree)
    test_pages_are_well_formed(tree.report)
    _check_tables(tree.report)
    for page in PAGES:
        text = (tree.report / page).read_text(encoding="utf-8")
        assert "<script" not in text
        assert not re.search(r"(?<!\\)\]\(https", text)
    for name in LINE_ART[2:]:
        ET.fromstring((tree.report / "figures" / f"{name}.svg").read_text(encoding="utf-8"))


def _check_tables(folder: Path) -> None:
    for file in (folder / "tables").glob("*.tex"):
        check_table(file.read_text(encoding="utf-8"))


def test_pages_are_well_formed(report: Path) -> None:
    for page in PAGES:
        lines = (report / page).read_text(encoding="utf-8").splitlines()
        for above, line in itertools.pairwise(lines):
            if line.startswith("|") and above.startswith("|"):
                # Escaped bars are text.
                bars = [len(re.findall(r"(?<!\\)\|", each)) for each in (above, line)]
                assert bars[0] == bars[1], f"{page}: {line}"
        assert not any(str(report.parents[1]) in line for line in lines)
        assert "\n\n\n" not in "\n".join(lines)


def test_a_demo_is_never_taken_for_a_reproduction(report: Path) -> None:
    front = (report / "README.md").read_text(encoding="utf-8")
    assert "**The trained rows are not a reproduction of the paper's numbers:**" in front
    assert "Iterations: 300 instead of 1,000,000." in front
    assert "| 1 | kernel9\\_x2 | +0.199 gain |" in front
    for page in ("README.md", "ablations.md", "runs.md"):
        text = (report / page).read_text(encoding="utf-8").partition("## What the networks cost")[0]
        lines = [line for line in text.splitlines() if " K | " in line]
        trained = [line for line in lines if re.match(r"\| (×\d \| )?(ALKDNet|ALKConv, k = 5|BSRN)\b", line)]
        assert trained, page
        assert all("300 of 1,000,000 iterations" in line for line in trained), page
    lines = (report / "comparison.md").read_text(encoding="utf-8").splitlines()
    measured = [line for line in lines if line.startswith(("| ↳ ALKDNet", "| ↳ BSRN"))]
    assert len(measured) == 3
    assert all("measured: 300 of 1,000,000 iterations" in line for line in measured)


def test_an_empty_results_tree_makes_a_report_that_says_so(params: Params, tmp_path: Path) -> None:
    paths = Paths(params.pipeline, tmp_path / "empty")
    write_report(params=params, paths=paths)
    front = (paths.report / "README.md").read_text(encoding="utf-8")
    assert "6 of 6 rows are not trained yet" in front
    assert "Not evaluated yet: bicubic\\_x2, bicubic\\_x3" in front
    assert "Parameters and Multi-Adds not counted yet: all rows." in front
    assert "Feature maps (Figure 5): no results to draw." in front
    assert {path.name for path in paths.report.glob("*.md")} == PAGES


def test_gaps_do_not_stop_the_report(params: Params, tree: Paths) -> None:
    tree.complexity.unlink()
    for name in ("bicubic_x2", "alkdnet_x2"):
        shutil.rmtree(tree.evaluation(name))
    write_report(params=params, paths=tree)
    front = (tree.report / "README.md").read_text(encoding="utf-8")
    assert "Not evaluated yet: bicubic\\_x2, alkdnet\\_x2." in front
    figures = {path.stem for path in (tree.report / "figures").iterdir()}
    assert figures == {"crop_1", "curves", "fields", "maps"}


def _recorded(study: Study, name: str, *, seed: int = 0, **recipe: Any) -> Study:
    """Return the study as if the record of a row stated another recipe."""
    row = study.rows[name]
    assert row.record is not None
    assert row.record.training is not None
    changed = dataclasses.replace(row.record.training.recipe, **recipe)
    training = dataclasses.replace(row.record.training, recipe=changed, seed=seed)
    record = dataclasses.replace(row.record, training=training, options=dict(row.row.options))
    return dataclasses.replace(study, rows={**study.rows, name: dataclasses.replace(row, record=record)})


def test_the_paper_s_own_recipe_has_no_deviation(params: Params, tree: Paths) -> None:
    datasets = {name: each for name, each in params.datasets.items() if each.use != "train"}
    for name in ("div2k", "flickr2k"):
        datasets[name] = dataclasses.replace(params.datasets["photographs"], source=name)
    runs = {
        name: dataclasses.replace(
            run, options={key: value for key, value in run.options.items() if key != "blocks"}
        )
        for name, run in params.runs.items()
    }
    paper = dataclasses.replace(params, datasets=datasets, runs=runs, recipes={"paper": RECIPE})
    study = Study.read(paper, tree)
    for name in runs:
        study = _recorded(study, name, seed=runs[name].seed, **vars(RECIPE))
    assert training_deviations(study) == []
    assert outdated(study) == []
    front = _pages(study)["README.md"]
    assert "Recipe, training images and number of iterations are the paper's." in front
    assert "Out of date" not in front


def test_what_was_trained_is_stated_and_not_what_the_parameters_say_now(params: Params, tree: Paths) -> None:
    study = Study.read(dataclasses.replace(params, recipes={"paper": RECIPE}), tree)
    front = _pages(study)["README.md"]
    assert "Iterations: 300 instead of 1,000,000." in front
    assert (
        "Recipe `paper`: iterations 300, batch size 8, patch size 24, precision float32, optimizer adam"
        in front
    )
    assert "trained with other settings" in front
    for setting in ("iterations | 300 | 1,000,000", "batch size | 8 | 64", "patch size | 24 | 48"):
        assert f"| bsrn\\_x2 | {setting} |" in front


def test_a_row_trained_with_other_options_is_named(study: Study) -> None:
    study = _recorded(study, "kernel9_x2", seed=3, iterations=200)
    record = study.rows["kernel9_x2"].record
    assert record is not None
    record = dataclasses.replace(record, options={**record.options, "kernel_size": 7})
    row = dataclasses.replace(study.rows["kernel9_x2"], record=record)
    study = dataclasses.replace(study, rows={**study.rows, "kernel9_x2": row})
    assert [(each.run, each.what, each.trained, each.now) for each in outdated(study)] == [
        ("kernel9_x2", "iterations", "200", "300"),
        ("kernel9_x2", "seed", "3", "0"),
        ("kernel9_x2", "kernel_size", "7", "9"),
    ]
    (iterations,) = (each for each in training_deviations(study) if each.what == "iterations")
    assert iterations.here == "300 or 200"


def test_a_report_without_some_weights_and_sets_keeps_their_rows(params: Params, tree: Paths) -> None:
    """As from the committed results of released weights: no folder of models, and one network is absent."""
    shutil.rmtree(tree.directory / "models")
    shutil.rmtree(tree.evaluation("imdn_x2"))
    study = Study.read(params, tree)
    text = _pages(study)
    assert "Rows: 10; trained here: 6 of 6; evaluated: 9" in text["README.md"]
    assert "Not evaluated, released weights not available: imdn\\_x2." in text["README.md"]
    (row,) = (line for line in text["README.md"].splitlines() if line.startswith("| ×2 | IMDN"))
    assert row.endswith("| not evaluated | not evaluated |")
    assert "| ↳ IMDN | not evaluated: authors' weights |" in text["comparison.md"]


def test_deviations_are_found_by_comparison(params: Params, tree: Paths) -> None:
    changed = dataclasses.replace(
        params,
        evaluate=dataclasses.replace(params.evaluate, round_luma=True, crop=6, tile=64),
        downscale=dataclasses.replace(params.downscale, border="symmetric"),
    )
    study = Study.read(changed, tree)
    assert [each.what for each in training_deviations(study)] == [
        *("training images", "iterations", "batch size", "patch size", "blocks of ALKDNet and BSRN"),
    ]
    assert {each.what: each.here for each in evaluation_deviations(study)} == {
        "test sets of Table 4": "Set5, Urban100",
        "border of the downscaling": "symmetric",
        "luma rounded": "yes",
        "border cut off": "6 pixels",
        "tiles": "64 LR pixels",
    }


def test_a_pipeline_of_released_weights_says_that_it_trained_nothing(params: Params, tree: Paths) -> None:
    study = Study.read(dataclasses.replace(params, runs={}), tree)
    assert training_deviations(study) == []
    front = _pages(study)["README.md"]
    assert "were not trained here" in front
    assert "reproduction" not in front


@pytest.mark.slow
def test_reporting_starts_without_torch() -> None:
    code = "import sys, alkdnet.reporting.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _pages(study: Study) -> dict[str, str]:
    return pages(study, ablations(study), against_ours(study), [], [])
