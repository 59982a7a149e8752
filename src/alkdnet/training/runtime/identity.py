"""What determines a run, as one digest: the key of its checkpoint and of its record."""

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from alkdnet.arrays import ImageHWC
from alkdnet.config.params import HOW_COMPUTED, Run, Train
from alkdnet.files import sha256_file
from alkdnet.networks import network_class
from alkdnet.training.runtime.checkpoint import FORMAT

# The files, in this package, whose code decides the numbers of a training, besides the network's own.
DECIDING = (
    "data/augmentation.py",
    "data/sampler.py",
    "device.py",
    "evaluation/metrics.py",
    "evaluation/protocol.py",
    "kernels/cpu/training.py",
    "layers/*.py",
    "training/distributed.py",
    "training/loop.py",
    "training/precision.py",
    "training/schedule.py",
    "training/validation.py",
)

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
    package = Path(__file__).parents[2]
    return [
        Path(inspect.getfile(network_class(network))),
        *sorted(p for f in DECIDING for p in package.glob(f)),
    ]


def _digest(pairs: Sequence[tuple[ImageHWC, ImageHWC]]) -> str:
    digest = hashlib.sha256()
    for pair in pairs:
        for image_HWC in pair:
            digest.update(repr(image_HWC.shape).encode())
            digest.update(image_HWC.tobytes())
    return digest.hexdigest()
