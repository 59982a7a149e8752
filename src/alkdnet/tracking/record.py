"""What is known of a run, read from the pipeline's outputs: everything that its run in MLflow shows."""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alkdnet.config.params import HOW_COMPUTED, Params, Run, Train
from alkdnet.config.paths import Paths
from alkdnet.files import read_json, sha256_file

# Fields of the recipe that are no column worth comparing.
_UNCOMPARED = frozenset({*HOW_COMPUTED, "validation_interval", "log_interval"})

# Fields of the protocol that decide the figures.
_PROTOCOL = ("channel", "round_luma", "crop", "self_ensemble", "tile")


@dataclass(frozen=True)
class Point:
    """One value of a curve; `time_ms` is the wall clock in milliseconds since 1970."""

    key: str
    iteration: int
    value: float
    time_ms: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run of a pipeline as MLflow is to show it.

    Attributes:
        run: key in `runs`.
        params: settings by name: `network`, `scale`, `seed`, the network's options, `train.<field>`,
            `evaluate.<field>`.
        tags: what identifies the run and its outputs; always `run` and `weights_sha256`.
        points: loss, learning rate and validation PSNR against the iteration.
        metrics: final figures: `<set>/psnr`, `<set>/ssim`, parameters, multi_adds, ...
        inputs: training data: name and digest.
        artifacts: path within the run's artifacts: file.
        description: a few lines of Markdown.
        time_ms: when the outputs were written.
        digest: SHA-256 of all the above but the time.
    """

    run: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: tuple[Point, ...]
    metrics: Mapping[str, float]
    inputs: Mapping[str, str]
    artifacts: Mapping[str, Path]
    description: str
    time_ms: int
    digest: str

    def figures(self) -> tuple[Point, ...]:
        """Return the final figures as points, which is what MLflow keeps."""
        return tuple(Point(key, 0, value, self.time_ms) for key, value in self.metrics.items())


def settings(run: Run, recipe: Train) -> dict[str, str]:
    """Return the parameters of a run as MLflow shows them."""
    return _settings(
        {"network": run.network, "scale": run.scale, "seed": run.seed, **run.options},
        {name: getattr(recipe, name) for name in recipe.__dataclass_fields__},
    )


def read_record(params: Params, paths: Paths, run: str, *, trained_only: bool = False) -> Record | None:
    """Return what the outputs say of a run; None when it has not been trained or taken over yet.

    Args:
        params: the pipeline's parameters.
        paths: its outputs; evaluation, complexity and sample images are left out while they are missing.
        run: key in `runs`.
        trained_only: leave them out in any case, for they belong to weights of an earlier training.
    """
    folder = paths.model(run)
    if not (folder / "run.json").is_file():
        return None
    made: Any = read_json(folder / "run.json")
    time_ms = int((folder / "run.json").stat().st_mtime * 1000)
    tags = {
        "run": run,
        "weights_sha256": str(made.get("weights_sha256", "")),
        "config_hash": str(made.get("config_hash", "")),
        "label": params.report.labels.get(run, run),
    }
    row = {key: made[key] for key in ("network", "scale", "seed") if key in made}
    shown = _settings({**row, **made.get("options", {})}, made.get("recipe") or {})
    metrics: dict[str, float] = {}
    artifacts = _artifacts(paths, run, trained_only=trained_only)
    if not trained_only:
        metrics = _read_complexity(paths.complexity, run)
        if "evaluation/sets.json" in artifacts:
            metrics |= _read_evaluation(artifacts["evaluation/sets.json"])
            shown |= {f"evaluate.{name}": str(getattr(params.evaluate, name)) for name in _PROTOCOL}
    points = tuple(_read_points(folder / "history.csv", time_ms))
    inputs = {"+".join(made["training_sets"]): str(made["data"])} if made.get("data") else {}
    description = _describe(params, run, made)
    # The weights need not be read again: their digest is among the tags.
    files = {name: sha256_file(file) for name, file in artifacts.items() if name != "weights.safetensors"}
    curves = [(point.key, point.iteration, point.value) for point in points]
    content = [shown, tags, curves, metrics, inputs, files, description]
    return Record(
        run=run,
        params=shown,
        tags=tags,
        points=points,
        metrics=metrics,
        inputs=inputs,
        artifacts=artifacts,
        description=description,
        time_ms=time_ms,
        digest=hashlib.sha256(json.dumps(content).encode()).hexdigest(),
    )


def stale_evaluations(lock: Path) -> frozenset[str]:
    """Return the runs whose evaluation is of other weights than those in models/, by the pipeline's dvc.lock.

    So it is after a training and before the evaluation that follows it. What the lock does not know counts
    as current.
    """
    if not lock.is_file():
        return frozenset()
    stages = yaml.load(lock.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))[
        "stages"
    ]
    made = {out["path"]: out.get("md5") for stage in stages.values() for out in stage.get("outs", [])}
    return frozenset(
        name.partition("@")[2]
        for name, stage in stages.items()
        if name.startswith("evaluate@")
        and any(made.get(dep["path"], dep.get("md5")) != dep.get("md5") for dep in stage.get("deps", []))
    )


def _artifacts(paths: Paths, run: str, *, trained_only: bool) -> dict[str, Path]:
    """Return the files to keep with a run, by their path among its artifacts."""
    folder, evaluation = paths.model(run), paths.evaluation(run)
    files = {name: folder / name for name in ("weights.safetensors", "run.json", "history.csv")}
    if not trained_only:
        files |= {f"evaluation/{name}": evaluation / name for name in ("sets.json", "images.csv")}
        crops = sorted((paths.features / "crops").glob(f"*/{run}.png"))
        files |= {f"samples/{crop.parent.name}/{crop.name}": crop for crop in crops}
    return {name: file for name, file in files.items() if file.is_file()}


def _settings(row: Mapping[str, object], recipe: Mapping[str, object]) -> dict[str, str]:
    compared = {f"train.{key}": str(value) for key, value in recipe.items() if key not in _UNCOMPARED}
    return {key: str(value) for key, value in row.items()} | compared


def _read_points(path: Path, time_ms: int) -> list[Point]:
    """Read a history: the column `iteration`, and curves whose cells are empty where nothing was measured."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Point(key, int(row["iteration"]), float(value), time_ms)
            for row in csv.DictReader(file)
            for key, value in row.items()
            if key != "iteration" and value
        ]


def _read_evaluation(path: Path) -> dict[str, float]:
    content: Any = read_json(path)
    return {
        f"{name}/{key}": float(values[key])
        for name, values in content["sets"].items()
        for key in ("psnr", "ssim")
        if values.get(key) is not None
    }


def _read_complexity(path: Path, run: str) -> dict[str, float]:
    if not path.is_file():
        return {}
    content: Any = read_json(path)
    return {
        key: float(value) for key, value in content.get(run, {}).items() if isinstance(value, int | float)
    }


def _describe(params: Params, run: str, made: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key} {value}" for key, value in made.get("options", {}).items())
    network = f"{made.get('network', '?')} ×{made.get('scale', '?')}"
    lines = [f"**{params.report.labels.get(run, run)}**: {network}{f' with {options}' if options else ''}."]
    if made.get("iterations"):
        lines.append(f"Trained for {made['iterations']:,} iterations.")
    lines.append(f"Mirrors the outputs of run `{run}` of the pipeline `{params.name}`.")
    return "\n\n".join(lines)
