"""What determines a run, as one digest: the key of its checkpoint and of its record."""

import dataclasses
import hashlib
import inspect
import json
from pathlib import Path

import torch

from alkdnet.config.params import History, Recipe, Run
from alkdnet.data.validation_images import Pairs
from alkdnet.files import python_files, sha256_file
from alkdnet.networks import network_class
from alkdnet.training.runtime.checkpoint import FORMAT

# The files and folders of this package whose code decides the numbers of a training, besides the network's
# own file. They are the `deps` of the stage `train`; everything else surrounds a training.
DECIDING = (
    "data/augmentation.py",
    "data/sampler.py",
    "device.py",
    "evaluation/metrics.py",
    "evaluation/protocol.py",
    "kernels/choice.py",
    "kernels/cpu/training.py",
    "kernels/cuda",
    "layers",
    "training/averaging.py",
    "training/cuda_graph.py",
    "training/distributed.py",
    "training/initialisation.py",
    "training/loop.py",
    "training/losses.py",
    "training/optimizers.py",
    "training/precision.py",
    "training/running_loss.py",
    "training/schedules.py",
    "training/step.py",
    "training/validation.py",
)


def run_identity(
    run: Run,
    recipe: Recipe,
    history: History,
    *,
    data: str,
    validation: Pairs,
    start: Path | None,
) -> str:
    """Return the SHA-256 of the run's row, its recipe, data and code, as hexadecimal digits.

    Args:
        run: the row of `runs`.
        recipe: the training recipe.
        history: what is recorded; of the validation sets the pixels count, not the names.
        data: digest of the packed training images.
        validation: the images (LR, HR) that PSNR is followed on, for the history records it.
        start: the file of the weights that it starts from; None: random ones.
    """
    settings = {
        "format": FORMAT,
        "torch": torch.__version__.partition(".")[0],
        "network": run.network,
        "scale": run.scale,
        "seed": run.seed,
        "options": dict(sorted(run.options.items())),
        "recipe": dataclasses.asdict(recipe),
        "history": [history.log_interval, history.validation_interval],
        "data": data,
        "validation": _digest(validation),
        "start": sha256_file(start) if start else None,
        "code": [sha256_file(path) for path in source_files(run.network)],
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def source_files(network: str) -> list[Path]:
    """Return the files whose code decides the numbers of a run."""
    package = Path(__file__).parents[2]
    return [Path(inspect.getfile(network_class(network))), *python_files(package, DECIDING)]


def _digest(pairs: Pairs) -> str:
    digest = hashlib.sha256()
    for pair in pairs:
        for image_HWC in pair:
            digest.update(repr(image_HWC.shape).encode())
            digest.update(image_HWC.tobytes())
    return digest.hexdigest()
