"""What determines the scores of an image, besides the image, as one digest."""

import dataclasses
import hashlib
import inspect
import json
from pathlib import Path

import torch

from alkdnet.config.params import Evaluate, Row
from alkdnet.files import python_files, sha256_file
from alkdnet.networks import network_class

# The files and folders of this package whose code decides the scores of a row, besides the network's own
# file. They are the `deps` of the stages `evaluate` and `evaluate_bicubic`.
DECIDING = (
    "data/images.py",
    "data/pairs.py",
    "data/resize.py",
    "device.py",
    "evaluation",
    "inference",
    "kernels",
    "layers",
    "results/scores.py",
)

_PACKAGE = Path(__file__).parents[1]


def evaluation_identity(
    row: Row, settings: Evaluate, *, weights_sha256: str | None, device: torch.device
) -> str:
    """Return the SHA-256 of row, weights, protocols, device and code, as hexadecimal digits."""
    files = [Path(inspect.getfile(network_class(row.network))), *python_files(_PACKAGE, DECIDING)]
    decides = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "network": row.network,
        "scale": row.scale,
        "options": dict(sorted(row.options.items())),
        "weights": weights_sha256,
        "settings": dataclasses.asdict(settings),
        "code": [sha256_file(file) for file in files],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
