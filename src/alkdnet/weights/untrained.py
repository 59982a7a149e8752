"""Runs that need no training: released weights under the names of this library, and interpolations."""

from pathlib import Path

import torch

from alkdnet.config.params import Run
from alkdnet.errors import UserError
from alkdnet.files import atomic_directory, sha256_file, write_json
from alkdnet.networks import build
from alkdnet.weights.files import save_weights
from alkdnet.weights.released import import_released


def write_untrained_run(run: Run, inputs: Path, output: Path) -> None:
    """Write the folder `output` of a run that is not trained here: weights.safetensors and run.json.

    Args:
        run: the row of `runs`, of kind `released` or `interpolation`.
        inputs: for released weights the folder with the published file, or with the pair of files for ncnn.
        output: the run's folder.

    Raises:
        UserError: the published file is missing or does not fit the network of the row.
    """
    model = build(run.network, run.scale, run.options)
    published_sha256 = None
    if run.kind == "released":
        published = _published_file(inputs)
        import_released(published, model)
        # Of a pair for ncnn the .bin has the numbers.
        numbers = published.with_suffix(".bin") if published.suffix == ".param" else published
        published_sha256 = sha256_file(numbers)
    with atomic_directory(output) as folder:
        weights = folder / "weights.safetensors"
        save_weights(weights, model)
        record = {
            "network": run.network,
            "scale": run.scale,
            "options": dict(run.options),
            "kind": run.kind,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "published_sha256": published_sha256,
            "weights_sha256": sha256_file(weights),
            "torch": torch.__version__.partition("+")[0],
        }
        write_json(folder / "run.json", record)


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
