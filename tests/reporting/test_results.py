from pathlib import Path

import pytest

from alkdnet.config import Params
from alkdnet.errors import UserError
from alkdnet.paths import Paths
from alkdnet.reporting.metrics import curves_frame, write_metrics
from alkdnet.reporting.results import read_results
from alkdnet.reporting.scores import origin, runs_frame


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
    assert run.history is not None
    assert len(run.history) == 30
    assert results.runs["imdn_x2"].iterations() is None
    assert results.missing == ("Named by the report's tables or curves, but not in `runs`: `absent_x2`.",)


def test_rows_say_what_they_are(params: Params, tree: Paths) -> None:
    runs = read_results(params, tree).runs
    assert origin(runs["alkdnet_x2"]) == "300 of 1,000,000 iterations"
    assert origin(runs["imdn_x2"]) == "authors' weights"
    assert origin(runs["bicubic_x2"]) == "interpolation"


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


def test_a_damaged_file_is_named(params: Params, tree: Paths) -> None:
    (tree.model("bsrn_x2") / "history.csv").write_text("iteration,loss\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"history\.csv: no column learning_rate, validation_psnr"):
        read_results(params, tree)


def test_metrics_are_nested_by_run_and_set(params: Params, tree: Paths, tmp_path: Path) -> None:
    results = read_results(params, tree)
    write_metrics(tmp_path / "metrics.json", results)
    import json

    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert list(content) == list(params.runs)
    assert content["imdn_x2"]["parameters"] == 331_628
    assert content["imdn_x2"]["set5"]["psnr"] == round(results.runs["imdn_x2"].scores["set5"].psnr, 4)


def test_curves_have_all_trained_runs(params: Params, tree: Paths) -> None:
    frame = curves_frame(read_results(params, tree))
    assert list(frame) == ["run", "iteration", "loss", "learning_rate", "psnr"]
    assert set(frame["run"]) == {name for name, run in params.runs.items() if run.kind == "trained"}
    assert frame["psnr"].notna().sum() == 6 * 6
