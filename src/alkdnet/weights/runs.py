"""Folders `models/<run>`: importing released weights into one, and loading the network of one."""

from pathlib import Path

import torch
from torch import nn

from alkdnet.config.params import Released
from alkdnet.errors import UserError
from alkdnet.files import atomic_directory, sha256_file
from alkdnet.networks import build
from alkdnet.results.run import WEIGHTS, Published, RunRecord
from alkdnet.weights.files import load_weights, save_weights
from alkdnet.weights.released import import_released


def import_run(row: Released, published: Path, output: Path) -> None:
    """Write the folder `output` of released weights: weights.safetensors and run.json.

    Args:
        row: the row of `released`.
        published: folder with the one published file.
        output: the run's folder.

    Raises:
        UserError: the published file is missing or does not fit the network of the row.
    """
    files = sorted(published.iterdir())
    if len(files) != 1:
        raise UserError(f"{published}: expected the one file of released weights, found {len(files)} files")
    model = build(row.network, row.scale, row.options)
    import_released(files[0], model, network=row.network)
    with atomic_directory(output) as folder:
        save_weights(folder / WEIGHTS, model)
        record = RunRecord(
            network=row.network,
            scale=row.scale,
            options=dict(row.options),
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            weights_sha256=sha256_file(folder / WEIGHTS),
            torch=torch.__version__.partition("+")[0],
            training=None,
            published=Published(source=row.source, sha256=sha256_file(files[0])),
        )
        record.write(folder)


def load_run(folder: Path) -> tuple[nn.Module, RunRecord]:
    """Return the network of a run's folder with its weights, and the run's record.

    Raises:
        UserError: a file is missing or damaged, or the weights are not those of the record.
    """
    record = RunRecord.read(folder)
    weights = folder / WEIGHTS
    model = build(record.network, record.scale, record.options)
    load_weights(weights, model)
    if sha256_file(weights) != record.weights_sha256:
        raise UserError(f"{weights}: not the weights that run.json describes; run its stage again")
    return model, record
