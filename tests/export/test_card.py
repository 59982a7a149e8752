import dataclasses
from pathlib import Path

import pandas as pd
import pytest
import yaml

from alkdnet.config.loading import load_pipeline
from alkdnet.config.params import Evaluate
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.export.card import write_card
from alkdnet.results.run import Published, RunRecord, Training
from alkdnet.results.scores import Scores

ROOT = Path(__file__).resolve().parents[2]
RECORD = RunRecord(
    network="alkdnet",
    scale=2,
    options={"kernel_size": 9},
    parameters=372_716,
    weights_sha256="a" * 64,
    torch="2.13.0",
    training=Training(
        seed=3,
        recipe=load_pipeline("study", ROOT).recipes["paper"],
        data="d",
        sets=("bsds500",),
        validation_sets=("set5",),
        identity="i",
    ),
    published=None,
)


PAPER = Evaluate(channel="y", round_luma=False, crop=None, self_ensemble=False, tile=None)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths("study", tmp_path)
    paths.model("alkdnet_x2").mkdir(parents=True)
    RECORD.write(paths.model("alkdnet_x2"))
    images = pd.DataFrame(
        [("set5", "baby", 512, 512, 38.0, 0.96), ("set5", "bird", 288, 288, 39.0, 0.97)],
        columns=["set", "image", "height", "width", "psnr", "ssim"],
    )
    Scores(images=images, missing={}, weights_sha256="a" * 64).write(paths.evaluation("alkdnet_x2"))
    return paths


def _metadata(page: str) -> dict:
    head, found, _ = page.removeprefix("---\n").partition("\n---\n")
    assert found
    return yaml.safe_load(head)


def test_hub_reads_the_scores_from_the_card(paths: Paths, tmp_path: Path) -> None:
    write_card(paths, "alkdnet_x2", tmp_path / "README.md", PAPER)
    page = (tmp_path / "README.md").read_text()
    metadata = _metadata(page)
    assert (metadata["license"], metadata["pipeline_tag"]) == ("mit", "image-to-image")
    assert metadata["datasets"] == ["bsds500"]
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"]["name"] == "set5"
    assert [metric["value"] for metric in result["metrics"]] == [38.5, 0.965]
    assert "PSNR and SSIM of luma (BT.601), without a border of 2 pixels, means over the images." in page
    assert "| set5 | 2 | 38.50 | 0.9650 |" in page
    assert "372,716 parameters" in page
    assert "| seed | 3 |" in page
    assert "| loss | l1 1.0" in page
    assert "None" not in page


def test_card_states_the_protocol_that_was_used(paths: Paths, tmp_path: Path) -> None:
    other = dataclasses.replace(PAPER, channel="rgb", round_luma=True, crop=0, self_ensemble=True, tile=96)
    write_card(paths, "alkdnet_x2", tmp_path / "README.md", other)
    page = (tmp_path / "README.md").read_text()
    assert (
        "PSNR and SSIM of RGB, without cropping, with self-ensemble, in tiles of 96 pixels, means over"
        in page
    )
    (result,) = _metadata(page)["model-index"][0]["results"]
    assert [metric["name"] for metric in result["metrics"]] == ["PSNR of RGB", "SSIM of RGB"]


def test_card_of_imported_weights_names_their_authors(paths: Paths, tmp_path: Path) -> None:
    published = Published(source="alkdnet_x2", sha256="b" * 64)
    dataclasses.replace(RECORD, training=None, published=published).write(paths.model("alkdnet_x2"))
    write_card(paths, "alkdnet_x2", tmp_path / "README.md", PAPER)
    page = (tmp_path / "README.md").read_text()
    assert _metadata(page)["license"] == "other"
    assert "Qu & Ke 2024" in page.replace("&amp;", "&")
    assert "## Training" not in page


def test_scores_of_other_weights_are_rejected(paths: Paths, tmp_path: Path) -> None:
    dataclasses.replace(RECORD, weights_sha256="c" * 64).write(paths.model("alkdnet_x2"))
    with pytest.raises(UserError, match="scores of other weights"):
        write_card(paths, "alkdnet_x2", tmp_path / "README.md", PAPER)
    assert not (tmp_path / "README.md").exists()
