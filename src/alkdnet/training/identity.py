"""What determines a run, as one digest: the key of its checkpoint and of its record."""

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from alkdnet.config import HOW_COMPUTED, Run, Train
from alkdnet.data import augmentation, sampler
from alkdnet.evaluation import metrics, protocol
from alkdnet.files import sha256_file
from alkdnet.models import blocks, device, luma
from alkdnet.models.build import network_class
from alkdnet.training.checkpoint import FORMAT

ImageHWC = NDArray[np.uint8]

# Threads, processes, hosts, device and compilation change the last bits, yet a run may be continued on
# another machine (docs/training.md). Of the validation set the pixels count, not the name.
NOT_DETERMINING = (*HOW_COMPUTED, "validation_set")


def run_identity(
    run: Run, recipe: Train, *, data: str, validation: Sequence[tuple[ImageHWC, ImageHWC]]
) -> str:
    """Return the SHA-256 of the run's row, its recipe, data and code, as hexadecimal digits.

    Args:
        run: the row of `runs`.
        recipe: the training recipe.
        data: digest of the packed training images.
        validation: the images (LR, HR) that PSNR is followed on, for the history records it.
    """
    settings = {
        "format": FORMAT,
        "torch": torch.__version__.partition(".")[0],
        "network": run.network,
        "scale": run.scale,
        "seed": run.seed,
        "options": dict(sorted(run.options.items())),
        "recipe": {
            name: value for name, value in dataclasses.asdict(recipe).items() if name not in NOT_DETERMINING
        },
        "data": data,
        "validation": _digest(validation),
        "code": [sha256_file(path) for path in source_files(run.network)],
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def source_files(network: str) -> list[Path]:
    """Return the files whose code decides the numbers of a run."""
    modules = (network_class(network), blocks, luma, device, sampler, augmentation, metrics, protocol)
    training = ("cpu", "distributed", "loop", "precision", "schedule", "validation")
    return [
        *(Path(inspect.getfile(module)) for module in modules),
        *(Path(__file__).with_name(f"{name}.py") for name in training),
    ]


def _digest(pairs: Sequence[tuple[ImageHWC, ImageHWC]]) -> str:
    digest = hashlib.sha256()
    for pair in pairs:
        for image_HWC in pair:
            digest.update(repr(image_HWC.shape).encode())
            digest.update(image_HWC.tobytes())
    return digest.hexdigest()
