"""What is known of a row, read from the pipeline's outputs: everything that its run in MLflow shows."""

import ast
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from alkdnet.config.params import Option, Params, Recipe
from alkdnet.config.paths import Paths
from alkdnet.files import sha256_file
from alkdnet.results.costs import Cost, read_costs
from alkdnet.results.features import RECORD as FEATURES
from alkdnet.results.features import FeaturesRecord
from alkdnet.results.history import read_history
from alkdnet.results.run import HISTORY, RECORD, WEIGHTS, RunRecord
from alkdnet.results.scores import Scores

# Fields of the protocol that decide the scores.
_PROTOCOL = ("channel", "round_luma", "crop", "self_ensemble", "tile")


@dataclasses.dataclass(frozen=True)
class Point:
    """One value of a curve; `time_ms` is the wall clock in milliseconds since 1970."""

    key: str
    iteration: int
    value: float
    time_ms: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One row of a pipeline as MLflow is to show it.

    Attributes:
        row: its name.
        params: settings by name: `network`, `scale`, `seed`, the network's options, `recipe.<field>`,
            `evaluate.<field>`.
        tags: what identifies the row and its outputs.
        points: loss, learning rate and validation PSNR against the iteration; at iteration 0, the final
            figures: `<set>/psnr`, `<set>/ssim`, `parameters`, `multi_adds`, ...
        inputs: training data: name and digest.
        artifacts: path within the run's artifacts: file.
        description: a few lines of Markdown.
        time_ms: when the outputs were written.
        digest: SHA-256 of all the above but the time.
    """

    row: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: tuple[Point, ...]
    inputs: Mapping[str, str]
    artifacts: Mapping[str, Path]
    description: str
    time_ms: int
    digest: str


def settings(
    network: str,
    scale: int,
    options: Mapping[str, Option],
    seed: int | None = None,
    recipe: Recipe | None = None,
) -> dict[str, str]:
    """Return the parameters of a run as MLflow shows them, options with their defaults."""
    resolved = {"kernel_size": "-", **default_options(network), **options}
    if resolved.get("convolution") == "bsconv":
        resolved["kernel_size"] = 3  # of every BSConv, whatever the option says
    trained = {} if seed is None else {"seed": seed}
    made = {f"recipe.{key}": value for key, value in dataclasses.asdict(recipe).items()} if recipe else {}
    values = {"network": network, "scale": scale, **trained, **resolved, **made}
    return {key: str(value) for key, value in values.items()}


@cache
def default_options(network: str) -> Mapping[str, Option]:
    """Return the defaults of a network's options, read from its file: importing it would import torch."""
    file = Path(__file__).parents[1] / "networks" / f"{network}.py"
    if not file.is_file():
        return {}
    classes, names = {}, {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            classes[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = node.value
    chosen = names["NETWORK"]
    assert isinstance(chosen, ast.Name)
    (made,) = (
        each.args
        for each in classes[chosen.id].body
        if isinstance(each, ast.FunctionDef) and each.name == "__init__"
    )
    return {
        option.arg: ast.literal_eval(names[value.id] if isinstance(value, ast.Name) else value)
        for option, value in zip(made.kwonlyargs, made.kw_defaults, strict=True)
        if value is not None
    }


def read_records(params: Params, paths: Paths) -> Iterator[Record]:
    """Yield what the outputs say of every row that has any: weights, or the scores of an interpolation.

    What belongs to other weights than those in models/ is left out: so it is after a training and before the
    evaluation that follows it.

    Raises:
        UserError: an output is damaged.
    """
    costs = read_costs(paths.complexity) if paths.complexity.is_file() else {}
    for name in params.rows:
        record = _read(params, paths, name, costs.get(name))
        if record is not None:
            yield record


def _read(params: Params, paths: Paths, name: str, cost: Cost | None) -> Record | None:
    row, folder, evaluation = params.rows[name], paths.model(name), paths.evaluation(name)
    interpolates = row.kind == "interpolation"
    made = RunRecord.read(folder) if not interpolates and (folder / RECORD).is_file() else None
    scores = Scores.read(evaluation) if (evaluation / "sets.json").is_file() else None
    if scores is not None and scores.weights_sha256 != (made.weights_sha256 if made else None):
        scores = None
    if made is None and (scores is None or not interpolates):
        return None

    written = folder / RECORD if made else evaluation / "sets.json"
    time_ms = int(written.stat().st_mtime * 1000)
    label = params.report.labels.get(name, name)
    tags = {"run": name, "label": label}
    points: list[Point] = []
    inputs: dict[str, str] = {}
    trained = None
    if made is None:
        shown = settings(row.network, row.scale, row.options)
    else:
        tags["weights_sha256"] = made.weights_sha256
        trained = made.training
        seed, recipe = (trained.seed, trained.recipe) if trained else (None, None)
        shown = settings(made.network, made.scale, made.options, seed, recipe)
    if trained is not None:
        tags["identity"] = trained.identity
        inputs = {"+".join(trained.sets): trained.data}
        history = read_history(folder / HISTORY)
        points = [
            Point(key, logged.iteration, value, time_ms)
            for logged in history
            for key, value in logged.values().items()
        ]
    figures: dict[str, float] = {}
    if cost is not None and (made is None or cost.parameters == made.parameters):
        figures |= dataclasses.asdict(cost)
    if scores is not None:
        shown |= {f"evaluate.{key}": str(getattr(params.evaluate, key)) for key in _PROTOCOL}
        for test_set, score in scores.means().items():
            # As many digits as papers give; sets.json, among the artifacts, has all.
            figures |= {f"{test_set}/psnr": round(score.psnr, 2), f"{test_set}/ssim": round(score.ssim, 4)}
    points += [Point(key, 0, value, time_ms) for key, value in figures.items() if math.isfinite(value)]
    artifacts = dict(_artifacts(paths, name, evaluated=scores is not None))
    description = _describe(params, label, name, shown, trained.recipe if trained else None)
    # The weights need not be read again: their digest is among the tags.
    files = {key: sha256_file(file) for key, file in artifacts.items() if key != WEIGHTS}
    curves = [(point.key, point.iteration, point.value) for point in points]
    content = json.dumps([shown, tags, curves, inputs, files, description])
    return Record(
        row=name,
        params=shown,
        tags=tags,
        points=tuple(points),
        inputs=inputs,
        artifacts=artifacts,
        description=description,
        time_ms=time_ms,
        digest=hashlib.sha256(content.encode()).hexdigest(),
    )


def _artifacts(paths: Paths, name: str, *, evaluated: bool) -> Iterator[tuple[str, Path]]:
    """Yield the files to keep with a run, with their path among its artifacts."""
    for file in (WEIGHTS, RECORD, HISTORY):
        if (path := paths.model(name) / file).is_file():
            yield file, path
    if not evaluated:
        return
    for file in ("sets.json", "images.csv"):
        yield f"evaluation/{file}", paths.evaluation(name) / file
    folder = paths.features(name)
    if (folder / FEATURES).is_file():
        for crop in FeaturesRecord.read(folder).crops:
            if (folder / crop.file).is_file():
                yield crop.file, folder / crop.file


def _describe(params: Params, label: str, name: str, shown: Mapping[str, str], recipe: Recipe | None) -> str:
    lines = [f"**{label}**: {shown['network']} ×{shown['scale']}."]
    if recipe is not None:
        lines.append(f"Trained for {recipe.iterations:,} iterations.")
    return "\n\n".join([*lines, f"Mirrors the outputs of row `{name}` of the pipeline `{params.pipeline}`."])
