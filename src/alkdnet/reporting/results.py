"""The results tree of a pipeline, read for the report: what is there, and in words what is not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from alkdnet.config import Params, Run
from alkdnet.errors import UserError
from alkdnet.files import read_json
from alkdnet.paths import Paths

HISTORY_COLUMNS = ["iteration", "loss", "learning_rate", "validation_psnr"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A run's means over the images of one test set, PSNR in dB; `complete`: over all images of the set."""

    images: int
    psnr: float
    ssim: float
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Parameters and Multi-Adds (for the output size of the parameter file) of a run's network."""

    parameters: int
    multi_adds: int


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """What the stages left of one row of `runs`.

    `label` is its name in tables. `images` has the columns set, image, height, width, psnr, ssim, one row
    per image. `missing_sets` says by test set what could not be scored. `history` has HISTORY_COLUMNS.
    `record` is run.json. What a stage did not leave is empty or None.
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

    def iterations(self) -> int | None:
        """Return how long it was trained here; None: not here, or not known."""
        value = self.record.get("iterations")
        return value if self.run.kind == "trained" and isinstance(value, int) else None


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
    found = (
        (
            "Not trained yet (no `run.json`)",
            [name for name, run in runs.items() if run.run.kind == "trained" and not run.record],
        ),
        ("Not evaluated yet", [name for name, run in runs.items() if run.images is None]),
        (
            "Parameters and Multi-Adds not counted yet",
            [name for name, run in runs.items() if run.cost is None],
        ),
        ("Named by the report's tables or curves, but not in `runs`", sorted(named - set(runs))),
    )
    return [f"{what}: {', '.join(f'`{name}`' for name in names)}." for what, names in found if names]


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
    )


def _read_evaluation(
    folder: Path,
) -> tuple[dict[str, Score], dict[str, str], pd.DataFrame | None]:
    if not (folder / "sets.json").is_file() or not (folder / "images.csv").is_file():
        return {}, {}, None
    content = _mapping(folder / "sets.json")
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
    images = _read_csv(folder / "images.csv", ["set", "image", "height", "width", "psnr", "ssim"])
    return scores, absent, images


def _read_costs(path: Path) -> dict[str, Cost]:
    if not path.is_file():
        return {}
    return {
        name: Cost(parameters=int(count["parameters"]), multi_adds=int(count["multi_adds"]))
        for name, count in _mapping(path).items()
    }


def _mapping(path: Path) -> Mapping[str, Any]:
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: expected keys and values; delete the file and run its stage again")
    return content


def _read_csv(path: Path, columns: list[str]) -> pd.DataFrame:
    # Image names like 001 are text, not numbers.
    frame = pd.read_csv(path, dtype={"set": str, "image": str})
    if absent := [column for column in columns if column not in frame.columns]:
        raise UserError(f"{path}: no column {', '.join(absent)}; delete the file and run its stage again")
    return frame[columns]
