"""What a change marks as out of date, asked of DVC: what decides a number apart from what surrounds it."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import yaml

from alkdnet.config.params import Recipe, Report
from alkdnet.training.runtime.identity import DECIDING
from tests.experiments.repositories import Repository

pytestmark = pytest.mark.slow
# Makes every output of every stage, and nothing in it.
FABRICATE = """
from pathlib import Path
from dvc.repo import Repo
for out in Repo().index.outs:
    path = Path(out.fs_path)
    if path.suffix or path.name in ("ok", "checked"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path.name))
    else:
        path.mkdir(parents=True, exist_ok=True)
        (path / "content").write_text(str(path.name))
for model in Path("demo/models").iterdir():
    (model / "weights.safetensors").write_text(model.name)
for name in ("hr", "x2", "x3", "x4"):
    Path("demo/patches", name).mkdir(exist_ok=True)
    Path("demo/patches", name, "index.json").write_text("{}")
for use in ("train", "test"):
    for source in Path("demo/raw", use).iterdir():
        if source.is_dir():
            Path("demo/checked", use, source.name + ".json").write_text("{}")
            for scale in (2, 3, 4):
                Path("demo/lr", use, source.name, f"x{scale}").mkdir(exist_ok=True)
                Path("demo/lr", use, source.name, f"x{scale}", "a.png").write_text("")
