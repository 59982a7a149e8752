"""Runs that are trained on other hosts are those of a plain `dvc repro`."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Set
from pathlib import Path

import pytest

from alkdnet.results.run import RunRecord
from alkdnet.tracking.location import find_store
from alkdnet.tracking.timings import read_timings
from tests.experiments.repositories import FOREIGN, LONGER, RUNS, Repository, clone_project, models, outputs

pytestmark = pytest.mark.slow

# Starts from the weights of a run that is trained in the same bundle.
PARAMS = {
    **LONGER,
    "finetuned": {"warm_x2": {**RUNS["other_x2"], "init_from": "other_x2"}},
}
TARGETS = [*(f"train@{run}" for run in RUNS), "finetune@warm_x2"]
# What the host of a bundle has: PyTorch with what it needs, NumPy, PyYAML, safetensors; for packs, two more.
THERE = {
    *("torch", "torchgen", "functorch", "filelock", "fsspec", "jinja2", "markupsafe", "mpmath", "networkx"),
    *("setuptools", "sympy", "typing_extensions", "numpy", "yaml", "safetensors", "sitecustomize"),
    *("alkdnet", "stage", "processes"),
}
FOR_IMAGES = {"PIL"}
HIDE = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.partition(".")[0]
        is_there = top in sys.stdlib_module_names or top.startswith("_") or top in THERE
        return super().find_spec(name, path, target) if is_there else None

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Bare]
"""


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


def start_training(
    project: Repository, hidden: Path, *, packages: Set[str] = THERE
) -> "subprocess.Popen[str]":
    """Train what the bundle holds, with the packages that a bare host has."""
    hidden.mkdir(exist_ok=True)
    (hidden / "sitecustomize.py").write_text(f"THERE = {packages!r}\n{HIDE}")
    return project.start(
        sys.executable, "bundle/tools/bundle.py", "train", "out", env={"PYTHONPATH": str(hidden)}
    )


@pytest.mark.parametrize("options", [[], ["--images"]], ids=["packs", "images"])
def test_several_trainings_end_with_the_bytes_of_a_repro(
    projects: tuple[Repository, Repository],
    tmp_path: Path,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference, project = projects
    project.run("rm", "-rf", "demo", "bundle", "out", ".checkpoints", "dvc.lock", "mlflow.db.timings")
    packages = THERE | FOR_IMAGES if options else THERE
    assert "3 runs: alkdnet_x2, other_x2, warm_x2" in pack(project, "--limit", "64", *options)
    assert (project.root / "bundle/demo/patches").is_dir() == (not options)

    # A training that is stopped in the middle of the first run.
    training = start_training(project, tmp_path / "hidden", packages=packages)
    checkpoints = project.root / "bundle/.checkpoints/demo"
    while not list(checkpoints.glob("alkdnet_x2-*.ckpt")):
        assert training.poll() is None, training.communicate()[0]
        time.sleep(0.02)
    training.send_signal(signal.SIGTERM)
    output, _ = training.communicate()
    assert training.returncode == 0, output
    assert re.search(r"alkdnet_x2: stopped after \d+ s\nother_x2: not started\nwarm_x2: not started", output)
    assert "to be continued: alkdnet_x2" in take(project)

    # The next one has its checkpoint and does the rest.
    assert "3 runs: alkdnet_x2, other_x2, warm_x2" in pack(project, *options)
    assert list(checkpoints.glob("alkdnet_x2-*.ckpt"))
    training = start_training(project, tmp_path / "hidden", packages=packages)
    output, _ = training.communicate()
    assert training.returncode == 0, output
    assert "[alkdnet_x2] alkdnet_x2: continued after iteration" in output
    assert "other_x2: finished after" in output
    output = take(project)
    assert "finished: alkdnet_x2, other_x2, warm_x2" in output
    assert re.search(r"MLflow, demo: 3 (created|completed|up to date)", output)

    assert outputs(project) == outputs(reference)
    assert models(project) == models(reference)
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    timings = read_timings(find_store(project.root))
    for run in ("alkdnet_x2", "other_x2", "warm_x2"):
        record = RunRecord.read(project.root / "demo" / "models" / run)
        assert timings[record.weights_sha256].seconds > 0
        assert timings[record.weights_sha256].device == "CPU"
    assert "up to date" in project.dvc("status", *TARGETS)
    assert "there is nothing to pack" in pack(project)


def test_results_of_other_code_are_rejected(projects: tuple[Repository, Repository], tmp_path: Path) -> None:
    _, project = projects
    project.run("rm", "-rf", "demo", "bundle", "out", ".checkpoints", "dvc.lock")
    output = _tool(project, "pack", "demo", "bundle", "warm_x2", status=1)
    assert "error: warm_x2 starts from the weights of other_x2, which is not trained: name it too" in output
    pack(project, "other_x2")
    output, _ = start_training(project, tmp_path / "hidden").communicate()
    assert "other_x2: finished after" in output
    loop = project.root / "src/alkdnet/training/loop.py"
    before = loop.read_text()
    try:
        loop.write_text(before + "\n# another loop\n")
        output = take(project, status=1)
    finally:
        loop.write_text(before)
    assert "other_x2: trained with other code, parameters or data than this checkout has" in output
    assert outputs(project) == {}
