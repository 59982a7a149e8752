"""Train a run, or import released weights or write an interpolation, which need no training."""

import logging
import os
import sys

from stage import Stage, run

from alkdnet.data.packs import PackedImages
from alkdnet.data.validation_images import read_validation
from alkdnet.tracking import open_tracker
from alkdnet.training import distributed
from alkdnet.training.loop import train as train_network
from alkdnet.training.runtime.signals import Stopped, caller
from alkdnet.weights.untrained import write_untrained_run

# Names the process that waits for the outputs to those that torchrun starts, and starts again.
STARTER = "ALKDNET_STARTER"


def train(stage: Stage) -> None:
    """Fill models/<run>."""
    params, paths = stage.params, stage.paths
    row, recipe, output = params.runs[stage.key], params.train, paths.model(stage.key)
    if row.kind != "trained":
        write_untrained_run(row, paths.directory / row.inputs, output)
        return
    if "DVC_STAGE" in os.environ:
        # DVC waits for this process; when it is gone, nobody takes the outputs. Asked for before torchrun is
        # between the two: a worker that it starts again would find no DVC any more, and train for nobody.
        os.environ.setdefault(STARTER, str(caller()))
    if recipe.hosts * recipe.processes > 1 and not distributed.under_torchrun():
        meeting = os.environ.get("ALKDNET_RENDEZVOUS")
        command = distributed.torchrun_command(
            sys.argv, processes=recipe.processes, hosts=recipe.hosts, rendezvous=meeting, name=stage.key
        )
        os.execve(command[0], command, {**os.environ, **distributed.TORCHRUN_ENVIRONMENT})
    try:
        with distributed.no_restart_after_refusal():
            train_network(
                run=row,
                recipe=recipe,
                packed=PackedImages.open(paths.patches, row.scale),
                validation=read_validation(paths.validation / f"x{row.scale}.safetensors"),
                output=output,
                checkpoints=stage.checkpoints,
                monitor=open_tracker(params, paths, stage.key, stage.root),
                starter=int(os.environ.get(STARTER) or 0) or None,
            )
    except Stopped as stopped:
        logging.warning("%s: stopped by %s", stage.key, stopped)
        sys.exit(stopped.exit_code)


if __name__ == "__main__":
    run(train, each="run")
