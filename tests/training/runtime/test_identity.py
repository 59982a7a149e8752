"""What determines a run: all of it changes the identity, and nothing else does."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alkdnet.config.params import Run, Train
from alkdnet.training.runtime import identity
from alkdnet.training.runtime.identity import NOT_DETERMINING, run_identity, source_files
from tests.test_policy import ROOT, _closure, _file
from tests.training.trainer import RECIPE, RUN, validation_pair

CHANGES: dict[str, Callable[[Run], Run]] = {
    "network": lambda run: dataclasses.replace(run, network="bicubic"),
    "scale": lambda run: dataclasses.replace(run, scale=3),
    "seed": lambda run: dataclasses.replace(run, seed=4),
    "options": lambda run: dataclasses.replace(run, options={**run.options, "blocks": 2}),
}


def of(run: Run = RUN, recipe: Train = RECIPE, data: str = "d", first: int = 0) -> str:
    lr_HWC, hr_HWC = validation_pair()
    hr_HWC[0, 0, 0] = first
    return run_identity(run, recipe, data=data, validation=[(lr_HWC, hr_HWC)])


def changed(value: object) -> object:
    return {"float32": "tf32", "cpu": "cuda"}.get(value, "other") if isinstance(value, str) else not value


@pytest.mark.parametrize("name", CHANGES)
def test_every_part_of_the_row_counts(name: str) -> None:
    assert of(CHANGES[name](RUN)) != of()


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Train)])
def test_every_setting_counts_but_those_of_where_and_how_often(field: str) -> None:
    value = getattr(RECIPE, field)
    other = value + 1 if type(value) in (int, float) else changed(value)
    recipe = dataclasses.replace(RECIPE, **{field: other})
    assert (of(recipe=recipe) == of()) == (field in NOT_DETERMINING)


def test_data_and_validation_images_count() -> None:
    assert len({of(), of(data="e"), of(first=1)}) == 3
    pair = validation_pair()
    flat = tuple(np.ascontiguousarray(image_HWC.reshape(1, -1, 3)) for image_HWC in pair)
    assert run_identity(RUN, RECIPE, data="d", validation=[pair]) != run_identity(
        RUN, RECIPE, data="d", validation=[(flat[0], flat[1])]
    )


def test_code_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of()
    (tmp_path / "loop.py").write_text("another loop")
    monkeypatch.setattr(identity, "source_files", lambda _: [tmp_path / "loop.py"])
    assert of() != before


# What the loop imports and what yet decides no number.
UNDECIDING = {
    "alkdnet.config": "its values are in the identity",
    "alkdnet.config.schema": "as config",
    "alkdnet.data.packs": "the pixels are in the identity",
    "alkdnet.arrays": "names types",
    "alkdnet.errors": "yields nothing",
    "alkdnet.files": "yields what it is given",
    "alkdnet.networks": "dispatch: the network's own file is hashed",
    "alkdnet.progress": "yields nothing",
    "alkdnet.training.runtime.checkpoint": "its format is in the identity",
    "alkdnet.training.runtime.history": "keeps what it is given",
    "alkdnet.training.runtime.identity": "the identity itself",
    "alkdnet.training.runtime.signals": "decides when, not what",
    "alkdnet.training.runtime.monitor": "yields nothing",
    "alkdnet.training.runtime.outputs": "writes what it is given",
}


def test_all_code_that_the_loop_imports_is_hashed_or_named_here() -> None:
    hashed = set(source_files("alkdnet"))
    loop = ROOT / "src/alkdnet/training/loop.py"
    imported = {_file(module) for module in _closure(loop, set(UNDECIDING))} - {None}
    assert loop in hashed
    packages = {path for path in imported if path is not None and path.name == "__init__.py"}
    assert imported - packages - hashed == set()
