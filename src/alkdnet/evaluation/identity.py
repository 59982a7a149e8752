"""What determines the scores of an image, besides the image, as one digest."""

import dataclasses
import hashlib
import inspect
import json
from pathlib import Path

import torch

from alkdnet.config.params import Evaluate, Row
from alkdnet.files import sha256_file
from alkdnet.networks import network_class

# The folders of this package whose code decides the scores of a row, besides the network's own file. They
# are among the `deps` of the stage `evaluate`.
DECIDING = ("data", "evaluation", "inference", "kernels", "layers")


def evaluation_identity(
    row: Row, settings: Evaluate, *, weights_sha256: str | None, device: torch.device
) -> str:
    """Return the SHA-256 of row, weights, protocols, device and code, as hexadecimal digits."""
    package = Path(__file__).parents[1]
    files = [file for folder in DECIDING for file in sorted((package / folder).rglob("*.py"))]
    decides = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "network": row.network,
        "scale": row.scale,
        "options": dict(sorted(row.options.items())),
        "weights": weights_sha256,
        "settings": dataclasses.asdict(settings),
        "code": [sha256_file(file) for file in (Path(inspect.getfile(network_class(row.network))), *files)],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
