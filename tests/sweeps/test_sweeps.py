"""exp_show.json is a recording of DVC 3, cut to two sections of one parameter file: two experiments of a grid
are finished, two wait in the queue."""

import copy
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from alkdnet.errors import UserError
from alkdnet.sweeps.experiments import BASELINE, Sweep, read_sweep
from alkdnet.sweeps.report import write_report

KEYS = ("recipes.paper.learning_rate", "recipes.paper.beta2")
SHOWN = json.loads(Path(__file__).with_name("exp_show.json").read_text())


def _sweep(shown: Any = SHOWN) -> Sweep:
    return read_sweep(shown, "rate", "params.yaml")


def _images(gain: float, images: int = 12, test_set: str = "set") -> pd.DataFrame:
    """Return scores that are higher by about `gain` dB than those of gain 0."""
    noise = np.random.default_rng(int(gain * 1000)).normal(0, 0.01, images) * bool(gain)
    return pd.DataFrame(
        {
            "set": test_set,
            "image": [f"{index:03}" for index in range(images)],
            "psnr": np.linspace(25, 35, images) + gain + noise,
            "ssim": np.linspace(0.7, 0.9, images) + gain / 100,
        }
    )


def test_the_experiments_of_a_recording() -> None:
    sweep = _sweep()
    assert sweep.keys == KEYS
    assert [(each.name, each.state) for each in sweep.experiments] == [
        *(("rate-1", "success"), ("rate-2", "success"), ("rate-3", "queued"), ("rate-4", "queued"))
    ]
    assert [[each.values[key] for key in KEYS] for each in (sweep.baseline, *sweep.experiments)] == [
        *([0.003, 0.99], [0.01, 0.9], [0.01, 0.99], [0.001, 0.9], [0.001, 0.99])
    ]
    assert sweep.experiments[1].revision == "2aee4424583456f0ab5baa4f65ee0e1ac74a3b00"
    assert sweep.baseline.revision == "7d9dd5a0f521d17e7d0a96d91708872670885ad8"


def test_an_experiment_without_data_or_executor() -> None:
    shown = copy.deepcopy(SHOWN)
    first, second = shown[1]["experiments"][:2]
    first["revs"][0]["data"], first["executor"]["state"] = None, "failed"
    second["executor"] = None
    sweep = _sweep(shown)
    assert [each.state for each in sweep.experiments] == ["failed", "success", "queued", "queued"]
    assert sweep.keys == KEYS


def test_what_all_experiments_have_alike_is_not_swept(tmp_path: Path) -> None:
    shown = copy.deepcopy(SHOWN)
    baseline = shown[1]["data"]["params"]["params.yaml"]["data"]
    baseline["recipes"]["paper"]["iterations"] = 1200
    sweep = _sweep(shown)
    assert sweep.keys == KEYS
    assert sweep.common == ("recipes.paper.iterations",)
    images = {BASELINE: _images(0), "rate-1": _images(0.2)}
    write_report(tmp_path / "rate", sweep, images, row="row", test_set="set")
    page = (tmp_path / "rate" / "README.md").read_text()
    assert "commit 7d9dd5a. All of them have recipes.paper.iterations 20 (baseline: 1200).\nBest of" in page


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("rat", "params.yaml", "no experiment rat-1, rat-2, .* commit 7d9dd5a; there are: rate-1, .*rate-4$"),
        ("rate", "paper/params.yaml", "do not differ in paper/params.yaml"),
    ],
)
def test_what_is_no_sweep(name: str, file: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_sweep(SHOWN, name, file)


def test_the_best_is_marked_with_its_intervals(tmp_path: Path) -> None:
    images = {BASELINE: _images(0), "rate-1": _images(0.2), "rate-2": _images(0.5)}
    sentence = write_report(tmp_path / "rate", _sweep(), images, row="row", test_set="set")
    values = "recipes.paper.learning_rate 0.01, recipes.paper.beta2 0.99"
    assert sentence.startswith(f"Best of the sweep: rate-2 ({values}) with 30.499 dB;")
    assert sentence.count("(gain)") == 2
    assert "] against the baseline" in sentence
    assert "] against the second best, rate-1" in sentence
    page = (tmp_path / "rate" / "README.md").read_text()
    assert "| rate-2 | 0.01 | 0.99 | **30.499** |" in page
    assert "Without scores: rate-3 (queued), rate-4 (queued)." in page
    rows = {
        row["experiment"]: row
        for row in csv.DictReader((tmp_path / "rate" / "sweep.csv").read_text().splitlines())
    }
    assert list(rows) == [BASELINE, "rate-1", "rate-2"]
    assert rows[BASELINE]["difference"] == ""
    assert float(rows["rate-1"]["low"]) < float(rows["rate-1"]["difference"]) < float(rows["rate-1"]["high"])
    assert float(rows["rate-1"]["difference"]) == pytest.approx(0.2, abs=0.01)
    assert (tmp_path / "rate" / "sweep.png").stat().st_size > 5000


def test_the_same_sweep_has_the_same_report(tmp_path: Path) -> None:
    images = {BASELINE: _images(0), "rate-1": _images(0.2), "rate-2": _images(0.5)}
    found = []
    for _ in range(2):
        write_report(tmp_path / "rate", _sweep(), images, row="row", test_set="set")
        found.append({file.name: file.read_bytes() for file in (tmp_path / "rate").iterdir()})
    assert found[0] == found[1]
    assert set(found[0]) == {"README.md", "sweep.csv", "sweep.png", "sweep.svg"}


def test_a_row_that_the_baseline_does_not_have_is_compared_with_the_second_best(tmp_path: Path) -> None:
    images = {"rate-1": _images(0.2), "rate-2": _images(0.5)}
    sentence = write_report(tmp_path / "rate", _sweep(), images, row="new", test_set="set")
    assert "second best, rate-1 (gain)" in sentence
    assert "baseline" not in sentence


def test_too_few_images_have_no_interval(tmp_path: Path) -> None:
    images = {BASELINE: _images(0, 5), "rate-1": _images(0.2, 5)}
    sentence = write_report(tmp_path / "rate", _sweep(), images, row="row", test_set="set")
    assert sentence.endswith(" dB against the baseline (too few images).")
    assert "[" not in sentence


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, r"no experiment has scores of row on set: rate-1 \(success\)"),
        ({BASELINE: _images(0)}, "no experiment has scores"),
        ({"rate-1": _images(0, test_set="other")}, "no experiment has scores"),
        ({BASELINE: _images(0), "rate-1": _images(0)}, "row has the same scores everywhere"),
    ],
)
def test_scores_that_make_no_report(tmp_path: Path, images: dict[str, pd.DataFrame], message: str) -> None:
    with pytest.raises(UserError, match=message):
        write_report(tmp_path / "rate", _sweep(), images, row="row", test_set="set")
    assert not (tmp_path / "rate").exists()
