"""What is impossible in a parameter file although every single value has the right type."""

import re
from pathlib import Path

from alkdnet.config.params import Evaluate, Execution, Loss, Params, Recipe, Row, Run
from alkdnet.config.paths import EFFICIENCY, MARK
from alkdnet.errors import shown

# Names become folders, DVC stages and arguments of a command.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
NAME_RULE = "a name has 1 to 100 letters, digits, _ and -, and starts with a letter or a digit"


def contradictions(params: Params) -> list[str]:
    """Return the problems, each beginning with the path of its key."""
    return [
        *_name_problems(params),
        *_dataset_problems(params),
        *_scale_problems(params.downscale.scales),
        *_execution_problems(params.execution),
        *(problem for name in params.recipes for problem in _recipe_problems(params, name)),
        *(problem for name in params.rows for problem in _row_problems(params, name)),
        *(problem for name in params.finetuned for problem in _start_problems(params, name)),
        *_protocol_problems(params.evaluate),
        *_reference_problems(params),
    ]


def _name_problems(params: Params) -> list[str]:
    """Return the names that cannot be those of folders beside each other, or of DVC's stages."""
    tables = {
        "datasets": params.datasets,
        "recipes": params.recipes,
        "runs": params.runs,
        "finetuned": params.finetuned,
        "released": params.released,
    }
    problems = [
        f"{table}.{name}: {NAME_RULE}"
        for table, names in tables.items()
        for name in names
        if not NAME.fullmatch(name)
    ]
    if not NAME.fullmatch(params.pipeline) or params.pipeline == EFFICIENCY:
        rule = "that is the folder of measured times" if params.pipeline == EFFICIENCY else NAME_RULE
        problems.append(f"pipeline, in dvc.yaml: {shown(params.pipeline)} is no name of a pipeline: {rule}")
    if MARK in params.datasets:
        problems.append(f"datasets.{MARK}: this name is used by the pipeline itself: choose another")
    problems += [
        f"{table}.{name}: a row of {other} has this name too; rows of results need names of their own"
        for table, other in (("released", "runs"), ("released", "finetuned"), ("finetuned", "runs"))
        for name in getattr(params, table)
        if name in getattr(params, other)
    ]
    problems += [
        f"{table}.bicubic_x{scale}: this name is that of the interpolation: choose another"
        for table in ("runs", "finetuned", "released")
        for scale in params.downscale.scales
        if f"bicubic_x{scale}" in getattr(params, table)
    ]
    return problems


def _dataset_problems(params: Params) -> list[str]:
    problems = []
    outputs = Path(params.pipeline).resolve()
    for name, dataset in params.datasets.items():
        problems += _path_problems(f"datasets.{name}.path", dataset.path)
        problems += _name_problem(f"datasets.{name}.source", dataset.source)
        if (path := _resolved(dataset.path)) and path.is_relative_to(outputs):
            problems.append(
                f"datasets.{name}.path: {dataset.path} lies in {params.pipeline}/, where the pipeline "
                "deletes and writes folders: keep your images elsewhere"
            )
        if dataset.source in ("folder", "manga109") and dataset.path is None:
            problems.append(f"datasets.{name}.path: missing; source {dataset.source} needs the folder's path")
        if dataset.source not in ("folder", "manga109") and dataset.path is not None:
            problems.append(f"datasets.{name}.path: source {dataset.source} takes none; leave it out")
    for name, row in params.released.items():
        problems += _path_problems(f"released.{name}.path", row.path)
        problems += _name_problem(f"released.{name}.source", row.source)
        if (row.source == "file") != (row.path is not None):
            rule = "needs the file's path" if row.source == "file" else "takes none; leave it out"
            problems.append(f"released.{name}.path: source {row.source} {rule}")
    return problems


def _name_problem(where: str, name: str) -> list[str]:
    return [] if NAME.fullmatch(name) else [f"{where}: {shown(name)} is no name: {NAME_RULE}"]


def _path_problems(where: str, path: str | None) -> list[str]:
    if path is None or _resolved(path) is not None:
        return []
    return [f"{where}: {shown(path)} is no path of a file or folder on this computer"]


def _resolved(path: str | None) -> Path | None:
    """Return the absolute path; None: there is none, as for the folder of an unknown user."""
    try:
        return Path(path).expanduser().resolve() if path else None
    except (OSError, RuntimeError, ValueError):
        return None


def _scale_problems(scales: tuple[int, ...]) -> list[str]:
    if not scales or len(set(scales)) < len(scales):
        return [f"downscale.scales: {list(scales)} must hold at least one scale, and each once"]
    return []


def _execution_problems(execution: Execution) -> list[str]:
    if execution.device == "cpu" and execution.kernels == "triton":
        return ["execution.kernels: triton needs a CUDA device; with device cpu: auto"]
    return []


def _recipe_problems(params: Params, name: str) -> list[str]:
    recipe, execution, where = params.recipes[name], params.execution, f"recipes.{name}"
    problems = []
    if recipe.batch_size % execution.processes:
        problems.append(
            f"{where}.batch_size: {recipe.batch_size} patches cannot be shared evenly by "
            f"{execution.processes} processes (execution.processes)"
        )
    if execution.device == "cpu" and recipe.precision != "float32":
        problems.append(
            f"{where}.precision: {recipe.precision} needs a CUDA device; with device cpu: float32"
        )
    if recipe.loss == Loss():
        problems.append(f"{where}.loss: no term has a weight; the paper's is {{l1: 1}}")
    return [*problems, *_optimizer_problems(recipe, where), *_schedule_problems(recipe, where)]


