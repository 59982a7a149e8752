"""What determines a run: all of it changes the identity, and nothing else does."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alkdnet.config.params import History, Recipe, Run
from alkdnet.training.runtime import identity
from alkdnet.training.runtime.identity import DECIDING, run_identity, source_files
from tests.test_policy import DVC, ROOT, _closure, _file
from tests.training.trainer import RECIPE, RECORDED, RUN, validation_pair

CHANGES: dict[str, Callable[[Run], Run]] = {
    "network": lambda run: dataclasses.replace(run, network="bsrn"),
    "scale": lambda run: dataclasses.replace(run, scale=3),
    "seed": lambda run: dataclasses.replace(run, seed=4),
    "options": lambda run: dataclasses.replace(run, options={**run.options, "blocks": 2}),
}


def of(
    run: Run = RUN,
    recipe: Recipe = RECIPE,
    history: History = RECORDED,
    data: str = "d",
    first: int = 0,
    start: Path | None = None,
) -> str:
    lr_HWC, hr_HWC = validation_pair()
    hr_HWC[0, 0, 0] = first
    return run_identity(run, recipe, history, data=data, validation=[(lr_HWC, hr_HWC)], start=start)


def changed(value: object) -> object:
    return {"float32": "tf32", "cpu": "cuda"}.get(value, "other") if isinstance(value, str) else not value


@pytest.mark.parametrize("name", CHANGES)
def test_every_part_of_the_row_counts(name: str) -> None:
    assert of(CHANGES[name](RUN)) != of()


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Recipe)])
def test_every_key_of_the_recipe_counts(field: str) -> None:
    value = getattr(RECIPE, field)
    other = value + 1 if type(value) in (int, float) else changed(value)
    assert of(recipe=dataclasses.replace(RECIPE, **{field: other})) != of()


def test_the_intervals_of_the_history_count_and_the_names_of_sets_do_not() -> None:
    assert of(history=dataclasses.replace(RECORDED, log_interval=5)) != of()
    assert of(history=dataclasses.replace(RECORDED, validation_interval=5)) != of()
    assert of(history=dataclasses.replace(RECORDED, validation_sets=("other",))) == of()


def test_data_and_validation_images_count() -> None:
    assert len({of(), of(data="e"), of(first=1)}) == 3
    pair = validation_pair()
    flat = tuple(np.ascontiguousarray(image_HWC.reshape(1, -1, 3)) for image_HWC in pair)
    assert run_identity(RUN, RECIPE, RECORDED, data="d", validation=[pair], start=None) != run_identity(
        RUN, RECIPE, RECORDED, data="d", validation=[(flat[0], flat[1])], start=None
    )


def test_the_weights_to_start_from_count(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    identities = {of()}
    for content in ("one", "two"):
        file.write_text(content)
        identities.add(of(start=file))
    assert len(identities) == 3


def test_code_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of()
    (tmp_path / "loop.py").write_text("another loop")
    monkeypatch.setattr(identity, "source_files", lambda _: [tmp_path / "loop.py"])
    assert of() != before


# What the loop imports and what yet decides no number.
SURROUNDING = {
    "alkdnet.config": "its values are in the identity",
    "alkdnet.data.packs": "the pixels are in the identity",
    "alkdnet.data.validation_images": "the pixels are in the identity",
    "alkdnet.arrays": "names types",
    "alkdnet.errors": "yields nothing",
    "alkdnet.files": "yields what it is given",
    "alkdnet.results": "records",
    "alkdnet.weights": "yields what it is given: the file's digest is in the identity",
    "alkdnet.networks": "dispatch: the network's own file is hashed",
    "alkdnet.training.runtime": "surrounds a training",
}


def test_all_code_that_the_loop_imports_is_hashed_or_named_here() -> None:
    hashed = set(source_files("alkdnet"))
    loop = ROOT / "src/alkdnet/training/loop.py"
    imported = {_file(module) for module in _closure(loop, set(SURROUNDING))} - {None}
    assert loop in hashed
    packages = {path for path in imported if path is not None and path.name == "__init__.py"}
    assert imported - packages - hashed == set()


def test_the_dependencies_of_the_stage_are_the_deciding_files() -> None:
    deps = {dep for dep in DVC["train"]["do"]["deps"] if dep.startswith(("src/", "pipeline/"))}
    assert deps == {f"src/alkdnet/{name}" for name in (*DECIDING, "networks/${item.network}.py")}
