"""What a person sees who types `make ui`: MLflow's own page, in a browser without a window."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.tracking import sync
from tests.tracking.fabricated import TEST_SET

pytestmark = [
    pytest.mark.slow,
    # MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

Write = Callable[..., None]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser() -> str:
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    pytest.skip(f"no browser: none of {', '.join(BROWSERS)}")


@pytest.fixture
def addresses(
    database: Path,
    project: Path,
    repository: Path,
    params: Params,
    paths: Paths,
    train: Write,
    evaluate: Write,
) -> Iterator[dict[str, str]]:
    """The addresses that tools/mlflow_ui.py prints for a pipeline of two runs."""
    for run, psnr in (("small", 31.25), ("wide", 32.5)):
        train(run)
        evaluate(run, psnr=psnr)
    sync(params, paths, project)
    with subprocess.Popen(
        [sys.executable, str(repository / "tools" / "mlflow_ui.py"), "--port", "5600"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(repository / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            lines = (line for line in server.stdout if line.startswith("demo"))
            yield dict(line.strip().split(": ") for line in islice(lines, 2))
        finally:
            server.terminate()


def page(browser: str, address: str, folder: Path) -> str:
    """Return the elements of a page after its scripts have run."""
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]
    options = ["--window-size=2600,4000", "--virtual-time-budget=60000", "--dump-dom", address]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=240, check=True)
    return done.stdout


def text(elements: str) -> str:
    return re.sub(r"<[^>]+>", "\n", elements)


def test_the_page_shows_the_runs_with_the_columns_to_compare(
    browser: str, addresses: dict[str, str], tmp_path: Path, params: Params
) -> None:
    seen = text(page(browser, addresses["demo"], tmp_path / "browser"))
    for expected in (
        "Model training",
        "Small net",
        "wide",
        "workspace",
        f"{TEST_SET}/psnr",
        "31.25",
        "32.5",
        "0.912",
        "kernel_size",
        "1000",
    ):
        assert expected in seen, f"{expected} is not on the page"
    assert params.report.title in seen


def test_the_charts_are_of_one_scale(browser: str, addresses: dict[str, str], tmp_path: Path) -> None:
    seen = text(page(browser, addresses["demo, charts"], tmp_path / "browser"))
    for expected in ("Model training", "multi_adds", f"{TEST_SET}/psnr", "validation_psnr", "loss"):
        assert expected in seen, f"{expected} is not among the charts"
    assert seen.index("multi_adds") < seen.index("learning_rate"), "the view's own charts come first"


def test_a_run_has_curves_tags_and_samples(
    browser: str, addresses: dict[str, str], tmp_path: Path, project: Path
) -> None:
    from mlflow import MlflowClient

    folder, address = tmp_path / "browser", addresses["demo"]
    experiment = re.search(r"experiments/(\d+)", address)
    assert experiment is not None
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    (run,) = client.search_runs([experiment[1]], "tags.run = 'wide'")
    own = f"{address.partition('/runs?')[0]}/runs/{run.info.run_id}"
    seen = text(page(browser, own, folder))
    for expected in ("weights_sha256", run.data.tags["weights_sha256"], "experiment", ": workspace"):
        assert expected in seen, f"{expected} is not on the page of the run"
    assert "alkdnet ×2" in seen
    assert "embedded_train" in seen
    sample = f"crops/{TEST_SET}_cat.png"
    assert f'<img alt="{sample}"' in page(browser, f"{own}/artifacts/{sample}", folder)
