"""Damaged and hostile files: every reader either reads them or names the file in an error for the user.

All values come from one seed, so that a failure is the same in every run.
"""

import copy
import dataclasses
import importlib
import io
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

import alkdnet.config.params
from alkdnet.config.loading import load_params
from alkdnet.data.packs import PackedImages
from alkdnet.errors import UserError
from alkdnet.networks import build
from alkdnet.results.costs import Cost, read_costs, write_costs
from alkdnet.results.features import CropImage, FeaturesRecord, Field, Maps
from alkdnet.results.history import HistoryRow, read_history, write_history
from alkdnet.results.scores import COLUMNS, Scores
from alkdnet.training.runtime.checkpoint import CheckpointFile, State
from alkdnet.weights.files import load_weights, save_weights
from alkdnet.weights.formats import READERS, read_tensors
from alkdnet.weights.runs import load_run
from tests.records import write_run_record
from tests.training.trainer import make_patches
from tests.weights.test_formats import WRITERS

pytestmark = pytest.mark.slow

# Generous: the tests run on busy machines. What this finds are minutes and hours.
LONGEST_S = 20.0
VALUES = [
    None,
    True,
    0,
    -1,
    10**9,
    10**18,
    int("7" * 299),
    1.5,
    -1e308,
    math.nan,
    math.inf,
    "",
    "x" * 10_000,
    "../../x\n$(touch x)",
    "~no_such_user/\0",
    "Größe 大 \ud800",
    "1e400",
    [],
    [None, [], "a", 3],
    {},
    {"a": {"b": [1, {"c": None}]}},
]
# What only a file of JSON can hold.
JSON_VALUES = [*VALUES, int("7" * 400)]
NAMES = ["", "a\nb", "../a", "-h", "x" * 300, "大", "\ud800"]
DAMAGES = 60


def nodes(content: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Yield the paths of all values in a content, its own last."""
    items = content.items() if isinstance(content, dict) else enumerate(content)  # type: ignore[arg-type]
    for key, value in items:
        if isinstance(value, dict | list):
            yield from nodes(value, (*path, key))
        else:
            yield (*path, key)
    yield path


def replaced(content: Any, path: tuple[object, ...], value: object) -> Any:
    """Return a copy of the content with another value at a path."""
    if not path:
        return value
    changed = copy.deepcopy(content)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return changed


def damages(content: bytes) -> Iterator[bytes]:
    """Yield the content cut off, with other bytes, with a part twice, and as other files have it."""
    chance = random.Random(len(content))
    yield from (b"", b"\0" * 64, b"\xff\xfe" + content, content * 2, b"[" * 100_000, b"1" * 5000)
    for _ in range(DAMAGES):
        yield content[: chance.randrange(len(content))]
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 4))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        yield bytes(changed)
        start, end = sorted(chance.choices(range(len(content)), k=2))
        yield content[:end] + content[start:]


def check(read: Callable[[], object], named: Path, what: object) -> None:
    """Read, and hold what happens to what a user may see."""
    start = time.monotonic()
    lines = []
    try:
        read()
    except UserError as error:
        lines = str(error).split("\n")
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} of {what!r:.300}") from error
    for line in lines:
        assert line.startswith(str(named)), (what, line[:300])
        assert len(line) < 2000, what
    assert time.monotonic() - start < LONGEST_S, what


@pytest.fixture(scope="module")
def stage_check(repository: Path) -> Iterator[ModuleType]:
    """The stage `check`, which imports its neighbours as DVC runs it: from its own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "pipeline"))
        yield importlib.import_module("check")


