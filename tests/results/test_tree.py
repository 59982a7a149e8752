import json
import shutil
from pathlib import Path

import pytest

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.reporting.metrics import curves_frame, write_metrics
from alkdnet.reporting.scores import costs_table, origin, runs_frame, score_cells
from alkdnet.results.tree import read_results


def test_everything_is_read(params: Params, tree: Paths) -> None:
    results = read_results(params, tree)
    run = results.runs["alkdnet_x2"]
    assert run.label == "ALKDNet"
    assert run.iterations() == 300
    assert run.scores["set5"].images == 5
    assert run.scores["set5"].complete
    assert run.missing_sets == {"manga109": "not available"}
    assert run.cost is not None
    assert run.cost.parameters == 372_716
    assert run.cost.multi_adds_convolutions == 79_456_000_000
    assert run.cost.activations == 423_014_808
    assert run.history is not None
    assert len(run.history) == 30
    assert results.runs["imdn_x2"].iterations() is None
    assert results.missing == (
        "Named by the report's tables or curves, but not in `runs`: `absent_x2`.",
        "Test set `manga109`, not measured here: not available; its licence forbids passing it on.",
    )


def test_rows_say_what_they_are(params: Params, tree: Paths) -> None:
    runs = read_results(params, tree).runs
    assert origin(runs["alkdnet_x2"]) == "300 of 1,000,000 iterations"
    assert origin(runs["imdn_x2"]) == "authors' weights"
    assert origin(runs["bicubic_x2"]) == "interpolation"


def test_a_training_whose_folder_is_not_at_hand_is_shown_as_stated(params: Params, tree: Paths) -> None:
    """Results are committed, models are not: a report can be made of what is committed."""
    shutil.rmtree(tree.directory / "models")
    results = read_results(params, tree)
    assert origin(results.runs["alkdnet_x2"]) == "300 of 1,000,000 iterations, as stated"
    assert "Measured, but with no record of the training at hand" in results.missing[0]
    assert not any("Not trained yet" in sentence for sentence in results.missing)
    shutil.rmtree(tree.evaluation("alkdnet_x2"))
    results = read_results(params, tree)
    assert origin(results.runs["alkdnet_x2"]) == "not trained yet"
    assert results.missing[0] == "Not trained yet (no `run.json`): `alkdnet_x2`."


def test_removed_runs_are_ignored(params: Params, tree: Paths) -> None:
    stale = tree.evaluation("removed_x2")
    stale.mkdir()
    (stale / "sets.json").write_text("not even JSON", encoding="utf-8")
    assert "removed_x2" not in read_results(params, tree).runs


def test_gaps_are_named(params: Params, tree: Paths) -> None:
    (tree.evaluation("bsrn_x2") / "images.csv").unlink()
    (tree.model("bsrn_x2") / "run.json").unlink()
    tree.complexity.unlink()
    results = read_results(params, tree)
    text = "\n".join(results.missing)
    assert "Not evaluated yet: `bsrn_x2`." in text
    assert "Not trained yet (no `run.json`): `bsrn_x2`." in text
    assert "Parameters and Multi-Adds not counted yet: `bicubic_x2`, `bsrn_x2`" in text
    assert origin(results.runs["bsrn_x2"]) == "not trained yet"
    frame = runs_frame(params, results).set_index("run")
    assert frame["iterations"].isna()["bsrn_x2"]
    assert frame["set5_psnr"].isna()["bsrn_x2"]


def test_weights_and_sets_that_are_not_at_hand_are_named_with_the_reason(params: Params, tree: Paths) -> None:
    shutil.rmtree(tree.evaluation("imdn_x2"))
    for name in params.runs:
        path = tree.evaluation(name) / "sets.json"
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            del content["sets"]["urban100"]
            path.write_text(json.dumps(content), encoding="utf-8")
    results = read_results(params, tree)
    assert results.missing == (
        "Not measured here, for the authors' weights were not at hand: `imdn_x2`.",
        "Named by the report's tables or curves, but not in `runs`: `absent_x2`.",
        "Test set `urban100`, not measured here: its images were not at hand.",
        "Test set `manga109`, not measured here: not available; its licence forbids passing it on.",
    )


