"""What the outputs say of a run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.tracking.record import read_record, settings, stale_evaluations
from tests.tracking.fabricated import HISTORY, TEST_SET

Write = Callable[..., None]


def test_a_run_without_outputs_has_no_record(params: Params, paths: Paths) -> None:
    assert read_record(params, paths, "small") is None


def test_the_record_holds_everything(params: Params, paths: Paths, train: Write, evaluate: Write) -> None:
    train("small")
    evaluate("small", psnr=32.5)
    record = read_record(params, paths, "small")
    assert record is not None
    assert record.params["channels"] == "8"
    assert record.params["train.learning_rate"] == "0.002"
    assert record.params["evaluate.channel"] == "y"
    assert "train.threads" not in record.params
    assert record.metrics == {
        f"{TEST_SET}/psnr": 32.5,
        f"{TEST_SET}/ssim": 0.9,
        "parameters": 1000,
        "multi_adds": 2000,
    }
    curves = {(point.key, point.iteration): point.value for point in record.points}
    assert curves[("validation_psnr", 300)] == 30.5
    assert {key for key, _ in curves} == {"loss", "learning_rate", "validation_psnr"}
    assert len(curves) == 2 * len(HISTORY) + 1
    assert set(record.artifacts) == {
        "weights.safetensors",
        "run.json",
        "history.csv",
        "evaluation/sets.json",
        "evaluation/images.csv",
        f"samples/{TEST_SET}_cat_x2/small.png",
    }
    assert record.inputs == {"embedded_train": "d" * 64}
    assert "Small net" in record.description
    assert record.tags["label"] == "Small net"


def test_the_settings_are_those_that_are_logged_live(params: Params, paths: Paths, train: Write) -> None:
    train("small")
    record = read_record(params, paths, "small")
    assert record is not None
    assert record.params == settings(params.runs["small"], params.train)


def test_the_digest_follows_the_content_only(
    params: Params, paths: Paths, train: Write, evaluate: Write
) -> None:
    def digest() -> str:
        record = read_record(params, paths, "small")
        assert record is not None
        return record.digest

    train("small")
    trained = digest()
    train("small")
    assert digest() == trained
    evaluate("small", psnr=32.0)
    evaluated = digest()
    evaluate("small", psnr=32.00001)
    better = digest()
    train("small", weights=b"others")
    assert len({trained, evaluated, better, digest()}) == 4


def test_results_of_earlier_weights_are_left_out(
    params: Params, paths: Paths, train: Write, evaluate: Write
) -> None:
    train("small")
    evaluate("small")
    record = read_record(params, paths, "small", trained_only=True)
    assert record is not None
    assert record.metrics == {}
    assert set(record.artifacts) == {"weights.safetensors", "run.json", "history.csv"}


@pytest.mark.parametrize(("evaluated", "stale"), [("aaa.dir", set()), ("bbb.dir", {"small"})])
def test_the_lock_tells_whether_an_evaluation_is_of_these_weights(
    tmp_path: Path, evaluated: str, stale: set[str]
) -> None:
    stages = {
        "train@small": {"outs": [{"path": "demo/models/small", "md5": "aaa.dir"}]},
        "evaluate@small": {
            "deps": [{"path": "demo/models/small", "md5": evaluated}, {"path": "code.py", "md5": "c"}]
        },
    }
    lock = tmp_path / "dvc.lock"
    assert stale_evaluations(lock) == set()
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    assert stale_evaluations(lock) == stale
