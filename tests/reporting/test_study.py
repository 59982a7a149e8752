import dataclasses
import shutil

import pytest

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.reporting.cells import origin
from alkdnet.reporting.row_tables import rows_frame
from alkdnet.reporting.study import Study
from alkdnet.results.scores import Scores


def test_everything_is_read(study: Study) -> None:
    row = study.rows["alkdnet_x2"]
    assert row.label == "ALKDNet"
    assert row.recipe is not None
    assert row.recipe.iterations == 300
    assert (row.scores["set5"].images, row.scores["set5"].complete) == (5, True)
    assert row.missing == {"manga109": "not available"}
    assert row.cost is not None
    assert row.cost.parameters == 372_716
    assert len(row.history) == 30
    assert row.features is not None
    assert study.rows["imdn_x2"].recipe is None
    assert study.missing == (
        "Named in the sections features and report, but no row of the parameter file: absent_x2.",
        "Test set manga109 not evaluated: not available; its licence forbids redistribution.",
    )


def test_rows_have_labels_and_sets_have_the_papers_names(params: Params, tree: Paths) -> None:
    labels = {"bsrn_x2": " two\nlines ", "kernel9_x2": ""}
    report = dataclasses.replace(params.report, labels=labels)
    study = Study.read(dataclasses.replace(params, report=report), tree)
    names = ("bicubic_x2", "bsrn_x2", "kernel9_x2", "alkdnet_x2")
    assert [study.rows[name].label for name in names] == ["Bicubic", "two lines", "kernel9_x2", "alkdnet_x2"]
    assert study.columns == {"set5": "Set5", "urban100": "Urban100", "manga109": "Manga109"}
    assert study.set_label("urban100") == "Urban100"
    assert study.set_label("my_photographs") == "my_photographs"


def test_rows_say_what_they_are(study: Study) -> None:
    assert origin(study, study.rows["alkdnet_x2"]) == "300 of 1,000,000 iterations"
    assert origin(study, study.rows["imdn_x2"]) == "authors' weights"
    assert origin(study, study.rows["bicubic_x2"]) == "interpolation"


@pytest.mark.parametrize(
    ("source", "expected"), [("drrn", "third party's weights"), ("file", "a file of weights")]
)
def test_rows_say_whose_weights_they_have(study: Study, source: str, expected: str) -> None:
    row = dataclasses.replace(study.params.released["imdn_x2"], source=source)
    other = dataclasses.replace(study, params=dataclasses.replace(study.params, released={"imdn_x2": row}))
    assert origin(other, other.rows["imdn_x2"]) == expected


def test_a_training_without_its_folder_is_shown_as_stated(params: Params, tree: Paths) -> None:
    """Results are committed, models are not: a report can be made of what is committed."""
    shutil.rmtree(tree.directory / "models")
    study = Study.read(params, tree)
    assert origin(study, study.rows["alkdnet_x2"]) == "300 of 1,000,000 iterations, by the parameter file"
    assert "Evaluated, record of the training not available" in study.missing[0]
    assert not any("Not trained yet" in statement for statement in study.missing)
    shutil.rmtree(tree.evaluation("alkdnet_x2"))
    study = Study.read(params, tree)
    assert origin(study, study.rows["alkdnet_x2"]) == "not trained yet"
    assert study.missing[0] == "Not trained yet (no run.json): alkdnet_x2."
    assert not any("Not evaluated yet" in statement for statement in study.missing)


def test_removed_rows_are_ignored(params: Params, tree: Paths) -> None:
    stale = tree.evaluation("removed_x2")
    stale.mkdir()
    (stale / "scores.json").write_text("not even JSON", encoding="utf-8")
    assert "removed_x2" not in Study.read(params, tree).rows


def test_gaps_are_named(params: Params, tree: Paths) -> None:
    shutil.rmtree(tree.evaluation("bsrn_x2"))
    shutil.rmtree(tree.model("bsrn_x2"))
    shutil.rmtree(tree.evaluation("imdn_x2"))
    shutil.rmtree(tree.model("imdn_x2"))
    tree.complexity.unlink()
    study = Study.read(params, tree)
    assert study.missing[:4] == (
        "Not trained yet (no run.json): bsrn_x2.",
        "Not evaluated, released weights not available: imdn_x2.",
        "Parameters and Multi-Adds not counted yet: all rows.",
        "Named in the sections features and report, but no row of the parameter file: absent_x2.",
    )
    frame = rows_frame(study).set_index("run")
    assert frame["iterations"].isna()["bsrn_x2"]
    assert frame["set5_psnr"].isna()["bsrn_x2"]


def test_sets_that_no_row_was_evaluated_on_are_named_with_the_reason(params: Params, tree: Paths) -> None:
    for name in params.rows:
        scores = Scores.read(tree.evaluation(name))
        rest = scores.images[scores.images["set"] != "urban100"]
        dataclasses.replace(scores, images=rest).write(tree.evaluation(name))
    assert (
        "Test set urban100 not evaluated: its images were not available." in Study.read(params, tree).missing
    )


@pytest.mark.parametrize(
    "file",
    [
        "models/bsrn_x2/history.csv",
        "models/bsrn_x2/run.json",
        "results/evaluation/bsrn_x2/scores.json",
        "results/evaluation/bsrn_x2/images.csv",
        "results/features/bsrn_x2/features.json",
        "results/complexity.json",
    ],
)
def test_a_damaged_file_is_named(params: Params, tree: Paths, file: str) -> None:
    path = tree.directory / file
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError) as error:
        Study.read(params, tree)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith("; delete the file and run its stage again")
