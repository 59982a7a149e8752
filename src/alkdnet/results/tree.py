"""The results tree of a pipeline, read for the report: what is there, and in words what is not."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pandas.api.types import is_numeric_dtype

from alkdnet.config.params import Params, Run
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.files import read_json
from alkdnet.sources.catalogue import source

HISTORY_COLUMNS = ["iteration", "loss", "learning_rate", "validation_psnr"]
IMAGE_COLUMNS = ["set", "image", "height", "width", "psnr", "ssim"]
TEXTS = ("set", "image")
OPTIONAL = ("loss", "learning_rate", "validation_psnr")
AGAIN = "delete the file and run its stage again"


@dataclass(frozen=True, kw_only=True)
class Score:
    """A run's means over the images of one test set, PSNR in dB; `complete`: over all images of the set."""

    images: int
    psnr: float
    ssim: float
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run's network costs for the output size of the parameter file.

    `multi_adds` follows the rule of the paper's own figures, `multi_adds_convolutions` counts convolutions
    only; `activations` are the elements of their outputs (`alkdnet.models.complexity`).
    """

    parameters: int
    multi_adds: int
    multi_adds_convolutions: int
    activations: int


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """What the stages left of one row of `runs`.

    `label` is its name in tables. `images` has the columns set, image, height, width, psnr, ssim, one row
    per image. `missing_sets` says by test set what could not be scored. `history` has HISTORY_COLUMNS.
    `record` is run.json. What a stage did not leave is empty or None. `stated_iterations` is for how long the
    parameter file says that it is trained.
    """

    name: str
    run: Run
    label: str
    scores: Mapping[str, Score] = field(default_factory=dict)
    missing_sets: Mapping[str, str] = field(default_factory=dict)
    images: pd.DataFrame | None = None
    cost: Cost | None = None
    history: pd.DataFrame | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    stated_iterations: int | None = None

    @property
    def standing(self) -> Literal["done", "unrecorded", "waiting"]:
        """Return how far a training is: `unrecorded` if it was evaluated, but its folder is not at hand."""
        return "done" if self.record else "unrecorded" if self.scores else "waiting"

    def iterations(self) -> int | None:
        """Return how long it was trained here; None: not here, or not known."""
        value = self.record.get("iterations")
        return value if self.run.kind == "trained" and isinstance(value, int) else None

    def recipe(self) -> Mapping[str, Any]:
        """Return the recipe that it was trained by, as run.json records it; empty: not here, or not known."""
        return self.record.get("recipe") or {} if self.run.kind == "trained" else {}


@dataclass(frozen=True, kw_only=True)
class Results:
    """All runs of a parameter file, by name in its order; `missing` says in sentences what is not there."""

    runs: Mapping[str, RunResults]
    missing: tuple[str, ...]

    def of(self, names: Iterable[str]) -> list[RunResults]:
        """Return the named runs as far as the parameter file has them."""
        return [self.runs[name] for name in names if name in self.runs]


def read_results(params: Params, paths: Paths) -> Results:
    """Read what is there of the runs in `params`; folders of runs that it no longer has are ignored.

    Raises:
        UserError: a file is there and is not what its stage writes.
    """
    costs = _read_costs(paths.complexity)
    runs = {name: _read_run(name, params, paths, costs.get(name)) for name in params.runs}
    return Results(runs=runs, missing=tuple(_gaps(params, runs)))


def _gaps(params: Params, runs: Mapping[str, RunResults]) -> list[str]:
    named = {name for names in _references(params.report) for name in names}
    # A folder of results without its folder of weights is whole: results are committed, weights are not.
    trained = [run for run in runs.values() if run.run.kind == "trained"]
    waiting = [name for name, run in runs.items() if run.images is None]
    no_weights = [name for name in waiting if runs[name].run.kind == "released" and not runs[name].record]
    found = (
        ("Not trained yet (no `run.json`)", [run.name for run in trained if run.standing == "waiting"]),
        (
            "Measured, but with no record of the training at hand (shown as the parameters state it)",
            [run.name for run in trained if run.standing == "unrecorded"],
        ),
        ("Not measured here, for the authors' weights were not at hand", no_weights),
        ("Not evaluated yet", [name for name in waiting if name not in no_weights]),
        (
            "Parameters and Multi-Adds not counted yet",
            [name for name, run in runs.items() if run.cost is None],
        ),
        ("Named by the report's tables or curves, but not in `runs`", sorted(named - set(runs))),
    )
    sentences = [f"{what}: {', '.join(f'`{name}`' for name in names)}." for what, names in found if names]
    return [*sentences, *_absent_sets(params, runs)]


def _absent_sets(params: Params, runs: Mapping[str, RunResults]) -> list[str]:
    """Say which test sets no run was measured on, and why, as far as the results or the licences tell."""
    evaluated = [run for run in runs.values() if run.images is not None]
    sentences = []
    for name in params.names("test"):
        if not evaluated or any(name in run.scores for run in evaluated):
            continue
        reasons = dict.fromkeys(run.missing_sets[name] for run in evaluated if name in run.missing_sets)
        why = "; ".join(reasons) or "its images were not at hand"
        published = source(params.datasets[name].source)
        if published.kind == "gated":
            why += "; its licence forbids passing it on"
        sentences.append(f"Test set `{name}`, not measured here: {why}.")
    return sentences


def _references(report: Any) -> list[Iterable[str]]:
    tables = (report.table1, report.table2, report.table3)
    return [*(table.rows for table in tables), *report.table4.values(), report.curves, *report.seeds.values()]


def _read_run(name: str, params: Params, paths: Paths, cost: Cost | None) -> RunResults:
    run = params.runs[name]
    scores, missing_sets, images = _read_evaluation(paths.evaluation(name))
    history: pd.DataFrame | None = None
    record: Mapping[str, Any] = {}
    folder = paths.model(name)
    if (folder / "run.json").is_file():
        record = _mapping(folder / "run.json")
    if run.kind == "trained" and (folder / "history.csv").is_file():
        history = _read_csv(folder / "history.csv", HISTORY_COLUMNS)
    return RunResults(
        name=name,
        run=run,
        label=params.report.labels.get(name, name),
        scores=scores,
        missing_sets=missing_sets,
        images=images,
        cost=cost,
        history=history,
        record=record,
        stated_iterations=params.train.iterations if run.kind == "trained" else None,
    )


def _read_evaluation(
    folder: Path,
) -> tuple[dict[str, Score], dict[str, str], pd.DataFrame | None]:
    path = folder / "sets.json"
    if not path.is_file() or not (folder / "images.csv").is_file():
        return {}, {}, None
    content = _mapping(path)
    with _as_its_stage_writes_it(path):
        absent = {str(key): str(reason) for key, reason in content["missing"].items()}
        scores = {
            str(key): Score(
                images=int(mean["images"]),
                psnr=float(mean["psnr"]),
                ssim=float(mean["ssim"]),
                complete=key not in absent,
            )
            for key, mean in content["sets"].items()
        }
    return scores, absent, _read_csv(folder / "images.csv", IMAGE_COLUMNS)


def _read_costs(path: Path) -> dict[str, Cost]:
    if not path.is_file():
        return {}
    content = _mapping(path)
    with _as_its_stage_writes_it(path):
        return {
            name: Cost(**{each.name: int(count[each.name]) for each in fields(Cost)})
            for name, count in content.items()
        }


def _mapping(path: Path) -> Mapping[str, Any]:
    with _as_its_stage_writes_it(path):
        content = read_json(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: expected keys and values; {AGAIN}")
    return content


def _read_csv(path: Path, columns: list[str]) -> pd.DataFrame:
    with _as_its_stage_writes_it(path):
        # Image names like 001 are text, not numbers.
        frame = pd.read_csv(path, dtype={"set": str, "image": str})
        if absent := [column for column in columns if column not in frame.columns]:
            raise UserError(f"{path}: no column {', '.join(absent)}; {AGAIN}")
        # A file that was cut off ends within a row.
        if cut := [name for name in columns if name not in OPTIONAL and frame[name].isna().any()]:
            raise UserError(f"{path}: rows without {', '.join(cut)}; {AGAIN}")
        wrong = [name for name in columns if name not in TEXTS and not is_numeric_dtype(frame[name])]
        return frame[columns].astype(dict.fromkeys(wrong, float))


@contextmanager
def _as_its_stage_writes_it(path: Path) -> Iterator[None]:
    """Make of whatever a damaged file leads to an error that names the file."""
    try:
        yield
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error}); {AGAIN}") from error
    except KeyError as error:
        raise UserError(f"{path}: no {error}; {AGAIN}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not what its stage writes ({error}); {AGAIN}") from error
