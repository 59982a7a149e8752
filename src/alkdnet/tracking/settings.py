"""Points and parameters of a run as MLflow shows them."""

import dataclasses
import inspect
from collections.abc import Mapping
from functools import cache

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
    """Return the parameters about the network of a row: its options, with their defaults."""
    options = {"kernel_size": "-", **default_options(row.network), **row.options}
    if options.get("convolution") == "bsconv":
        options["kernel_size"] = 3  # of every BSConv, whatever the option says
    values = {"network": row.network, "scale": row.scale, **options}
    return {key: str(value) for key, value in values.items()}


def training_settings(row: Run, seed: int, recipe: Recipe) -> dict[str, str]:
    """Return the parameters about the training of a row; `-` where the recipe has none."""
    values = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    shown = {f"recipe.{key}": "-" if value in (None, ()) else str(value) for key, value in values.items()}
    init_from = row.init_from if isinstance(row, Finetuned) else "-"
    return {"seed": str(seed), "recipe": row.recipe, "init_from": init_from, **shown}


@cache
def default_options(network: str) -> Mapping[str, Option]:
    """Return the defaults of a network's options; empty for a network that no longer exists."""
    from alkdnet.networks import network_class, network_names  # imports torch

    if network not in network_names():
        return {}
    parameters = inspect.signature(network_class(network)).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}
