"""This very project, cloned and shrunk to a minute: what people do with it, done as they do it.

The tests of a module share the clone: each leaves its workspace as it was committed.
"""

import csv
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.experiments.repositories import PARAMS, RUNS, TINY, Repository, clone_project

if TYPE_CHECKING:
    from mlflow.entities import Run

pytestmark = [
    pytest.mark.slow,
    # MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

ROWS = {*RUNS, "bicubic_x2"}
RECIPE = "src/alkdnet/training/losses.py"
# The columns that docs/experiments.md leaves in `dvc exp show`.
COLUMNS = "(?!Exp|.*(runs|recipe|psnr))"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Repository:
    """A clone of this repository, code as it is on disk, with two tiny runs, reproduced and committed."""
    clone = clone_project(tmp_path_factory.mktemp("project"), repository, PARAMS, RUNS)
    clone.dvc("repro")
    clone.commit("Shrink the demo")
    return clone


@pytest.fixture(autouse=True)
def _as_committed(project: Repository) -> None:
    """Begin with the committed parameters and results."""
    drop(project)


def drop(project: Repository) -> None:
    """Go back to the last commit, as docs/experiments.md says."""
    project.git("restore", ".")
    project.git("clean", "-fdq")
    project.dvc("checkout", "--quiet", "dvc.yaml")
    for folder in (project.root / "demo" / "models").iterdir():
        if folder.name not in RUNS:
            shutil.rmtree(folder)


def ran(output: str) -> set[str]:
    """Return the stages that a command ran."""
    prefix = "Running stage '"
    lines = [line.split(prefix)[1].rstrip("':") for line in output.splitlines() if prefix in line]
    return {line.rpartition(":")[2] for line in lines}


def tracked(project: Repository, store: str = "mlflow.db") -> "list[Run]":
    """Return the runs in an MLflow store of the project, without the parents."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project.root}/{store}")
    experiment = client.get_experiment_by_name("alkdnet-demo")
    assert experiment is not None
    return [run for run in client.search_runs([experiment.experiment_id]) if "run" in run.data.tags]


def _changed_outs(changes: list[Any]) -> list[dict[str, str]]:
    """Return the changed outputs of a stage as `dvc status --json` has them: what happened, by path."""
    return [entry["changed outs"] for entry in changes if "changed outs" in entry]


def test_after_repro_mlflow_shows_every_run(project: Repository) -> None:
    runs = {run.info.run_name: run for run in tracked(project) if run.data.tags["experiment"] == "workspace"}
    assert set(runs) == ROWS
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert all("embedded_test/psnr" in run.data.metrics for run in runs.values())
    assert runs["alkdnet_x2"].data.params["kernel_size"] == "9"
    before = (project.root / "mlflow.db").read_bytes()
    output = project.run(sys.executable, "tools/mlflow_sync.py", "demo", env={"PYTHONPATH": "src"})
    assert "demo: 3 up to date" in output
    assert (project.root / "mlflow.db").read_bytes() == before


def test_changing_one_number_trains_one_run(project: Repository) -> None:
    output = project.dvc("exp", "run", "-n", "kernel7", "-S", "+runs.alkdnet_x2.kernel_size=7", "dvc.yaml")
    assert {stage for stage in ran(output) if stage.startswith(("train", "evaluate"))} == {
        "train@alkdnet_x2",
        "evaluate@alkdnet_x2",
    }
    (run,) = [run for run in tracked(project) if run.data.tags["experiment"] == "kernel7"]
    assert (run.info.run_name, run.data.params["kernel_size"]) == ("alkdnet_x2", "7")
    assert "embedded_test/psnr" in run.data.metrics
    table = project.dvc("exp", "show", "--md", "--only-changed", "--drop", COLUMNS)
    assert len(table.splitlines()[0].split("|")) == 5, table  # three columns
    assert "kernel7" in table
    # Back, and nothing is computed again.
    drop(project)
    assert not ran(project.dvc("repro"))


def test_a_run_is_added_without_editing_a_file(project: Repository) -> None:
    row = "{network: imdn, scale: 2, recipe: paper, blocks: 1, channels: 8}"
    output = project.dvc("exp", "run", "-n", "mine", "-S", f"+runs.mine={row}", "evaluate@mine")
    assert ran(output) == {"check", "train@mine", "evaluate@mine"}
    assert any(run.info.run_name == "mine" for run in tracked(project))
    drop(project)
    assert not ran(project.dvc("repro"))


def test_a_misspelt_key_is_rejected_before_anything_runs(project: Repository) -> None:
    output = project.dvc("exp", "run", "-S", "+runs.alkdnet_x2.kernel=7", status=None)
    assert ran(output) == {"check"}
    assert "has no option 'kernel'" in output
    assert (project.root / "demo/models/alkdnet_x2/weights.safetensors").is_file()


def test_the_paper_pipeline_is_shortened_from_the_command_line(project: Repository, tmp_path: Path) -> None:
    """With other data, fewer runs and few iterations, as docs/experiments.md shows it."""
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        pixels = generator.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    sets = (
        f"{{photos: {{use: train, source: folder, path: {tmp_path}/photos}},"
        " embedded_test: {use: test, source: embedded_test}}"
    )
    row = "{network: alkdnet, scale: 2, recipe: paper, blocks: 1, channels: 8}"
    changes = [
        *("~datasets", f"+datasets={sets}"),
        *("~runs", f"+runs={{alkdnet_x2: {row}, other_x2: {row}}}"),
        "downscale.scales=[2]",
        "history.validation_sets=[embedded_test]",
        *(
            "recipes.paper.iterations=20",
            "recipes.paper.precision=float32",
            "recipes.paper.batch_size=2",
            "recipes.paper.patch_size=12",
            "execution.threads=1",
        ),
        *("features.maps_set=embedded_test", "features.maps_image=chelsea"),
    ]

    options = [word for change in changes for word in ("-S", f"paper/params.yaml:{change}")]
    stages = ran(project.dvc("exp", "run", "--temp", "-n", "short", *options, "paper/dvc.yaml"))
    assert {stage for stage in stages if stage.startswith(("train@", "evaluate@"))} == {
        f"{stage}@{run}" for stage in ("train", "evaluate") for run in ("alkdnet_x2", "other_x2")
    }
    assert {"download@photos", "download@embedded_test", "features@alkdnet_x2", "report"} < stages
    assert project.git("status", "--porcelain") == ""
    project.dvc("exp", "apply", "short", status=None)
    scores = json.loads((project.root / "paper/results/evaluation/alkdnet_x2/scores.json").read_text())
    assert scores["embedded_test"]["psnr"] > 0
    # From there on, one change is one run, as ever.
    evaluations = [f"paper/dvc.yaml:evaluate@{run}" for run in ("alkdnet_x2", "other_x2")]
    change = "paper/params.yaml:+runs.alkdnet_x2.kernel_size=5"
    stages = ran(project.dvc("exp", "run", "-n", "short5", "-S", change, *evaluations))
    assert stages == {"check", "train@alkdnet_x2", "evaluate@alkdnet_x2"}


def test_a_temporary_experiment_leaves_the_workspace_and_keeps_its_run(project: Repository) -> None:
    before = (project.root / "demo/models/other_x2/weights.safetensors").read_bytes()
    # Its code is that of the workspace when it was started, committed or not.
    with (project.root / RECIPE).open("a") as code:
        code.write('\nprint("as on disk")\n')
    output = project.dvc(
        *("exp", "run", "--temp", "-n", "temp5"),
        *("-S", "runs.other_x2.kernel_size=5", "evaluate@other_x2"),
    )
    assert "train@other_x2" in ran(output)
    assert "as on disk" in output
    assert (project.root / "demo/models/other_x2/weights.safetensors").read_bytes() == before
    assert project.git("status", "--porcelain") == f" M {RECIPE}\n"
    (run,) = [run for run in tracked(project) if run.data.tags["experiment"] == "temp5"]
    assert run.data.params["kernel_size"] == "5"
    # It applies, and then complains of the pipelines that never ran.
    drop(project)
    project.dvc("exp", "apply", "temp5", status=None)
    assert (project.root / "demo/models/other_x2/weights.safetensors").read_bytes() != before
    assert not ran(project.dvc("repro", "evaluate@other_x2"))
    # What it trained is known already: the sync adds the outputs to its run.
    sync = (sys.executable, "tools/mlflow_sync.py", "demo")
    assert "demo: 1 completed, 2 up to date" in project.run(*sync, env={"PYTHONPATH": "src"})
    artifacts = project.root / "mlartifacts" / run.info.run_id / "artifacts"
    assert (artifacts / "weights.safetensors").is_file()


def test_a_sweep_in_the_queue_ends_in_a_table(project: Repository) -> None:
    """On a machine whose MLflow store does not exist yet."""
    rates = "recipes.paper.learning_rate=1e-2,1e-3,3e-4"
    # An experiment runs the code that was there when it was queued.
    code = project.root / RECIPE
    committed = code.read_text()
    code.write_text(committed + '\nprint("as it was queued")\n')
    project.dvc("exp", "run", "--queue", "-n", "rate", "-S", rates, "evaluate@alkdnet_x2")
    code.write_text(committed + '\nprint("as it is now")\n')
    # The project has a store from the other tests: the workers are to use another.
    store = "mlflow.db.sweep"
    project.dvc("queue", "start", "-j", "2", env={"MLFLOW_TRACKING_URI": f"sqlite:///{store}"})
    deadline = time.monotonic() + 400
    while "Running" in (status := project.dvc("queue", "status")) or "Queued" in status:
        assert time.monotonic() < deadline, status
        time.sleep(2)
    assert status.count("Success") == 3, status
    log = project.dvc("queue", "logs", "rate-1")
    assert ("as it was queued" in log, "as it is now" in log) == (True, False)
    runs = tracked(project, store)
    assert {run.data.tags["experiment"] for run in runs} == {f"rate-{i}" for i in range(1, 4)}
    assert len({run.data.params["recipe.learning_rate"] for run in runs}) == 3
    assert {run.info.status for run in runs} == {"FINISHED"}
    project.dvc("queue", "stop")
    table = project.dvc("exp", "show", "--csv", "--only-changed", "--drop", COLUMNS)
    rows = [row for row in csv.DictReader(table.splitlines()) if row["Experiment"].startswith("rate-")]
    (rate,) = [name for name in rows[0] if name.endswith("recipes.paper.learning_rate")]
    (psnr,) = [name for name in rows[0] if name.endswith("alkdnet_x2/scores.json:embedded_test.psnr")]
    assert len({row[rate] for row in rows}) == 3
    assert all(float(row[psnr]) > 0 for row in rows)
    # The experiments' runs are in the cache: the workspace takes them from there without training.
    drop(project)
    project.dvc("exp", "apply", "rate-1", status=None)
    assert not ran(project.dvc("repro", "evaluate@alkdnet_x2"))


def test_an_untracked_network_does_not_reach_a_temporary_experiment(project: Repository) -> None:
    """DVC carries what git knows of: `git add` is enough."""
    network = project.root / "src/alkdnet/networks/mine.py"
    shutil.copyfile(network.with_name("fsrcnn.py"), network)
    command = (
        "exp",
        "run",
        "--temp",
        "-S",
        "+runs.mine={network: mine, scale: 2, recipe: paper}",
        "evaluate@mine",
    )
    output = project.dvc(*command, status=None)
    assert "there is no network 'mine'" in output
    assert "`git add`" in output
    project.git("add", str(network))
    assert "evaluate@mine" in ran(project.dvc(*command))
    project.git("reset", "--quiet")


def test_an_experiment_is_dropped_where_the_committed_digests_are_foreign(project: Repository) -> None:
    """A machine that rounds otherwise: its models are in no lock file until it commits a baseline."""
    models = project.root / "demo" / "models"
    before = {run: (models / run / "weights.safetensors").read_bytes() for run in RUNS}
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    for name, stage in lock["stages"].items():
        if name.startswith("train@"):
            for out in stage["outs"]:
                out["md5"] = "0" * 32 + ".dir"
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    project.commit("Results of another machine")
    # As in a clone there: neither the models nor a record of trainings.
    shutil.rmtree(models)
    shutil.rmtree(project.root / ".dvc/cache/runs")
    shutil.rmtree(project.root / ".checkpoints")
    assert {f"train@{run}" for run in RUNS} <= ran(project.dvc("repro"))
    project.git("add", "demo", "reports", "dvc.lock")
    project.git("commit", "--quiet", "--message", "Baseline of this machine")
    target = "evaluate@alkdnet_x2"
    project.dvc("exp", "run", "-n", "dropped", "-S", "+runs.alkdnet_x2.kernel_size=5", target)
    output = project.git("restore", ".") + project.git("clean", "-fdq", "demo/results", "reports")
    output += project.dvc("checkout", "dvc.yaml")
    assert "failed" not in output
    assert {run: (models / run / "weights.safetensors").read_bytes() for run in RUNS} == before
    assert not ran(project.dvc("repro"))


def test_a_killed_experiment_resumes_as_the_same_run(project: Repository) -> None:
    command = [
        sys.executable,
        "-m",
        "dvc",
        "exp",
        "run",
        "-n",
        "long",
        "-S",
        "recipes.paper.iterations=2000",
        "train@other_x2",
    ]
    process = project.start(*command)
    deadline = time.monotonic() + 200
    store = project.root / "mlflow.db"

    def logged() -> int:
        with sqlite3.connect(store, timeout=20) as connection:
            query = "select count(*) from metrics where key = 'loss' and step > 3 and run_uuid in (?)"
            found = connection.execute(
                "select run_uuid from tags where key = 'experiment' and value = 'long'"
            ).fetchone()
            return connection.execute(query, found).fetchone()[0] if found else 0

    while logged() < 5 or not list((project.root / ".checkpoints/demo").glob("other_x2*.ckpt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    cleaned = project.run(sys.executable, "tools/clean_stale.py", env={"PYTHONPATH": "src"})
    assert "MLflow: demo, other_x2: its process is dead, set to KILLED" in cleaned
    output = project.run(*command)
    assert "continued after iteration" in output
    (run,) = [run for run in tracked(project) if run.data.tags["experiment"] == "long"]
    assert run.info.status == "FINISHED"
    # Rows that were logged before the kill but not yet written come from the outputs.
    project.run(sys.executable, "tools/mlflow_sync.py", "demo", env={"PYTHONPATH": "src"})
    with sqlite3.connect(store) as connection:
        steps = [
            step
            for (step,) in connection.execute(
                "select step from metrics where key = 'loss' and run_uuid = ?", (run.info.run_id,)
            )
        ]
    assert sorted(steps) == list(range(5, 2001, 5))


def test_a_clone_pulls_from_a_remote_and_computes_nothing(project: Repository, tmp_path: Path) -> None:
    project.dvc("remote", "add", "--local", "--default", "shelf", str(tmp_path / "shelf"))
    project.dvc("push", "--quiet", "dvc.yaml")
    Repository(tmp_path).git("clone", "--quiet", str(project.root), "fresh")
    fresh = Repository(tmp_path / "fresh")
    # Without the remote it can be said beforehand what is missing and would have to be computed again: all
    # stages but those whose outputs are in git.
    assert not ran(fresh.dvc("repro", "--dry", "--allow-missing", "dvc.yaml"))
    status = json.loads(fresh.dvc("status", "--json", "dvc.yaml"))
    missing = {
        stage
        for stage, changes in status.items()
        if any("not in cache" in outs.values() for outs in _changed_outs(changes))
    }
    sets = ("embedded_train", "embedded_test")
    assert missing == {
        *("check", "patches", "validation@2"),
        *(f"{stage}@{name}" for stage in ("download", "downscale") for name in sets),
        *(f"train@{run}" for run in RUNS),
    }
    fresh.dvc("remote", "add", "--local", "--default", "shelf", str(tmp_path / "shelf"))
    fresh.dvc("pull", "--quiet", "dvc.yaml")
    assert not ran(fresh.dvc("repro"))
    assert fresh.git("status", "--porcelain") == ""
    output = fresh.run(sys.executable, "tools/mlflow_sync.py", "demo", env={"PYTHONPATH": "src"})
    assert "demo: 3 created" in output
    assert all("embedded_test/psnr" in run.data.metrics for run in tracked(fresh))


def test_a_key_that_is_a_path_deletes_nothing(project: Repository) -> None:
    photograph = project.root / "photos" / "a.png"
    photograph.parent.mkdir()
    photograph.write_bytes(b"precious")
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params["runs"]["../../../photos"] = TINY
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    output = project.dvc("repro", "--force", "--single-item", "features@../../../photos", status=255)
    assert "runs.../../../photos: a name has 1 to 100 letters" in output
    project.dvc("repro", status=255)
    assert photograph.read_bytes() == b"precious"
