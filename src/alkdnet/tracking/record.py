"""The content of a row's run in MLflow, read from the pipeline's outputs."""

import dataclasses
import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError
from alkdnet.files import sha256_file
from alkdnet.results.costs import Cost, read_costs
from alkdnet.results.features import RECORD as FEATURES
from alkdnet.results.features import FeaturesRecord
from alkdnet.results.history import read_history
from alkdnet.results.run import HISTORY, RAW_WEIGHTS, RECORD, WEIGHTS, RunRecord
from alkdnet.results.scores import IMAGES, SCORES, Scores
from alkdnet.results.scores import RECORD as SCORES_RECORD
from alkdnet.tracking.settings import Point, settings, training_settings

logger = logging.getLogger(__name__)

# Fields of the protocol that decide the scores.
_PROTOCOL = ("channel", "round_luma", "crop", "self_ensemble", "tile")


@dataclasses.dataclass(frozen=True)
class Input:
    """A data set: `digest` of its contents; `context`: what it was used for."""

    name: str
    digest: str
    context: Literal["training", "testing"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One row of a pipeline as it appears in MLflow.

    Attributes:
        row: its name.
        params: settings by name: `network`, `scale`, `seed`, the network's options, `recipe.<field>`,
            `evaluate.<field>`.
        tags: what identifies the row and its outputs.
        points: loss, learning rate and validation PSNR against the iteration; at iteration 0, the final
            figures: `<set>/psnr`, `<set>/ssim`, `parameters`, `multi_adds`, ...
        inputs: training data and the test sets that it was evaluated on.
        artifacts: path within the run's artifacts: file.
        description: a few lines of Markdown.
        time_ms: when the outputs were written.
        digest: SHA-256 of all the above but the time.
    """

    row: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: tuple[Point, ...]
    inputs: tuple[Input, ...]
    artifacts: Mapping[str, Path]
    description: str
    time_ms: int
    digest: str


def read_records(params: Params, paths: Paths) -> Iterator[Record]:
    """Yield the record of every row that has weights, or the scores of an interpolation.

    Scores of other weights than those in models/ are left out, as there are between a training and the
    evaluation after it. A row with damaged outputs is left out with a warning.

    Raises:
        UserError: complexity.json is damaged.
    """
    costs = read_costs(paths.complexity) if paths.complexity.is_file() else {}
    for name in params.rows:
        try:
            record = _read(params, paths, name, costs.get(name))
        except UserError as error:
            logger.warning("MLflow does not show %s: %s", name, error)
            continue
        if record is not None:
            yield record


def _read(params: Params, paths: Paths, name: str, cost: Cost | None) -> Record | None:
    row, folder, evaluation = params.rows[name], paths.model(name), paths.evaluation(name)
    is_interpolation = row.kind == "interpolation"
    written = evaluation / SCORES if is_interpolation else folder / RECORD
    if not written.is_file():
        return None
    time_ms = int(written.stat().st_mtime * 1000)
    weights = None if is_interpolation else RunRecord.read(folder)
    trained = weights.training if weights else None
    if (trained is None) == (name in params.trained):
        raise UserError(f"{folder}: of a row that was {'trained' if trained else 'not trained'} here")
    label = params.report.labels.get(name, name)
    tags, shown = {"run": name, "label": label}, settings(weights or row)
    figures: dict[str, float] = {}
    points, inputs = [], []
    if weights is not None:
        tags["weights_sha256"] = weights.weights_sha256
    if trained is not None:
        shown |= training_settings(params.trained[name], trained.seed, trained.recipe)
        tags["identity"] = trained.identity
        inputs.append(Input("+".join(trained.sets), trained.data, "training"))
        points = [
            Point(key, logged.iteration, value, time_ms)
            for logged in read_history(folder / HISTORY)
            for key, value in logged.values().items()
        ]
    if cost is not None and (weights is None or cost.parameters == weights.parameters):
        figures |= dataclasses.asdict(cost)
    scores = Scores.read(evaluation) if (evaluation / SCORES).is_file() else None
    is_current = scores is not None and scores.weights_sha256 == tags.get("weights_sha256")
    if scores is not None and is_current:
        shown |= {f"evaluate.{key}": str(getattr(params.evaluate, key)) for key in _PROTOCOL}
        inputs += _test_sets(paths, scores)
        for test_set, score in scores.means().items():
            # As many digits as papers give; scores.json, among the artifacts, has all.
            figures |= {f"{test_set}/psnr": round(score.psnr, 2), f"{test_set}/ssim": round(score.ssim, 4)}
    points += [Point(key, 0, value, time_ms) for key, value in figures.items() if math.isfinite(value)]
    artifacts = dict(_artifacts(paths, name, evaluated=is_current))
    description = f"**{label}**: {shown['network']} ×{shown['scale']}."
    if trained is not None:
        description += f" Trained for {trained.recipe.iterations:,} iterations."
    description += f"\n\nMirrors the outputs of row `{name}` of the pipeline `{params.pipeline}`."
    # The weights need not be read again: their digest is among the tags.
    files = {key: sha256_file(file) for key, file in artifacts.items() if key != WEIGHTS}
    curves = [(point.key, point.iteration, point.value) for point in points]
    used = [dataclasses.astuple(each) for each in inputs]
    content = json.dumps([shown, tags, curves, used, files, description])
    return Record(
        row=name,
        params=shown,
        tags=tags,
        points=tuple(points),
        inputs=tuple(inputs),
        artifacts=artifacts,
        description=description,
        time_ms=time_ms,
        digest=hashlib.sha256(content.encode()).hexdigest(),
    )


def _test_sets(paths: Paths, scores: Scores) -> Iterator[Input]:
    """Yield the test sets of scores, with a digest of their descriptor and the names and sizes of images."""
    for name, images in scores.images.groupby("set", sort=False):
        descriptor = paths.descriptor("test", str(name))
        source = descriptor.read_text(encoding="utf-8") if descriptor.is_file() else ""
        content = source + images[["image", "height", "width"]].to_csv(index=False)
        yield Input(str(name), hashlib.sha256(content.encode()).hexdigest(), "testing")


def _artifacts(paths: Paths, name: str, *, evaluated: bool) -> Iterator[tuple[str, Path]]:
    """Yield the files to keep with a run, with their path among its artifacts."""
    for file in (WEIGHTS, RAW_WEIGHTS, RECORD, HISTORY):
        if (path := paths.model(name) / file).is_file():
            yield file, path
    if not evaluated:
        return
    for file in (SCORES, IMAGES, SCORES_RECORD):
        yield f"evaluation/{file}", paths.evaluation(name) / file
    folder = paths.features(name)
    if (folder / FEATURES).is_file():
        for crop in FeaturesRecord.read(folder).crops:
            if (folder / crop.file).is_file():
                yield crop.file, folder / crop.file
