"""Runs that are trained elsewhere, in visits, are those of a plain `dvc repro`."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.experiments.repositories import LONGER, RUNS, Repository, clone_project, models, outputs

pytestmark = pytest.mark.slow

# Starts from the weights of a run that is trained in the same bundle.
PARAMS = {
    **LONGER,
    "finetuned": {"warm_x2": {**RUNS["other_x2"], "init_from": "other_x2"}},
}
TARGETS = [*(f"train@{run}" for run in RUNS), "finetune@warm_x2"]
# What the host of a bundle need not have: importing None is an ImportError.
NOT_THERE = ("dvc", "mlflow", "httpx", "tqdm", "typer", "psutil", "beartype", "jaxtyping")
HIDE = f"import sys\nsys.modules.update(dict.fromkeys({NOT_THERE!r}))\n"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Repository, Repository]:
    """A clone with all runs trained by DVC, and one without any."""
    trained = clone_project(tmp_path_factory.mktemp("trained"), repository, PARAMS, RUNS, iterations=300)
    trained.dvc("repro", *TARGETS)
    return trained, clone_project(
        tmp_path_factory.mktemp("untrained"), repository, PARAMS, RUNS, iterations=300
    )


def pack(project: Repository, *options: str) -> str:
    return _tool(project, "pack", "demo", "bundle", *options)


def take(project: Repository, *, status: int = 0) -> str:
    archives = sorted(str(path) for path in (project.root / "out").glob("*.tar"))
    output = _tool(project, "take", "demo", *archives, status=status)
    for archive in archives:
        Path(archive).rename(f"{archive}.taken")
    return output


def _tool(project: Repository, *arguments: str, status: int = 0) -> str:
    return project.run(
        sys.executable, "tools/bundle.py", *arguments, env={"PYTHONPATH": "src"}, status=status
    )


def start_visit(project: Repository, hidden: Path) -> "subprocess.Popen[str]":
    """Train what the bundle holds, with the packages that a bare host has."""
    hidden.mkdir(exist_ok=True)
    (hidden / "sitecustomize.py").write_text(HIDE)
    return project.start(
        sys.executable, "bundle/tools/bundle.py", "train", "out", env={"PYTHONPATH": str(hidden)}
    )


@pytest.mark.parametrize("options", [[], ["--images"]], ids=["packs", "images"])
def test_several_visits_end_with_the_bytes_of_a_repro(
    projects: tuple[Repository, Repository], tmp_path: Path, options: list[str]
) -> None:
    reference, project = projects
    project.run("rm", "-rf", "demo", "bundle", "out", ".checkpoints", "dvc.lock")
    assert "3 runs: alkdnet_x2, other_x2, warm_x2" in pack(project, "--limit", "64", *options)
    assert (project.root / "bundle/demo/patches").is_dir() == (not options)

    # A visit that ends in the middle of the first run.
    visit = start_visit(project, tmp_path / "hidden")
    checkpoints = project.root / "bundle" / ".checkpoints"
    while not list(checkpoints.glob("alkdnet_x2-*.ckpt")):
        assert visit.poll() is None, visit.communicate()[0]
        time.sleep(0.02)
    visit.send_signal(signal.SIGTERM)
    output, _ = visit.communicate()
    assert visit.returncode == 0, output
    assert re.search(r"alkdnet_x2: stopped after \d+ s\nother_x2: not started\nwarm_x2: not started", output)
    assert "to be continued: alkdnet_x2" in take(project)

    # The next one has its checkpoint and does the rest.
    assert "3 runs: alkdnet_x2, other_x2, warm_x2" in pack(project, *options)
    assert list(checkpoints.glob("alkdnet_x2-*.ckpt"))
    visit = start_visit(project, tmp_path / "hidden")
    output, _ = visit.communicate()
    assert visit.returncode == 0, output
    assert "[alkdnet_x2] alkdnet_x2: continued after iteration" in output
    assert "other_x2: finished after" in output
    assert "finished: alkdnet_x2, other_x2, warm_x2" in take(project)

    assert outputs(project) == outputs(reference)
    assert models(project) == models(reference)
    assert "up to date" in project.dvc("status", *TARGETS)
    assert "there is nothing to pack" in pack(project)


def test_results_of_other_code_are_rejected(projects: tuple[Repository, Repository], tmp_path: Path) -> None:
    _, project = projects
    project.run("rm", "-rf", "demo", "bundle", "out", ".checkpoints", "dvc.lock")
    output = _tool(project, "pack", "demo", "bundle", "warm_x2", status=1)
    assert "error: warm_x2 starts from the weights of other_x2, which is not trained: name it too" in output
    pack(project, "other_x2")
    output, _ = start_visit(project, tmp_path / "hidden").communicate()
    assert "other_x2: finished after" in output
    loop = project.root / "src/alkdnet/training/loop.py"
    before = loop.read_text()
    try:
        loop.write_text(before + "\n# another loop\n")
        output = take(project, status=1)
    finally:
        loop.write_text(before)
    assert "other_x2: trained by other code, parameters or data than those of this checkout" in output
    assert outputs(project) == {}