def _optimizer_problems(recipe: Recipe, where: str) -> list[str]:
    problems = []
    if (recipe.optimizer == "adan") != (recipe.beta3 is not None):
        problems.append(
            f"{where}.beta3: "
            + ("missing; adan needs it" if recipe.beta3 is None else "only adan has it; leave it out")
        )
    if recipe.optimizer == "adam" and recipe.weight_decay:
        problems.append(f"{where}.weight_decay: adam has none here; set it to 0, or take adamw")
    return problems


def _schedule_problems(recipe: Recipe, where: str) -> list[str]:
    cosine = recipe.schedule == "cosine"
    problems = []
    for key, known, needed in (
        ("final_learning_rate", recipe.final_learning_rate is not None, cosine),
        ("milestones", bool(recipe.milestones), not cosine),
        ("gamma", recipe.gamma is not None, not cosine),
    ):
        if known != needed:
            rule = "needs it" if needed else "has none; leave it out"
            problems.append(f"{where}.{key}: schedule {recipe.schedule} {rule}")
    if sorted(set(recipe.milestones)) != list(recipe.milestones):
        problems.append(f"{where}.milestones: {list(recipe.milestones)} must increase")
    if max((recipe.warmup, *recipe.milestones)) >= recipe.iterations:
        problems.append(
            f"{where}: warmup and milestones must lie before the end, iteration {recipe.iterations}"
        )
    return problems


def _row_problems(params: Params, name: str) -> list[str]:
    row: Row = params.rows[name]
    tables = (table for table in ("runs", "finetuned", "released") if name in getattr(params, table))
    where = f"{next(tables, 'bicubic')}.{name}"
    problems = []
    if row.scale not in params.downscale.scales:
        problems.append(
            f"{where}.scale: {row.scale} is not among downscale.scales; there are: "
            f"{', '.join(map(str, params.downscale.scales))}"
        )
    problems += _name_problem(f"{where}.network", row.network)
    if isinstance(row, Run) and row.recipe not in params.recipes:
        problems.append(
            f"{where}.recipe: {row.recipe} is not among recipes; there are: "
            f"{', '.join(params.recipes) or 'none'}"
        )
    if row.kind == "trained" and not params.names("train"):
        problems.append(f"{where}: nothing to train on; add a data set with `use: train` to datasets")
    if row.kind != "interpolation" and row.network == "bicubic":
        problems.append(f"{where}.network: bicubic has no weights; every pipeline has its rows by itself")
    return problems


def _start_problems(params: Params, name: str) -> list[str]:
    """Return whether a row of `finetuned` starts from a row that has weights before it is trained."""
    where, start = f"finetuned.{name}.init_from", params.finetuned[name].init_from
    known = {**params.runs, **params.released, **params.finetuned}
    if start not in known:
        return [f"{where}: {start} is no row with weights; there are: {', '.join(known)}"]
    seen = [name]
    while start in params.finetuned and start not in seen:
        seen.append(start)
        start = params.finetuned[start].init_from
    if start == name:
        return [f"{where}: the row starts from itself: {' from '.join([*seen, name])}"]
    return []


def _protocol_problems(evaluate: Evaluate) -> list[str]:
    problems = []
    if "paper" not in evaluate.protocols or len(set(evaluate.protocols)) < len(evaluate.protocols):
        problems.append(
            f"evaluate.protocols: {list(evaluate.protocols)} must hold paper, and each protocol once"
        )
    if "classic" in evaluate.protocols and (evaluate.self_ensemble or evaluate.tile is not None):
        problems.append(
            "evaluate.protocols: classic goes with self_ensemble false and tile null only; remove it"
        )
    return problems


def _reference_problems(params: Params) -> list[str]:
    """Return where a section names a row or a data set that does not exist.

    Tables and curves may name absent runs: they say what is missing, so that rows can be removed from `runs`.
    """
    tests = params.names("test")
    named = [("history.validation_sets", name) for name in params.history.validation_sets]
    named += [(f"released.{row}.skip", name) for row, known in params.released.items() for name in known.skip]
    problems = [
        f"{where}: {name} is no data set with `use: test`; there are: {', '.join(tests) or 'none'}"
        for where, name in (*named, ("features.maps_set", params.features.maps_set))
        if name not in tests
    ]
    if params.features.field_size % 2 == 0:
        problems.append(
            f"features.field_size: {params.features.field_size} is even; a centre needs an odd one"
        )
    if params.features.maps_run not in params.rows:
        problems.append(
            f"features.maps_run: {params.features.maps_run} is no row; there are: {', '.join(params.rows)}"
        )
    images = [("features.maps_image", params.features.maps_image)]
    for index, crop in enumerate(params.features.crops):
        images.append((f"features.crops[{index}].image", crop.image))
        problems += _name_problem(f"features.crops[{index}].set", crop.set)
    problems += [
        f"{where}: {shown(image)} is no name of a file"
        for where, image in images
        if "/" in image or not image
    ]
    report = params.report
    for where, ablation in (
        ("report.table1", report.table1),
        ("report.table2", report.table2),
        ("report.table3", report.table3),
    ):
        if ablation.rows and ablation.baseline not in ablation.rows:
            problems.append(f"{where}.baseline: {ablation.baseline} is not among its rows")
    return problems
