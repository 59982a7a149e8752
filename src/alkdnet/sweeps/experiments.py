"""The experiments of a sweep, from the output of `dvc exp show --json`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alkdnet.errors import UserError

BASELINE = "baseline"
SUCCESS = "success"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment, or the commit that the experiments start from.

    Attributes:
        name: of the experiment, or `BASELINE`.
        revision: the commit with its results, if its state is `SUCCESS`.
        state: success, queued, running or failed.
        values: parameters by their path, as `recipes.paper.learning_rate`.
    """

    name: str
    revision: str
    state: str
    values: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Experiments that `dvc exp run --queue -n <name> -S ...` has made.

    Attributes:
        name: as given to `-n`.
        keys: the parameters that differ among the experiments; for a single experiment, from the baseline.
        common: other parameters in which all experiments differ from the baseline.
        baseline: the commit that they start from.
        experiments: by number.
    """

    name: str
    keys: tuple[str, ...]
    common: tuple[str, ...]
    baseline: Experiment
    experiments: tuple[Experiment, ...]


def read_sweep(exp_show: Sequence[Mapping[str, Any]], name: str, params_file: str) -> Sweep:
    """Return the experiments <name>-1, <name>-2, ... of the first commit in the output.

    Args:
        exp_show: the parsed output of `dvc exp show --json`.
        name: of the sweep.
        params_file: the parameter file of the pipeline, as DVC names it.

    Raises:
        UserError: there are no such experiments, or they do not differ in the parameter file.
    """
    commit = next(each for each in exp_show if each["rev"] != "workspace")
    known = {str(each["name"]): each for each in commit["experiments"] or () if each["name"]}
    numbers = sorted(
        int(each[len(name) + 1 :]) for each in known if re.fullmatch(rf"{re.escape(name)}-\d+", each)
    )
    if not numbers:
        raise UserError(
            f"no experiment {name}-1, {name}-2, ... starts from commit {commit['rev'][:7]}; "
            f"there are: {', '.join(sorted(known)) or 'none'}"
        )
    baseline = Experiment(
        name=BASELINE, revision=commit["rev"], state=SUCCESS, values=_values(commit, params_file)
    )
    experiments = tuple(_experiment(known[f"{name}-{number}"], params_file) for number in numbers)
    each_values = [baseline.values, *(each.values for each in experiments if each.values)]
    keys = dict.fromkeys(key for values in each_values for key in values)
    differing = tuple(
        key for key in keys if any(values.get(key) != each_values[0].get(key) for values in each_values)
    )
    if not differing:
        raise UserError(
            f"the experiments of {name} do not differ in {params_file}: which pipeline are they of?"
        )
    swept = tuple(
        key
        for key in differing
        if any(values.get(key) != each_values[-1].get(key) for values in each_values[1:])
    )
    common = tuple(key for key in differing if key not in swept) if swept else ()
    return Sweep(
        name=name, keys=swept or differing, common=common, baseline=baseline, experiments=experiments
    )


def _experiment(entry: Mapping[str, Any], params_file: str) -> Experiment:
    # The latest commit comes first. An experiment that did not come from the queue has no executor.
    latest = entry["revs"][0]
    state = (entry["executor"] or {}).get("state", SUCCESS)
    return Experiment(
        name=entry["name"], revision=latest["rev"], state=state, values=_values(latest, params_file)
    )


def _values(entry: Mapping[str, Any], params_file: str) -> dict[str, object]:
    files = (entry["data"] or {}).get("params") or {}
    return dict(_flatten(files.get(params_file, {}).get("data") or {}, ""))


def _flatten(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