def parameters(repository: Path) -> dict[str, Any]:
    """Return the demo's parameters with every key there is, and few rows."""
    params = yaml.safe_load((repository / "params.yaml").read_text())
    rows = {"bsrn_x2", "alkdnet_x2", "kernel9_x2"}
    params["runs"] = {name: row for name, row in params["runs"].items() if name in rows}
    params["runs"]["alkdnet_x2"] |= {"seed": 1, "kernel_size": 9}
    params["recipes"]["all"] = {
        **params["recipes"]["paper"],
        "optimizer": "adan",
        "beta3": 0.99,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "warmup": 10,
        "loss": {"l1": 1.0, "l2": 0.5, "charbonnier": 0.5, "fft": 0.05},
        "clip_norm": 1.0,
        "ema_decay": 0.999,
    }
    multistep = {"schedule": "multistep", "milestones": [600, 900], "gamma": 0.5}
    params["recipes"]["multistep"] = {**params["recipes"]["paper"], **multistep}
    del params["recipes"]["multistep"]["final_learning_rate"]
    params["execution"]["kernels"] = "auto"
    params["evaluate"]["protocols"] = ["paper", "classic"]
    params["finetuned"]["c"] = {
        "network": "bsrn",
        "scale": 3,
        "recipe": "multistep",
        "init_from": "bsrn_x2",
    }
    params["released"] = {
        "a": {"network": "bsrn", "scale": 2, "source": "bsrn_x2", "skip": ["embedded_test"]},
        "b": {"network": "imdn", "scale": 2, "source": "file", "path": "b.pth"},
    }
    params["datasets"]["mine"] = {"use": "train", "source": "folder", "path": "mine", "alpha": "black"}
    params["features"] |= {"field_runs": ["bsrn_x2"], "crop_runs": ["bsrn_x2"]}
    params["features"]["crops"] = params["features"]["crops"][:1]
    report = params["report"]
    report["labels"] = {"bsrn_x2": "BSRN"}
    for number in (1, 2, 3):
        report[f"table{number}"] = {"title": "T", "baseline": "bsrn_x2", "rows": ["bsrn_x2"]}
    report |= {"table4": {"BSRN": ["bsrn_x2"]}, "curves": ["bsrn_x2"], "seeds": {"bsrn_x2": ["kernel9_x2"]}}
    return params


def test_all_keys_are_changed(repository: Path) -> None:
    kinds = [kind for kind in vars(alkdnet.config.params).values() if dataclasses.is_dataclass(kind)]
    known = {field.name for kind in kinds for field in dataclasses.fields(kind)} - {"pipeline", "options"}
    assert known <= {key for path in nodes(parameters(repository)) for key in path}


def test_parameters(repository: Path, tmp_path: Path, stage_check: ModuleType) -> None:
    params, file = parameters(repository), tmp_path / "params.yaml"

    def read(content: object) -> Callable[[], None]:
        def work() -> None:
            loaded = load_params(file, "demo")
            # The stage puts the file's name before each of its problems.
            assert all("\n" not in problem for problem in stage_check._problems(loaded))

        # JSON is YAML, but for these numbers, and written faster.
        file.write_text(json.dumps(content).replace("NaN", ".nan").replace("Infinity", ".inf"))
        return work

    read(params)()
    assert not stage_check._problems(load_params(file, "demo"))
    for path in nodes(params):
        for value in VALUES:
            check(read(replaced(params, path, value)), file, (path, value))
        for name in NAMES if path and isinstance(path[-1], str) else ():
            value = params
            for key in path:
                value = value[key]
            check(read(replaced(params, (*path[:-1], name), value)), file, (path, name))
    text = file.read_bytes()
    for damaged in damages(text[:3000]):
        file.write_bytes(damaged)
        check(lambda: load_params(file, "demo"), file, damaged)


