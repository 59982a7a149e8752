"""Values and settings of a run as MLflow shows them. Imported by every training: it imports nothing heavy."""

import ast
import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from alkdnet.config.params import Finetuned, Option, Recipe, Row, Run
from alkdnet.results.run import RunRecord


@dataclasses.dataclass(frozen=True)
class Point:
    """One value of a curve; `time_ms` is the wall clock in milliseconds since 1970."""

    key: str
    iteration: int
    value: float
    time_ms: int


def settings(row: Row | RunRecord) -> dict[str, str]:
    """Return the network of a row as MLflow shows it: options with their defaults."""
    options = {"kernel_size": "-", **default_options(row.network), **row.options}
    if options.get("convolution") == "bsconv":
        options["kernel_size"] = 3  # of every BSConv, whatever the option says
    values = {"network": row.network, "scale": row.scale, **options}
    return {key: str(value) for key, value in values.items()}


def training_settings(row: Run, seed: int, recipe: Recipe) -> dict[str, str]:
    """Return how a row is trained as MLflow shows it; `-` is what the recipe does not have."""
    values = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    shown = {f"recipe.{key}": "-" if value in (None, ()) else str(value) for key, value in values.items()}
    init_from = row.init_from if isinstance(row, Finetuned) else "-"
    return {"seed": str(seed), "recipe": row.recipe, "init_from": init_from, **shown}


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
