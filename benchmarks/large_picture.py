"""Time and peak memory of `alkdnet upscale` for one large picture, in tiles.

    PYTHONPATH=src python -m benchmarks.large_picture [--network fsrcnn] [--width 2500] [--height 2500]

prints a row for docs/inference.md: a picture of noise through a network with random weights, to a PNG. The
memory depends little on the network.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from alkdnet.networks import build, network_names
from alkdnet.process import peak_memory_mib
from alkdnet.upscaling.batch import TILE, Engine
from alkdnet.upscaling.models import Model
from alkdnet.upscaling.pictures import upscale_file


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", choices=network_names(), default="fsrcnn")
    parser.add_argument("--width", type=int, default=2500)
    parser.add_argument("--height", type=int, default=2500)
    parser.add_argument("--scale", type=int, default=4)
    arguments = parser.parse_args()
    network, scale = arguments.network, arguments.scale
    model = Model(build(network, scale, {}).eval(), network, None, scale)
    engine = Engine(model, device=torch.device("cpu"), tile=TILE)
    with tempfile.TemporaryDirectory() as folder:
        small, picture = Path(folder, "small.png"), Path(folder, "picture.png")
        random = np.random.default_rng(0)
        for path, size in ((small, (96, 96)), (picture, (arguments.height, arguments.width))):
            Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
        run = partial(upscale_file, network=engine, scale=scale)
        run(small, Path(folder, "out.png"))
        before, start = peak_memory_mib() or 0.0, time.perf_counter()
        height, width, _ = run(picture, Path(folder, "out.png"))
        seconds = time.perf_counter() - start
        peak = ((peak_memory_mib() or 0.0) - before) * 2**20
    print(
        f"| {arguments.width} x {arguments.height} | {network} | {scale} | {height * width / 1e6:.0f} MP | "
        f"{peak / 2**30:.2f} GiB, {peak / (height * width):.1f} bytes a pixel | {seconds:.0f} s |"
    )


if __name__ == "__main__":
    main()