def json_contents(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file of JSON with every value replaced, and damaged."""
    text = path.read_bytes()
    content = json.loads(text)
    for node in nodes(content):
        for value in JSON_VALUES:
            yield json.dumps(replaced(content, node, value)).encode()
        for name in NAMES if node and isinstance(node[-1], str) else ():
            yield json.dumps(replaced(content, (*node[:-1], name), 1)).encode()
    yield from damages(text)


def fuzz(
    path: Path, contents: Iterator[bytes], read: Callable[[], object], named: Path | None = None
) -> None:
    read()
    for content in contents:
        path.write_bytes(content)
        check(read, named or path, content)


def test_records(tmp_path: Path) -> None:
    options = {"blocks": 1, "channels": 8}
    save_weights(tmp_path / "weights.safetensors", build("alkdnet", 2, options))
    write_run_record(tmp_path, network="alkdnet", scale=2, options=options)
    fuzz(tmp_path / "run.json", json_contents(tmp_path / "run.json"), lambda: load_run(tmp_path), tmp_path)

    crop = CropImage(
        set="a",
        image="b",
        top=0,
        left=0,
        height=8,
        width=8,
        file="c",
        original=None,
        psnr=None,
        ssim=1.0,
        whole="d",
        image_height=16,
        image_width=16,
    )
    FeaturesRecord(
        maps=Maps(set="a", image="b", files={"c": "d"}),
        field=Field(file="a", images=1, radii={"0.5": 3}),
        crops=(crop,),
        missing=("x",),
    ).write(tmp_path)
    features = tmp_path / "features.json"
    fuzz(features, json_contents(features), lambda: FeaturesRecord.read(tmp_path))

    costs = tmp_path / "complexity.json"
    write_costs(costs, {"a": Cost(parameters=1, multi_adds=2, multi_adds_convolutions=3, activations=4)})
    fuzz(costs, json_contents(costs), lambda: read_costs(costs))


def test_scores(tmp_path: Path) -> None:
    rows = [["set5", "001", 8, 9, 1 / 3, 0.5], ["set5", "NA", 8, 9, 30.0, 0.7]]
    scores = Scores(images=pd.DataFrame(rows, columns=list(COLUMNS)), missing={"set14": "not available"})
    for name in ("scores.json", "record.json", "images.csv"):
        scores.write(tmp_path / "a")
        file = tmp_path / "a" / name
        contents = damages(file.read_bytes()) if name.endswith("csv") else json_contents(file)
        fuzz(file, contents, lambda: Scores.read(tmp_path / "a"), tmp_path / "a")


def test_histories(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    write_history(file, [HistoryRow(10, 0.1, 1e-3, None), HistoryRow(20, 1 / 3, 1e-7, 30.1)])
    fuzz(file, damages(file.read_bytes()), lambda: read_history(file))


def test_packs(tmp_path: Path) -> None:
    folder = make_patches(tmp_path)
    for name in ("hr/index.json", "x2/index.json", "hr/images.bin", "x2/images.bin"):
        file = folder / name
        intact = file.read_bytes()
        contents = damages(intact) if name.endswith("bin") else json_contents(file)
        fuzz(file, contents, lambda: PackedImages.open(folder, 2), folder)
        file.write_bytes(intact)


def test_weights_of_this_library(tmp_path: Path) -> None:
    file, model = tmp_path / "weights.safetensors", build("alkdnet", 2, {"blocks": 1, "channels": 8})
    save_weights(file, model)
    intact = file.read_bytes()
    # Most of the file are numbers, of which any will do: the header is what a reader may stumble over.
    header = 8 + int.from_bytes(intact[:8], "little")
    contents = (damaged + intact[header:] for damaged in damages(intact[:header]))
    fuzz(file, contents, lambda: load_weights(file, model))


@pytest.mark.parametrize("suffix", READERS)
def test_weights_of_others(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"net{suffix}"
    WRITERS[suffix](file)
    for each in [file, *([file.with_suffix(".bin")] if suffix == ".param" else [])]:
        intact = each.read_bytes()
        fuzz(each, damages(intact), lambda: read_tensors(file), file)
        each.write_bytes(intact)


def test_checkpoints(tmp_path: Path) -> None:
    """A checkpoint that cannot be read is moved aside: nothing is lost but time."""
    state = State(
        iteration=7,
        model={"weight": torch.ones(2, 3)},
        optimizer={"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 1e-3}]},
        average={},
        rows=[HistoryRow(4, 0.5, 1e-3, None)],
        loss_sum=0.125,
        monitor="",
    )
    file = CheckpointFile(tmp_path, "run", "a" * 64)
    file.write(state)
    header, _, payload = file.path.read_bytes().partition(b"\n")
    for damaged in damages(payload):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("alkdnet.training.runtime.checkpoint.hashlib.sha256", lambda _: _Digest(header))
            file.path.write_bytes(header + b"\n" + damaged)
            check(file.read, file.path, damaged)
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    fields["rows"] = [tuple(row) for row in state.rows]
    for node in nodes(fields):
        for value in VALUES:
            buffer = io.BytesIO()
            torch.save(replaced(fields, node, value), buffer)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("alkdnet.training.runtime.checkpoint.hashlib.sha256", lambda _: _Digest(header))
                file.path.write_bytes(header + b"\n" + buffer.getvalue())
                check(file.read, file.path, (node, value))


@dataclasses.dataclass
class _Digest:
    """The digest in a header, whatever the content: somebody who writes files can compute one."""

    header: bytes

    def hexdigest(self) -> str:
        return self.header.split()[-1].decode()
