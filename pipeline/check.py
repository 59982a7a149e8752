"""Reject a parameter file that does not make sense, before anything is written or deleted.

The output is constant, but for the descriptor of each source: changing a parameter, or the catalogue of
sources, runs the check again, and after it only what depends on that parameter or that descriptor.
"""

import logging
from typing import get_args

from stage import Stage, run

from alkdnet.config.loading import params_path
from alkdnet.config.params import Params
from alkdnet.errors import UserError
from alkdnet.files import atomic_path
from alkdnet.networks import check_options
from alkdnet.results.descriptor import Descriptor
from alkdnet.sources.catalogue import Use, use_problems
from alkdnet.training.runtime.devices import precision_warnings

logger = logging.getLogger(__name__)


def check(stage: Stage) -> None:
    """Check the sources against the catalogue and the rows against their networks."""
    path = params_path(stage.params.pipeline)
    if problems := _problems(stage.params):
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems))
    for warning in precision_warnings(stage.params):
        logger.warning("%s: %s", path, warning)
    for mark in stage.paths.checked_marks:
        with atomic_path(mark) as temporary:
            temporary.write_text("The parameter file was valid.\n", encoding="utf-8")
    for name, dataset in stage.params.datasets.items():
        Descriptor.of(dataset.source, dataset.path).write(stage.paths.descriptor(dataset.use, name))
    for name, row in stage.params.released.items():
        Descriptor.of(row.source, row.path).write(stage.paths.descriptor("weights", name))
    for use in get_args(Use):
        stage.paths.descriptor(use, "").parent.mkdir(parents=True, exist_ok=True)


def _problems(params: Params) -> list[str]:
    problems = []
    for name, dataset in params.datasets.items():
        problems += [f"datasets.{name}.source: {each}" for each in use_problems(dataset.source, dataset.use)]
    for name, row in params.released.items():
        found = use_problems(row.source, "weights", network=row.network, scale=row.scale)
        problems += [f"released.{name}.source: {each}" for each in found]
    for table in ("runs", "finetuned", "released"):
        for name, row in getattr(params, table).items():
            problems += [f"{table}.{name}: {problem}" for problem in check_options(row.network, row.options)]
    return problems


if __name__ == "__main__":
    run(check)
