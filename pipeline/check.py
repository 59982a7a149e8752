"""Refuse a parameter file that does not make sense, before anything is written or deleted.

The output is constant, but for the descriptor of each data set: changing a parameter, or the table of
sources, runs the check again, and after it only what depends on that parameter or that descriptor.
"""

from dataclasses import asdict

from stage import Stage, run

from alkdnet.config.params import Params
from alkdnet.errors import UserError
from alkdnet.files import atomic_path, write_json
from alkdnet.networks import check_options
from alkdnet.sources.catalogue import source


def check(stage: Stage) -> None:
    """Hold the data sets against the table of sources and the rows against their networks."""
    problems = _problems(stage.params)
    if problems:
        raise UserError("\n".join(f"{stage.params.params_file}: {problem}" for problem in problems))
    for mark in stage.paths.checked_marks:
        with atomic_path(mark) as temporary:
            temporary.write_text("The parameter file was valid.\n", encoding="utf-8")
    for name, dataset in stage.params.datasets.items():
        known = asdict(source(dataset.source))
        write_json(stage.paths.descriptor(name), {key: known[key] for key in ("name", "images", "files")})


def _problems(params: Params) -> list[str]:
    problems = []
    for name, dataset in params.datasets.items():
        try:
            uses = source(dataset.source).uses
        except UserError as error:
            problems.append(f"datasets.{name}.source: {error}")
            continue
        if dataset.use not in uses:
            problems.append(f"datasets.{name}.use: {dataset.source} may be used for {', '.join(uses)} only")
    for name, row in params.runs.items():
        problems += [f"runs.{name}: {problem}" for problem in check_options(row.network, row.options)]
        if row.kind == "trained" and row.network == "bicubic":
            problems.append(f"runs.{name}.kind: bicubic has nothing to train: make it an interpolation")
    return problems


if __name__ == "__main__":
    run(check)
