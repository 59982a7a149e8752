"""Train a run."""

import logging
import os
import sys

from stage import Stage, run

from alkdnet.data.packs import PackedImages
from alkdnet.data.validation_images import read_validation
from alkdnet.tracking import open_tracker
from alkdnet.training.loop import train as train_network
from alkdnet.training.runtime.launching import launch, launched, local_rank
from alkdnet.training.runtime.signals import Stopped, waiting_process


def train(stage: Stage) -> None:
    """Fill models/<run>."""
    params, paths, row = stage.params, stage.paths, stage.params.trained[stage.key]
    if params.execution.processes > 1 and not launched():
        launch(_work, (sys.argv, _parent()), processes=params.execution.processes)
        return
    try:
        train_network(
            run=row,
            recipe=params.recipes[row.recipe],
            history=params.history,
            execution=params.execution,
            packed=PackedImages.open(paths.patches, row.scale),
            validation=read_validation(paths.validation(row.scale), params.history.validation_sets),
            output=paths.model(stage.key),
            checkpoints=stage.checkpoints,
            monitor=open_tracker(params, paths, stage.key, stage.root),
            start=paths.start(row),
            parent=_parent(),
        )
    except Stopped as stopped:
        logging.warning("%s: stopped by %s", stage.key, stopped)
        sys.exit(stopped.exit_code)


def _parent() -> int | None:
    """Return the process that records the outputs: DVC, which the processes of one training are told of."""
    parent = os.environ.get("ALKDNET_PARENT")
    return int(parent) if parent else waiting_process() if "DVC_STAGE" in os.environ else None


def _work(arguments: list[str], parent: int | None) -> None:
    """Run this stage in one of the processes of a training; what all reject, one reports."""
    sys.argv = arguments
    if parent is not None:
        os.environ["ALKDNET_PARENT"] = str(parent)
    try:
        run(train, table="trained")
    except SystemExit as error:
        raise (SystemExit(1) if isinstance(error.code, str) and local_rank() else error) from None


if __name__ == "__main__":
    run(train, table="trained")