IMAGES = "set,image,height,width,psnr,ssim\n"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("models/bsrn_x2/history.csv", "iteration,loss\n1,2\n", "no column learning_rate, validation_psnr"),
        ("models/bsrn_x2/history.csv", "", "not what its stage writes"),
        ("models/bsrn_x2/run.json", '{"iterations": 3', "not JSON"),
        ("models/bsrn_x2/run.json", "[]", "expected keys and values"),
        ("results/evaluation/bsrn_x2/sets.json", "{}", "no 'missing'"),
        ("results/evaluation/bsrn_x2/sets.json", '{"missing": [], "sets": {}}', "not what its stage writes"),
        (
            "results/evaluation/bsrn_x2/sets.json",
            '{"missing": {}, "sets": {"set5": {"images": 5, "psnr": "n/a", "ssim": 1}}}',
            "not what its stage writes",
        ),
        (
            "results/evaluation/bsrn_x2/sets.json",
            '{"missing": {}, "sets": {"set5": {"images": 5, "psnr": 30}}}',
            "no 'ssim'",
        ),
        ("results/evaluation/bsrn_x2/images.csv", f"{IMAGES}set5,a,1,1,x,1\n", "not what its stage writes"),
        ("results/evaluation/bsrn_x2/images.csv", f"{IMAGES}set5,a,1,1,1,1\nset5,b", "rows without height"),
        ("results/complexity.json", '{"bsrn_x2": {"parameters": 3, "multi_adds": 3}}', "no 'multi_adds_conv"),
        ("results/complexity.json", '{"bsrn_x2": 3}', "not what its stage writes"),
        ("results/complexity.json", "\x00", "not JSON"),
    ],
)
def test_a_damaged_file_is_named(params: Params, tree: Paths, file: str, content: str, message: str) -> None:
    (tree.directory / file).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        read_results(params, tree)
    assert str(error.value).startswith(str(tree.directory / file))
    assert str(error.value).endswith("; delete the file and run its stage again")


def test_bytes_that_are_no_text_are_named(params: Params, tree: Paths) -> None:
    tree.complexity.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"complexity\.json: not what its stage writes"):
        read_results(params, tree)


def test_metrics_are_nested_by_run_and_set(params: Params, tree: Paths, tmp_path: Path) -> None:
    results = read_results(params, tree)
    write_metrics(tmp_path / "metrics.json", results)
    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert list(content) == list(params.runs)
    assert content["imdn_x2"]["parameters"] == 331_628
    assert content["imdn_x2"]["set5"]["psnr"] == round(results.runs["imdn_x2"].scores["set5"].psnr, 4)


def test_curves_have_all_trained_runs(params: Params, tree: Paths) -> None:
    frame = curves_frame(read_results(params, tree))
    assert list(frame) == ["run", "iteration", "loss", "learning_rate", "psnr"]
    assert set(frame["run"]) == {name for name, run in params.runs.items() if run.kind == "trained"}
    assert frame["psnr"].notna().sum() == 6 * 6


def test_costs_are_shown_by_both_rules_beside_the_published_ones(params: Params, tree: Paths) -> None:
    results = read_results(params, tree)
    rows = [[cell.parts[0].text for cell in row] for row in costs_table(params, results).rows]
    assert ["×2", "ALKDNet", "372,716", "81.757 G", "79.456 G", "423.0 M", "373 K", "83.7 G"] in rows
    # No row of Table 4.
    assert ["×2", "kernel9_x2", "331,628", "81.757 G", "79.456 G", "423.0 M", "–", "–"] in rows
    assert "Bicubic" not in {row[1] for row in rows}
    frame = runs_frame(params, results).set_index("run")
    assert frame["multi_adds_convolutions"]["imdn_x2"] == 79_456_000_000
    assert frame["activations"]["imdn_x2"] == 423_014_808


def test_ranks_of_a_column_with_ties_gaps_and_parts(params: Params, tree: Paths) -> None:
    changes = {
        # Equal after rounding to the printed digits: they share the first place, and there is no second.
        "bsrn_x2": {"psnr": 35.001, "ssim": 0.95},
        "kernel5_x2": {"psnr": 34.999, "ssim": 0.94},
        "kernel9_x2": {"psnr": 34.5, "ssim": 0.94},
        # Over a part of the set: shown, but in no place.
        "alkdnet_x2": {"psnr": 39.0, "ssim": 0.99},
    }
    for name, score in changes.items():
        path = tree.evaluation(name) / "sets.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["sets"]["urban100"] |= score
        if name == "alkdnet_x2":
            content["missing"]["urban100"] = "img_012: cannot be read"
        path.write_text(json.dumps(content), encoding="utf-8")
    shutil.rmtree(tree.evaluation("imdn_x2"))
    runs = read_results(params, tree).of([*changes, "imdn_x2"])
    cells = score_cells(runs, "urban100")
    assert [[part.text for part in cell.parts] for cell in cells] == [
        ["35.00", "0.9500"],
        ["35.00", "0.9400"],
        ["34.50", "0.9400"],
        ["39.00†", "0.9900†"],
        ["not measured"],
    ]
    assert [[part.rank for part in cell.parts] for cell in cells] == [
        ["best", "best"],
        ["best", "second"],
        ["", "second"],
        ["", ""],
        [""],
    ]
