"""Several runs of a pipeline at once."""

import itertools
import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.experiments.repositories import Repository

pytestmark = pytest.mark.slow


def train_parallel(toy: Repository, repository: Path, *arguments: str, status: int = 0, **env: str) -> str:
    tool = str(repository / "tools" / "train_parallel.py")
    env["PYTHONPATH"] = str(repository / "src")
    return toy.run(sys.executable, tool, *arguments, env=env, status=status)


def log(toy: Repository) -> dict[str, tuple[float, float, str]]:
    """Return begin, end and device of each run."""
    rows = [line.split() for line in (toy.root / "log").read_text().splitlines()]
    return {run: (float(begin), float(end), device) for run, begin, end, device in rows}


def set_seed(toy: Repository, run: str, seed: int) -> None:
    params = yaml.safe_load((toy.root / "params.yaml").read_text())
    params["runs"][run]["seed"] = seed
    (toy.root / "params.yaml").write_text(yaml.safe_dump(params))


def test_runs_overlap_and_the_lock_is_complete(toy: Repository, repository: Path) -> None:
    train_parallel(toy, repository, "-j", "4")
    times = log(toy)
    assert set(times) == {"a", "b", "c", "d"}
    begins, ends = [time[0] for time in times.values()], [time[1] for time in times.values()]
    assert max(ends) - min(begins) < sum(end - begin for begin, end in zip(begins, ends, strict=True))
    assert (toy.root / "report").read_text() == "abcd"
    assert "up to date" in toy.dvc("status")


def test_every_run_gets_a_gpu_of_its_own(toy: Repository, repository: Path) -> None:
    train_parallel(toy, repository, CUDA_VISIBLE_DEVICES="3,5")
    times = log(toy)
    assert {device for _, _, device in times.values()} == {"3", "5"}
    for device in ("3", "5"):
        spans = sorted((begin, end) for begin, end, used in times.values() if used == device)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))


def test_a_run_that_fails_is_named_and_takes_no_other_down(toy: Repository, repository: Path) -> None:
    set_seed(toy, "b", 0)
    output = train_parallel(toy, repository, "-j", "2", status=255)
    assert output.rstrip().splitlines()[-1].startswith("error: failed: b ")
    assert "[b] this run fails" in output
    assert {path.name for path in (toy.root / "results").iterdir()} == {"a", "c", "d"}
    lock = (toy.root / "dvc.lock").read_text()
    assert set(re.findall(r"train@(\w)", lock)) == {"a", "c", "d"}


def test_chosen_runs_only_are_trained_side_by_side(toy: Repository, repository: Path) -> None:
    output = train_parallel(toy, repository, "nonsense", status=1)
    assert "has no run nonsense; it has: a, b, c, d" in output
    output = train_parallel(toy, repository, "-j", "2", "a", "c")
    assert "[a] " in output
    assert "[b] " not in output
    assert "up to date" in toy.dvc("status")


def test_a_run_that_succeeds_in_the_end_is_not_named(toy: Repository, repository: Path) -> None:
    set_seed(toy, "b", 1)
    text = (toy.root / "dvc.yaml").read_text().replace("cat results/* > report", "exit 1")
    (toy.root / "dvc.yaml").write_text(text)
    output = train_parallel(toy, repository, status=255)
    assert "[b] this run fails once" in output
    assert output.rstrip().splitlines()[-1].startswith("error: every run is trained")
    assert {path.name for path in (toy.root / "results").iterdir()} == {"a", "b", "c", "d"}


def test_a_pipeline_in_a_folder_of_its_own(toy: Repository, repository: Path) -> None:
    for name in ("dvc.yaml", "params.yaml", "train.py"):
        (toy.root / "paper").mkdir(exist_ok=True)
        (toy.root / "paper" / name).write_text((toy.root / name).read_text())
    output = train_parallel(toy, repository, "-j", "2", "--pipeline", "paper")
    assert "[d] " in output
    assert (toy.root / "paper" / "report").read_text() == "abcd"
    assert "up to date" in toy.dvc("status", "paper/dvc.yaml")
    # The one beside it was not asked for.
    assert not (toy.root / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "tools/train_parallel.py --pipeline demo"),
        (["N=3", "PIPELINE=paper"], "tools/train_parallel.py --jobs 3 --pipeline paper"),
    ],
)
def test_make_leaves_the_number_to_the_tool_unless_it_is_given(
    repository: Path, arguments: list[str], expected: str
) -> None:
    output = Repository(repository).run("make", "--dry-run", "train-parallel", *arguments)
    assert output.split()[-len(expected.split()) :] == expected.split()
