"""What the outputs say of a row."""

import inspect
from collections.abc import Callable

import pytest

from alkdnet.config.params import Params, Run
from alkdnet.config.paths import Paths
from alkdnet.networks import network_class, network_names
from alkdnet.results.costs import Cost, write_costs
from alkdnet.tracking.record import Input, Record, read_records
from alkdnet.tracking.settings import default_options, settings, training_settings
from tests.tracking.fabricated import HISTORY, TEST_SET

Write = Callable[..., None]
Read = Callable[[], dict[str, Record]]


@pytest.fixture
def read(params: Params, paths: Paths) -> Read:
    return lambda: {record.row: record for record in read_records(params, paths)}


def test_a_row_without_outputs_has_no_record(read: Read) -> None:
    assert read() == {}


def test_the_record_holds_everything(read: Read, train: Write, evaluate: Write) -> None:
    train("small")
    evaluate("small", psnr=32.504321)
    (record,) = read().values()
    assert record.params["channels"] == "8"
    assert record.params["recipe.learning_rate"] == "0.002"
    assert record.params["evaluate.channel"] == "y"
    points = {(point.key, point.iteration): point.value for point in record.points}
    figures = {key: value for (key, iteration), value in points.items() if not iteration}
    assert figures == {
        f"{TEST_SET}/psnr": 32.5,
        f"{TEST_SET}/ssim": 0.9124,
        "parameters": 1000,
        "multi_adds": 2000,
        "multi_adds_convolutions": 1900,
        "activations": 7,
    }
    assert points[("validation_psnr", 300)] == 30.5
    assert {key for key, iteration in points if iteration} == {"loss", "learning_rate", "validation_psnr"}
    assert len(points) == 2 * len(HISTORY) + 1 + len(figures)
    assert set(record.artifacts) == {
        "weights.safetensors",
        "run.json",
        "history.csv",
        "evaluation/scores.json",
        "evaluation/images.csv",
        "evaluation/record.json",
        f"crops/{TEST_SET}_cat.png",
    }
    training, test = record.inputs
    assert training == Input("embedded_train", "d" * 64, "training")
    assert (test.name, test.context) == (TEST_SET, "testing")
    assert "Small net" in record.description
    assert record.tags["label"] == "Small net"


def test_damaged_outputs_cost_their_row_only(
    paths: Paths, read: Read, train: Write, evaluate: Write, caplog: pytest.LogCaptureFixture
) -> None:
    for row in ("small", "wide"):
        train(row)
        evaluate(row)
    (paths.evaluation("small") / "scores.json").write_text("{")
    assert list(read()) == ["wide"]
    assert "MLflow does not show small: demo/results/evaluation/small/scores.json: not JSON" in caplog.text


def test_an_interpolation_is_known_by_its_scores(read: Read, evaluate: Write) -> None:
    evaluate("bicubic_x2", psnr=28.0)
    (record,) = read().values()
    assert record.row == "bicubic_x2"
    assert (record.params["kernel_size"], record.params["border"]) == ("-", "replicate")
    assert "weights_sha256" not in record.tags
    assert {point.value for point in record.points if point.key == f"{TEST_SET}/psnr"} == {28.0}


def test_the_settings_are_those_that_are_logged_live(params: Params, read: Read, train: Write) -> None:
    train("small")
    row = params.runs["small"]
    shown = settings(row) | training_settings(row, row.seed, params.recipe_of("small"))
    assert read()["small"].params == shown
    assert all(shown.values())


@pytest.mark.parametrize("network", network_names())
def test_options_have_the_defaults_of_the_constructor(network: str) -> None:
    parameters = inspect.signature(network_class(network)).parameters
    assert default_options(network) == {
        name: option.default for name, option in parameters.items() if option.default is not option.empty
    }


def test_the_kernel_size_is_the_one_that_is_computed_with() -> None:
    for network, options, shown in (
        ("bsrn", {}, "3"),
        ("bsrn", {"convolution": "alkconv"}, "9"),
        ("alkdnet", {"kernel_size": 7}, "7"),
    ):
        assert (
            settings(Run(network=network, scale=2, recipe="paper", options=options))["kernel_size"] == shown
        )


def test_the_digest_follows_the_content_only(read: Read, train: Write, evaluate: Write) -> None:
    train("small")
    trained = read()["small"].digest
    train("small")
    assert read()["small"].digest == trained
    evaluate("small", psnr=32.0)
    evaluated = read()["small"].digest
    evaluate("small", psnr=32.00001)
    better = read()["small"].digest
    train("small", weights=b"others")
    assert len({trained, evaluated, better, read()["small"].digest}) == 4


def test_results_of_earlier_weights_are_left_out(
    paths: Paths, read: Read, train: Write, evaluate: Write
) -> None:
    train("small")
    evaluate("small")
    other = Cost(parameters=7, multi_adds=1, multi_adds_convolutions=1, activations=1)
    write_costs(paths.complexity, {"small": other})
    train("small", weights=b"others")
    record = read()["small"]
    assert not [point for point in record.points if not point.iteration]
    assert set(record.artifacts) == {"weights.safetensors", "run.json", "history.csv"}
