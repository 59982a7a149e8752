"""Trains one small run in a process of its own, so that tests can kill it; and makes its data."""

import argparse
import dataclasses
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import yaml

from alkdnet.config.params import Option, Run, Train
from alkdnet.data.images import write_png
from alkdnet.data.packing import TrainingSet, pack
from alkdnet.data.packs import PackedImages
from alkdnet.data.resize import downscale
from alkdnet.data.validation_images import write_validation
from alkdnet.errors import UserError
from alkdnet.training.distributed import no_restart_after_refusal
from alkdnet.training.loop import train
from alkdnet.training.runtime.monitor import Monitor, NullMonitor
from alkdnet.training.runtime.signals import Stopped

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL: Mapping[str, Option] = {"blocks": 1, "channels": 8}
RUN = Run(kind="trained", network="alkdnet", scale=2, inputs="patches/x2", seed=3, options=SMALL)
RECIPE = Train(
    iterations=20,
    batch_size=4,
    patch_size=14,
    learning_rate=1e-3,
    final_learning_rate=1e-7,
    beta1=0.9,
    beta2=0.999,
    validation_set="Set5",
    validation_interval=10,
    log_interval=4,
    checkpoint_interval=3,
    precision="float32",
    device="cpu",
    compile=False,
    threads=1,
    processes=1,
    hosts=1,
)


def photograph(seed: int, size: int) -> np.ndarray:
    """Return integers only of an image (uint8, HWC) with edges: the same on every machine."""
    random = np.random.Generator(np.random.Philox(key=seed))
    blocks_HWC = random.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
    return np.kron(blocks_HWC, np.ones((8, 8, 1), dtype=np.uint8))


def make_patches(folder: Path) -> Path:
    """Write four training images and pack them; return the packs' folder."""
    for number in range(4):
        image_HWC = photograph(number, 48)
        (folder / "hr").mkdir(parents=True, exist_ok=True)
        (folder / "lr" / "x2").mkdir(parents=True, exist_ok=True)
        write_png(folder / "hr" / f"{number}.png", image_HWC)
        write_png(folder / "lr" / "x2" / f"{number}.png", downscale(image_HWC, 2))
    pack([TrainingSet("noise", folder / "hr", folder / "lr")], folder / "patches", [2])
    return folder / "patches"


def validation_pair() -> tuple[np.ndarray, np.ndarray]:
    """Return one image to follow PSNR on (LR, HR)."""
    hr_HWC = photograph(9, 48)
    return downscale(hr_HWC, 2), hr_HWC


def make_pipeline(folder: Path, **recipe: object) -> list[str]:
    """Write what the stage `train` needs into a folder; return the stage's command, to be run in there.

    The parameters are those of study/, with small networks and the recipe above; `recipe` changes it.
    """
    params = yaml.safe_load((ROOT / "study" / "params.yaml").read_text())
    params["dir"] = "study"
    params["train"] = {**dataclasses.asdict(RECIPE), "validation_set": "set5", **recipe}
    for run in params["runs"].values():
        if run["kind"] == "trained":
            run |= SMALL
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    make_patches(folder / "study")
    write_validation(folder / "study" / "validation" / "x2.safetensors", [validation_pair()])
    return [str(ROOT / "pipeline" / "train.py"), "--params", "params.yaml", "--run", "alkdnet_x2"]


def train_small(
    patches: Path,
    folder: Path,
    *,
    run: Run = RUN,
    recipe: Train = RECIPE,
    monitor: Monitor | None = None,
    starter: int | None = None,
) -> Path:
    """Train into folder/run, with checkpoints in folder/checkpoints; return the folder of the outputs."""
    output = folder / "run"
    train(
        run=run,
        recipe=recipe,
        packed=PackedImages.open(patches, run.scale),
        validation=[validation_pair()],
        output=output,
        checkpoints=folder / "checkpoints",
        monitor=monitor or NullMonitor(),
        starter=starter,
    )
    return output


def train_or_exit(patches: Path, folder: Path, recipe: Train, starter: int | None = None) -> None:
    """Train as a process of its own does: what stops it decides its exit code."""
    torch.set_num_threads(1)
    try:
        with no_restart_after_refusal():
            train_small(patches, folder, recipe=recipe, starter=starter)
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
    except UserError as error:
        sys.exit(f"error: {error}")


def main() -> None:
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patches", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--iterations", type=int, default=RECIPE.iterations)
    parser.add_argument("--starter", type=int)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = dataclasses.replace(RECIPE, iterations=arguments.iterations)
    train_or_exit(arguments.patches, arguments.folder, recipe, arguments.starter)


if __name__ == "__main__":
    main()
