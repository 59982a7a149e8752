"""Every record is read as it was written, and a file that is none is named."""

import json
from pathlib import Path

import pandas as pd
import pytest

from alkdnet.errors import UserError
from alkdnet.results.costs import Cost, read_costs, write_costs
from alkdnet.results.history import HistoryRow, read_history, write_history
from alkdnet.results.scores import COLUMNS, Scores
from alkdnet.weights.runs import load_run
from tests.records import write_run_record

COSTS = {"a": Cost(parameters=1, multi_adds=2, multi_adds_convolutions=3, activations=4)}
HISTORY = [HistoryRow(10, 0.1, 1e-3, None), HistoryRow(20, 1 / 3, 1e-7, 30.123456789012345)]
IMAGES = pd.DataFrame(
    [["set5", "001", 8, 9, 1 / 3, 0.5], ["set5", "NA", 8, 9, 30.0, 0.7]], columns=list(COLUMNS)
)


def test_costs(tmp_path: Path) -> None:
    write_costs(tmp_path / "complexity.json", COSTS)
    assert read_costs(tmp_path / "complexity.json") == COSTS


def test_a_history_keeps_all_digits_and_empty_cells(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", HISTORY)
    assert read_history(tmp_path / "history.csv") == HISTORY


def test_scores_keep_all_digits_and_their_means_follow(tmp_path: Path) -> None:
    scores = Scores(images=IMAGES, missing={"set14": "not available"}, weights_sha256="0")
    scores.write(tmp_path / "a")
    read = Scores.read(tmp_path / "a")
    assert (read.missing, read.weights_sha256) == (scores.missing, "0")
    pd.testing.assert_frame_equal(read.images, IMAGES, check_dtype=False)
    assert read.means()["set5"].psnr == (1 / 3 + 30) / 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("[]", "expected keys and values"),
        ('{"a": 3}', "a: expected keys and values"),
        ('{"a": {"parameters": 3, "multi_adds": 3}}', "multi_adds_convolutions: missing"),
        ("\x00", "not JSON"),
    ],
)
def test_a_file_that_is_no_record_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "complexity.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        read_costs(path)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith("; delete the file and run its stage again")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": None}, "options: expected mapping to"),
        ({"options": []}, "options: expected mapping to"),
        ({"options": {"channels": 10**18}}, "channels must be at most 4096, not 1000000000000000000"),
        ({"options": {str(number): 1 for number in range(3000)}}, "alkdnet has no option '0'"),
        ({"network": "alkdnett"}, "there is no network 'alkdnett'"),
        ({"scale": 10**9}, "scale must be at least 1 and at most 16, not 1000000000"),
        ({"scale": int("1" * 350)}, "scale must be at least 1 and at most 16, not 11111"),
    ],
)
def test_a_run_whose_network_cannot_be_built_is_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    (tmp_path / "weights.safetensors").touch()
    write_run_record(tmp_path, network="alkdnet", scale=2, options={})
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError) as error:
        load_run(tmp_path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("set,image,height,width,psnr,ssim\nset5,a,1,1,x,1\n", "psnr: not numbers"),
        ("set,image,height,width,psnr,ssim\nset5,a,1,1,1,1\nset5,b", "incomplete rows"),
        ("set,image\nset5,a\n", "no column height, width, psnr, ssim"),
        ("", "No columns"),
    ],
)
def test_damaged_scores_are_named(tmp_path: Path, content: str, message: str) -> None:
    Scores(images=IMAGES, missing={}).write(tmp_path / "a")
    (tmp_path / "a" / "images.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        Scores.read(tmp_path / "a")
    assert str(error.value).startswith(f"{tmp_path / 'a' / 'images.csv'}: ")


def test_a_history_that_ends_within_a_number_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    write_history(file, HISTORY)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match="its last line is not complete"):
        read_history(file)


def test_scores_without_any_image_are_read_again(tmp_path: Path) -> None:
    """As of a test set whose only image is too small."""
    scores = Scores(images=IMAGES.iloc[:0], missing={"set5": "baby: too small"}, weights_sha256="0")
    scores.write(tmp_path / "a")
    found = Scores.read(tmp_path / "a")
    assert (len(found.images), found.means(), found.missing) == (0, {}, scores.missing)
