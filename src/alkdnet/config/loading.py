"""From a parameter file to `Params`, or to a list of everything that is wrong with it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from alkdnet.config.checks import contradictions
from alkdnet.config.params import Finetuned, Params, Released, Row, Run
from alkdnet.config.schema import parse
from alkdnet.config.yaml12 import read_yaml
from alkdnet.errors import UserError, one_line

# The pipeline whose dvc.yaml and params.yaml lie at the root of the repository.
DEMO = "demo"


def params_path(pipeline: str) -> Path:
    """Return the parameter file of a pipeline, relative to the repository."""
    return Path("params.yaml") if pipeline == DEMO else Path(pipeline) / "params.yaml"


def dvc_target(pipeline: str, stage: str = "") -> str:
    """Return what `dvc repro` takes, in the root of the repository, for a pipeline or one of its stages."""
    file = "dvc.yaml" if pipeline == DEMO else f"{pipeline}/dvc.yaml"
    return f"{file}:{stage}" if stage else file


def load_pipeline(pipeline: str, root: Path = Path()) -> Params:
    """Read and validate the parameter file of a pipeline by its name; see `load_params`."""
    return load_params(root / params_path(pipeline), pipeline)


def load_params(path: Path, pipeline: str) -> Params:
    """Read and validate a parameter file.

    Args:
        path: the file.
        pipeline: name of the pipeline.

    Raises:
        UserError: the file is missing, is not YAML, or has unknown, missing or impossible values; the message
            lists all of them by key path.
    """
    content = read_yaml(path)
    problems: list[str] = []
    if isinstance(content, Mapping):
        if "pipeline" in content:
            problems.append("pipeline: unknown key; the name of a pipeline is set in its dvc.yaml")
        problems += [
            f"{table}.{name}.options: unknown key; options of the network are keys of the row itself"
            for table in ("runs", "finetuned", "released")
            if isinstance(rows := content.get(table), Mapping)
            for name, row in rows.items()
            if isinstance(row, Mapping) and "options" in row
        ]
        content = {
            **content,
            "pipeline": pipeline,
            "runs": _rows_with_options(content.get("runs"), Run),
            "finetuned": _rows_with_options(content.get("finetuned"), Finetuned),
            "released": _rows_with_options(content.get("released"), Released),
        }
    params = parse(Params, content, "", problems)
    if params is not None:
        problems += contradictions(params)
    if params is None or problems:
        raise UserError("\n".join(f"{path}: {one_line(problem)}" for problem in problems))
    return params


def _rows_with_options(rows: object, kind: type[Row]) -> object:
    """Move the keys of a row that are not fields of `kind`, the network's options, under `options`."""
    if not isinstance(rows, Mapping):
        return rows
    own = {field.name for field in dataclasses.fields(kind)} - {"options"}
    return {
        name: {
            **{key: value for key, value in row.items() if key in own},
            "options": {key: value for key, value in row.items() if key not in own},
        }
        if isinstance(row, Mapping)
        else row
        for name, row in rows.items()
    }
