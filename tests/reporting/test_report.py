import dataclasses
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from alkdnet.reporting.standing import standing
from alkdnet.results.tree import Results, read_results
from PIL import Image

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.reporting.deviations import evaluation_deviations, stale_trainings, training_deviations
from alkdnet.reporting.report import write_report

FIGURES = ("crops.png", "cost.png", "gains_x2.png", "curves.png", "maps.png", "fields.png")
PAGES = {"README.md", "ablations.md", "comparison.md", "runs.md", "figures.md", "audit.md"}


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_report_is_whole(report: Path) -> None:
    files = set(_digests(report))
    assert files >= PAGES
    assert {
        "tables/table1.csv",
        "tables/table4_x3.tex",
        "tables/audit_gains.csv",
        "figures/crops.png",
    } <= files


def test_a_report_is_the_same_on_a_second_run(report: Path, params: Params, tree: Paths) -> None:
    # Another look for the figures of the process around must not change a file.
    with mpl.rc_context({"font.size": 30, "figure.facecolor": "black"}):
        write_report(params=params, paths=tree)
    assert _digests(tree.report) == _digests(report)
    results = _digests(tree.directory / "results")
    assert "curves.csv" in results
    assert results == _digests(report.parents[1] / tree.directory / "results")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_not_blank(report: Path, name: str) -> None:
    with Image.open(report / "figures" / name) as image:
        assert "Software" not in image.info
        pixels = np.asarray(image.convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    pixels = pixels[..., :3]
    assert min(pixels.shape[:2]) > 50
    # White, not transparent: it reads the same on a dark page.
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert len(np.unique(pixels.astype(np.uint32) @ np.array([1, 256, 65536], dtype=np.uint32))) > 50


def test_links_lead_somewhere(report: Path) -> None:
    for page in PAGES:
        text = (report / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            if not target.startswith("../../"):
                assert (report / target).is_file(), f"{page} links to {target}"


def test_pages_are_well_formed(report: Path) -> None:
    for page in PAGES:
        lines = (report / page).read_text(encoding="utf-8").splitlines()
        for above, line in itertools.pairwise(lines):
            if line.startswith("|") and above.startswith("|"):
                # Escaped bars are text.
                bars = [len(re.findall(r"(?<!\\)\|", each)) for each in (above, line)]
                assert bars[0] == bars[1], f"{page}: {line}"
        assert not any(str(report.parents[1]) in line for line in lines)


def test_a_demo_is_never_taken_for_a_reproduction(report: Path) -> None:
    front = (report / "README.md").read_text(encoding="utf-8")
    assert "**The trained rows are not a reproduction of the paper's numbers.**" in front
    assert "for 300 iterations instead of 1,000,000" in front
    for page in ("README.md", "ablations.md", "runs.md"):
        scores = (report / page).read_text(encoding="utf-8").partition("## What the networks cost")[0]
        lines = scores.splitlines()
        trained = [line for line in lines if re.match(r"\| (×\d \| )?(ALKDNet|ALKConv, k = 5|BSRN)\b", line)]
        assert trained, page
        assert all("300 of 1,000,000 iterations" in line for line in trained), page
    lines = (report / "comparison.md").read_text(encoding="utf-8").splitlines()
    measured = [line for line in lines if line.startswith(("| ↳ ALKDNet", "| ↳ BSRN"))]
    assert len(measured) == 3
    assert all("measured: 300 of 1,000,000 iterations" in line for line in measured)


def test_an_empty_results_tree_makes_a_report_that_says_so(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = Paths(Path(params.dir), params.name)
    write_report(params=params, paths=paths)
    front = (paths.report / "README.md").read_text(encoding="utf-8")
    assert "6 of 6 runs are not trained yet" in front
    assert "Not evaluated yet: `bicubic_x2`, `bsrn_x2`" in front
    assert "Parameters and Multi-Adds not counted yet: `bicubic_x2`" in front
    assert "the stage `features` has not run yet" in front
    assert {path.name for path in paths.report.glob("*.md")} == PAGES


def test_gaps_do_not_stop_the_report(params: Params, tree: Paths) -> None:
    tree.complexity.unlink()
    for name in ("bicubic_x2", "alkdnet_x2"):
        shutil.rmtree(tree.evaluation(name))
    write_report(params=params, paths=tree)
    front = (tree.report / "README.md").read_text(encoding="utf-8")
    assert "Not evaluated yet: `bicubic_x2`, `alkdnet_x2`." in front
    assert {path.name for path in (tree.report / "figures").iterdir()} == {
        "crops.png",
        "curves.png",
        "fields.png",
        "maps.png",
    }


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
    train = dataclasses.replace(params.train, iterations=1_000_000, batch_size=64, patch_size=48)
    paper = dataclasses.replace(params, datasets=datasets, runs=runs, train=train)
    assert training_deviations(paper, as_if_trained(read_results(paper, tree), paper)) == []
    text = standing(paper, as_if_trained(read_results(paper, tree), paper))
    assert "Trained by the paper's recipe" in text
    assert "as the parameter file states now" not in text


def as_if_trained(results: Results, params: Params) -> Results:
    """Return results whose records say that all was trained as the parameters state."""
    runs = {
        name: dataclasses.replace(
            run,
            record={
                **run.record,
                "options": dict(run.run.options),
                "iterations": params.train.iterations,
                "recipe": dataclasses.asdict(params.train),
            },
        )
        for name, run in results.runs.items()
    }
    return dataclasses.replace(results, runs=runs)


def test_what_was_trained_is_stated_and_not_what_the_parameters_say_now(params: Params, tree: Paths) -> None:
    paper = dataclasses.replace(
        params, train=dataclasses.replace(params.train, iterations=1_000_000, batch_size=64, patch_size=48)
    )
    write_report(params=paper, paths=tree)
    front = (tree.report / "README.md").read_text(encoding="utf-8")
    assert "for 300 iterations instead of 1,000,000" in front
    assert "Recipe: 300 iterations of 8 patches, 24 LR pixels a side" in front
    assert "6 of 6 runs were not trained as the parameter file states now" in front
    assert (
        "`bsrn_x2` was not trained as the parameter file states now: iterations 300 instead of 1,000,000, "
        "batch size 8 instead of 64, patch size (LR pixels) 24 instead of 48."
    ) in front


def test_a_run_trained_with_other_options_is_named(params: Params, tree: Paths) -> None:
    path = tree.model("kernel9_x2") / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["options"]["kernel_size"] = 7
    record["seed"] = 3
    record["recipe"]["iterations"] = record["iterations"] = 200
    path.write_text(json.dumps(record), encoding="utf-8")
    results = read_results(params, tree)
    (sentence,) = stale_trainings(params, results)
    assert "`kernel9_x2`" in sentence
    assert "iterations 200 instead of 300, seed 3 instead of 0, kernel_size 7 instead of 9." in sentence
    (iterations,) = (each for each in training_deviations(params, results) if each.what == "iterations")
    assert iterations.here == "300, 200"


def test_a_report_without_some_weights_and_sets_keeps_their_rows(params: Params, tree: Paths) -> None:
    """As from the committed results of released weights: no folder of models, and one network is absent."""
    shutil.rmtree(tree.directory / "models")
    shutil.rmtree(tree.evaluation("imdn_x2"))
    runs = {
        name: dataclasses.replace(run, kind="released" if run.kind == "trained" else run.kind)
        for name, run in params.runs.items()
    }
    write_report(params=dataclasses.replace(params, runs=runs), paths=tree)
    front = (tree.report / "README.md").read_text(encoding="utf-8")
    assert "Runs: 8, of them trained here: 0, measured: 7" in front
    assert "1 of 7 released networks are not measured here" in front
    assert "Not measured here, for the authors' weights were not at hand: `imdn_x2`." in front
    (row,) = (line for line in front.splitlines() if line.startswith("| ×2 | IMDN"))
    assert row.endswith("| not measured | not measured | not measured |")
    comparison = (tree.report / "comparison.md").read_text(encoding="utf-8")
    assert "| ↳ IMDN | not measured here: authors' weights |" in comparison
    assert "| ↳ ALKDNet | measured: authors' weights |" in comparison


def test_deviations_are_found_by_comparison(params: Params, tree: Paths) -> None:
    changed = dataclasses.replace(
        params,
        evaluate=dataclasses.replace(params.evaluate, round_luma=True, crop=6, tile=64),
        downscale=dataclasses.replace(params.downscale, border="symmetric"),
    )
    assert [each.what for each in training_deviations(changed, read_results(params, tree))] == [
        "training images",
        "iterations",
        "batch size",
        "patch size (LR pixels)",
        "blocks of ALKDNet and BSRN",
    ]
    found = {each.what: each.here for each in evaluation_deviations(changed, read_results(params, tree))}
    assert found == {
        "test sets of Table 4": "Set5, Urban100",
        "border of the downscaling": "symmetric",
        "luma rounded": "yes",
        "border cut off": "6 pixels",
        "tiles": "64 LR pixels",
    }


def test_a_pipeline_of_released_weights_says_that_it_trained_nothing(params: Params, tree: Paths) -> None:
    runs = {name: run for name, run in params.runs.items() if run.kind != "trained"}
    released = dataclasses.replace(params, runs=runs)
    assert training_deviations(released, read_results(released, tree)) == []
    text = standing(released, read_results(released, tree))
    assert "not trained here" in text
    assert "reproduction" not in text


@pytest.mark.slow
def test_reporting_starts_without_torch() -> None:
    code = "import sys, alkdnet.reporting.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
