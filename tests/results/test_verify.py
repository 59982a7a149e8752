"""The results of the working tree against those of the last commit, in a temporary git repository."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from alkdnet.cli import app
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.results.costs import Cost, write_costs
from alkdnet.results.scores import Scores
from alkdnet.results.verify import verify

ROOT = Path(__file__).resolve().parents[2]
ROWS = ("alkdnet_x2", "bicubic_x2", "kernel3_x2")
Evaluate = Callable[..., None]


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    """Return a function that writes the scores of a row on one test set."""

    def write(row: str, *, psnr: float = 30.0, ssim: float = 0.9, test_set: str = "set5") -> None:
        image = {"set": test_set, "image": "a", "height": 9, "width": 9, "psnr": psnr, "ssim": ssim}
        Scores(images=pd.DataFrame([image]), missing={}).write(Paths("demo", tmp_path).evaluation(row))

    return write


@pytest.fixture
def paths(tmp_path: Path, evaluate: Evaluate) -> Paths:
    """A git repository, below whose root lies a pipeline with committed results of three rows."""
    paths = Paths("demo", tmp_path)
    for row in ROWS:
        evaluate(row)
    cost = Cost(parameters=372716, multi_adds=2, multi_adds_convolutions=2, activations=7)
    write_costs(paths.complexity, dict.fromkeys(ROWS, cost))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "results")
    return paths


def test_the_same_results_agree_in_every_digit(paths: Paths) -> None:
    assert str(verify(paths, ROWS)) == "3 rows agree with the committed results in every digit"


def test_small_differences_agree_and_the_largest_is_named(paths: Paths, evaluate: Evaluate) -> None:
    evaluate("alkdnet_x2", psnr=29.999)
    evaluate("kernel3_x2", psnr=30.004, ssim=0.9004)
    assert str(verify(paths, ROWS)) == (
        "3 rows agree with the committed results within 0.02 dB (largest difference 0.004 dB, "
        "kernel3_x2 on set5)"
    )


def test_what_differs_by_more_is_named(paths: Paths, evaluate: Evaluate) -> None:
    evaluate("alkdnet_x2", psnr=29.97)
    evaluate("bicubic_x2", ssim=0.9006)
    evaluate("kernel3_x2", test_set="set14")
    cost = Cost(parameters=372717, multi_adds=2, multi_adds_convolutions=2, activations=7)
    write_costs(paths.complexity, {"alkdnet_x2": cost})
    assert verify(paths, ROWS).problems == (
        "alkdnet_x2 on set5: 29.970 dB, committed 30.000 dB",
        "bicubic_x2 on set5: SSIM 0.90060, committed 0.90000",
        "kernel3_x2 on set5: not measured",
        "alkdnet_x2: 372,717 parameters, committed 372,716",
    )
    assert not verify(paths, ROWS, psnr=0.05, ssim=0.001).problems[0].startswith("alkdnet_x2 on")


def test_rows_that_only_one_side_has_are_said(paths: Paths, evaluate: Evaluate) -> None:
    evaluate("new_x2")
    assert str(verify(paths, ROWS)) == "3 rows agree with the committed results in every digit"
    assert str(verify(paths, [*ROWS, "new_x2"])).endswith(
        "in every digit\nnot committed, so not compared: new_x2"
    )
    for file in paths.evaluation("kernel3_x2").iterdir():
        file.unlink()
    assert verify(paths, ROWS).problems == ("kernel3_x2: not evaluated",)


def test_results_of_another_format_are_not_called_damaged(paths: Paths, evaluate: Evaluate) -> None:
    (paths.evaluation("alkdnet_x2") / "scores.json").write_text('{"sets": {}}')
    git(paths.root, "commit", "--quiet", "--all", "--message", "another format")
    evaluate("alkdnet_x2")
    with pytest.raises(UserError, match="of demo in the last commit have another format: commit these first"):
        verify(paths, ROWS)


def test_nothing_to_compare_is_an_error(tmp_path: Path, paths: Paths, evaluate: Evaluate) -> None:
    with pytest.raises(UserError, match="paper/results: no results"):
        verify(Paths("paper", tmp_path), ROWS)
    git(tmp_path, "rm", "-r", "--quiet", "--cached", "demo")
    git(tmp_path, "commit", "--quiet", "--message", "none")
    with pytest.raises(UserError, match="the last commit has no results of demo"):
        verify(paths, ROWS)
    (tmp_path / ".git").rename(tmp_path / "git")
    with pytest.raises(UserError, match="nothing to compare with: git says"):
        verify(paths, ROWS)


def test_the_command_exits_with_1_for_a_difference(
    paths: Paths, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths.root)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    done = CliRunner().invoke(app, ["verify"])
    assert (done.exit_code, done.output) == (0, "3 rows agree with the committed results in every digit\n")
    evaluate("alkdnet_x2", psnr=31.0)
    done = CliRunner().invoke(app, ["verify", "demo"])
    assert done.exit_code == 1
    assert "alkdnet_x2 on set5: 31.000 dB, committed 30.000 dB" in done.output
    assert CliRunner().invoke(app, ["verify", "--psnr", "1.5"]).exit_code == 0
