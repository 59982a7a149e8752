"""Folders `models/<run>`: importing released weights into one, and loading the network of one."""

from pathlib import Path

import torch
from torch import nn

from alkdnet.config.params import Released
from alkdnet.errors import UserError
from alkdnet.files import atomic_directory, sha256_file
from alkdnet.networks import build
from alkdnet.results.records import damaged
from alkdnet.results.run import RECORD, WEIGHTS, Published, RunRecord
from alkdnet.weights.files import load_weights, save_weights
from alkdnet.weights.released import import_released


def import_run(row: Released, published: Path, output: Path) -> None:
    """Write the folder `output` of released weights: weights.safetensors and run.json.

    Args:
        row: the row of `released`.
        published: folder with the published file, or with the pair of files for ncnn.
        output: the run's folder.

    Raises:
        UserError: the published file is missing or does not fit the network of the row.
    """
    file = _published_file(published)
    model = build(row.network, row.scale, row.options)
    import_released(file, model)
    # Of a pair for ncnn the .bin has the numbers.
    numbers = file.with_suffix(".bin") if file.suffix == ".param" else file
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
            published=Published(source=row.source, sha256=sha256_file(numbers), skip=row.skip),
        )
        record.write(folder)


def load_run(folder: Path) -> tuple[nn.Module, RunRecord]:
    """Return the network of a run's folder with its weights, and the run's record.

    Raises:
        UserError: a file is missing or damaged, or the weights are not those of the record.
    """
    record = RunRecord.read(folder)
    weights = folder / WEIGHTS
    try:
        model = build(record.network, record.scale, record.options)
    except UserError as error:
        raise damaged(folder / RECORD, str(error)) from None
    load_weights(weights, model)
    if sha256_file(weights) != record.weights_sha256:
        raise UserError(f"{weights}: not the weights that run.json describes; run its stage again")
    return model, record


def _published_file(folder: Path) -> Path:
    """Return the file to import; a .bin belongs to the .param of the same name."""
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix != ".bin" or not path.with_suffix(".param").is_file()
    ]
    if len(files) != 1:
        raise UserError(f"{folder}: expected one file of released weights, found {len(files)}")
    return files[0]