"""


@pytest.fixture(scope="module")
def recorded(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The demo with a second recipe and a run that starts from another, in a repository of its own."""
    root = tmp_path_factory.mktemp("recorded")
    for name in (
        *("src", "pipeline", "reports/efficiency"),
        *("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"),
    ):
        source = repository / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copyfile(source, root / name)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["recipes"]["other"] = {**params["recipes"]["paper"], "ema_decay": 0.99}
    params["runs"]["abrl_x2"]["recipe"] = "other"
    params["finetuned"]["warm_x2"] = {
        **params["runs"]["alkdnet_x2"],
        "recipe": "other",
        "init_from": "alkdnet_x2",
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    project = Repository(root)
    project.git("init", "--quiet")
    project.dvc("init", "--quiet")
    project.run("python", "-c", FABRICATE)
    project.dvc("commit", "--force")
    project.commit("Recorded")
    assert _marked(project) == set()
    return project


@pytest.fixture
def edited(recorded: Repository) -> Iterable[Callable[..., set[str]]]:
    """Edit files of the repository, and return the stages that are out of date then."""

    def edit(*files: str, **sections: object) -> set[str]:
        for file in files:
            with (recorded.root / file).open("a") as text:
                text.write("\n# edited\n")
        path = recorded.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, change in sections.items():
            params[section] |= change
        if sections:
            path.write_text(yaml.safe_dump(params, sort_keys=False))
        return _marked(recorded)

    yield edit
    recorded.git("checkout", "--quiet", ".")
    recorded.git("clean", "--quiet", "--force", "src")


def _marked(project: Repository) -> set[str]:
    return set(json.loads(project.dvc("status", "--json").strip().splitlines()[-1]))


def _trainings(marked: set[str]) -> set[str]:
    return {name for name in marked if name.startswith(("train@", "finetune@"))}


def _runs(recorded: Repository) -> dict[str, dict]:
    return yaml.safe_load((recorded.root / "params.yaml").read_text())["runs"]


def test_no_surrounding_module_marks_a_training(recorded: Repository, edited: Callable) -> None:
    """All of them at once: everything in src/ and pipeline/ that is no deciding file and no network."""
    package = recorded.root / "src" / "alkdnet"
    deciding = {
        file
        for name in (*DECIDING, "networks")
        for file in ((package / name).rglob("*.py") if (package / name).is_dir() else [package / name])
    }
    surrounding = [
        str(file.relative_to(recorded.root))
        for folder in (package, recorded.root / "pipeline")
        for file in folder.rglob("*.py")
        if file not in deciding
    ]
    assert len(surrounding) > 60
    assert _trainings(edited(*surrounding)) == set()


@pytest.mark.parametrize("name", DECIDING)
def test_every_deciding_module_marks_all_trainings(recorded: Repository, edited: Callable, name: str) -> None:
    path = f"src/alkdnet/{name}"
    if (recorded.root / path).is_dir():
        path = str(sorted((recorded.root / path).glob("*.py"))[-1].relative_to(recorded.root))
    assert _trainings(edited(path)) == {f"train@{run}" for run in _runs(recorded)} | {"finetune@warm_x2"}


@pytest.mark.parametrize("network", ["alkdnet", "bsrn"])
def test_a_network_marks_its_own_runs(recorded: Repository, edited: Callable, network: str) -> None:
    expected = {f"train@{name}" for name, row in _runs(recorded).items() if row["network"] == network}
    expected |= {"finetune@warm_x2"} if network == "alkdnet" else set()
    assert _trainings(edited(f"src/alkdnet/networks/{network}.py")) == expected


def test_execution_marks_nothing(edited: Callable) -> None:
    changed = {"device": "cpu", "compile": True, "threads": 7, "processes": 2, "checkpoint_interval": 3}
    assert edited(execution=changed) == set()


@pytest.mark.parametrize("key", [field.name for field in dataclasses.fields(Report)])
def test_the_report_marks_no_training(edited: Callable, key: str) -> None:
    assert edited(report={key: "edited"}) == {"check", "report"}


@pytest.mark.parametrize("key", ["log_interval", "validation_interval"])
def test_the_history_marks_all_trainings(recorded: Repository, edited: Callable, key: str) -> None:
    marked = edited(history={key: 7})
    assert _trainings(marked) == {f"train@{run}" for run in _runs(recorded)} | {"finetune@warm_x2"}


@pytest.mark.parametrize("key", [field.name for field in dataclasses.fields(Recipe)])
def test_a_recipe_marks_the_runs_that_use_it_and_no_other(
    recorded: Repository, edited: Callable, key: str
) -> None:
    recipes = yaml.safe_load((recorded.root / "params.yaml").read_text())["recipes"]
    marked = edited(recipes={"paper": {**recipes["paper"], key: "edited"}})
    own = {f"train@{name}" for name, row in _runs(recorded).items() if row["recipe"] == "paper"}
    assert _trainings(marked) == own
    assert not {name for name in marked if name.startswith(("downscale", "patches", "evaluate"))}


def test_another_recipe_marks_its_own_runs(recorded: Repository, edited: Callable) -> None:
    recipes = yaml.safe_load((recorded.root / "params.yaml").read_text())["recipes"]
    marked = edited(recipes={"other": {**recipes["other"], "clip_norm": 1.0}})
    assert _trainings(marked) == {"train@abrl_x2", "finetune@warm_x2"}


def test_the_weights_it_starts_from_mark_a_run(recorded: Repository, edited: Callable) -> None:
    weights = recorded.root / "demo/models/alkdnet_x2/weights.safetensors"
    before = weights.read_text()
    try:
        weights.write_text("other weights")
        assert _trainings(edited()) == {"train@alkdnet_x2", "finetune@warm_x2"}
    finally:
        weights.write_text(before)


def test_only_a_run_that_starts_from_another_depends_on_its_training(recorded: Repository) -> None:
    dag = recorded.dvc("dag", "--dot")
    start = [line for line in dag.splitlines() if '"finetune@warm_x2"' in line.partition("->")[2]]
    assert [line for line in start if '"train@' in line] == [
        line for line in start if '"train@alkdnet_x2"' in line
    ]
    assert any('"train@alkdnet_x2"' in line for line in start)
    into_trainings = [line for line in dag.splitlines() if '"train@' in line.partition("->")[2]]
    assert not any('"train@' in line.partition("->")[0] for line in into_trainings)


def test_a_row_marks_itself(edited: Callable) -> None:
    marked = edited(
        runs={"kernel7_x2": {"network": "bsrn", "scale": 2, "recipe": "paper", "blocks": 2, "channels": 16}}
    )
    assert marked == {"check", "complexity", "report", "train@kernel7_x2"}


def test_a_new_run_and_a_rival_mark_themselves(edited: Callable) -> None:
    marked = edited(
        runs={"mine_x2": {"network": "imdn", "scale": 2, "recipe": "paper"}},
        released={"imdn_x2": {"network": "imdn", "scale": 2, "source": "imdn_x2"}},
    )
    own = {"train@mine_x2", "evaluate@mine_x2", "features@mine_x2"}
    own |= {f"{stage}@imdn_x2" for stage in ("download_weights", "import_weights", "evaluate_released")}
    assert marked - own == {"check", "complexity", "features_released@imdn_x2", "report"}
    assert own <= marked


def test_a_new_network_marks_what_looks_at_all_networks(recorded: Repository, edited: Callable) -> None:
    (recorded.root / "src/alkdnet/networks/mine.py").write_text("NETWORK = None\n")
    assert edited() == {"check", "complexity"}


def test_a_new_test_set_marks_itself_and_then_the_evaluations(recorded: Repository, edited: Callable) -> None:
    marked = edited(datasets={"set5": {"use": "test", "source": "set5"}})
    validation = {f"validation@{scale}" for scale in (2, 3, 4)}
    assert marked == {"check", "report", "download@set5", "downscale@set5"} | validation
    for folder in ("raw/test/set5", "lr/test/set5/x2"):
        (recorded.root / "demo" / folder).mkdir(parents=True)
        (recorded.root / "demo" / folder / "a.png").write_text("")
    try:
        marked = edited()
    finally:
        shutil.rmtree(recorded.root / "demo/raw/test/set5")
        shutil.rmtree(recorded.root / "demo/lr/test/set5")
    assert {"leakage", "evaluate@bsrn_x2", "evaluate_bicubic@2", "features@bsrn_x2"} <= marked
    assert not {name for name in marked if name.startswith(("train@", "patches"))}


def test_a_set_that_is_gone_marks_what_reads_the_folder_of_sets(
    recorded: Repository, edited: Callable
) -> None:
    """DVC leaves its images there."""
    descriptor = recorded.root / "demo/checked/train/embedded_train.json"
    content = descriptor.read_text()
    try:
        descriptor.unlink()
        assert {"leakage", "patches"} <= edited()
    finally:
        descriptor.write_text(content)
