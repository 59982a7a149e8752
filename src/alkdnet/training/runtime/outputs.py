"""What a finished run leaves: weights, history and record. No clock, host or path is in them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from alkdnet.config.params import Run, Train
from alkdnet.data.packs import PackedImages
from alkdnet.files import atomic_directory, sha256_file, write_json
from alkdnet.training.runtime.history import Row, write_history
from alkdnet.weights.files import save_weights


def write_outputs(
    output: Path,
    model: nn.Module,
    rows: Sequence[Row],
    *,
    run: Run,
    recipe: Train,
    packed: PackedImages,
    identity: str,
) -> None:
    """Write the folder `output` whole: weights.safetensors, history.csv and run.json.

    Args:
        output: the folder; one that is there is replaced.
        model: the trained network.
        rows: its history.
        run: the row of `runs` it was made from.
        recipe: the training recipe.
        packed: the training images.
        identity: digest of all that determined the run.
    """
    with atomic_directory(output) as folder:
        weights = folder / "weights.safetensors"
        save_weights(weights, model)
        write_history(folder / "history.csv", rows)
        record = {
            "network": run.network,
            "scale": run.scale,
            "options": dict(run.options),
            "seed": run.seed,
            "iterations": rows[-1].iteration,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "recipe": dataclasses.asdict(recipe),
            "data": packed.digest,
            "training_sets": packed.sets,
            "config_hash": identity,
            "weights_sha256": sha256_file(weights),
            "torch": torch.__version__.partition("+")[0],
        }
        write_json(folder / "run.json", record)
