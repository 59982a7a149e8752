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

from alkdnet.config.params import Execution, History, Option, Recipe, Run
from alkdnet.data.images import write_png
from alkdnet.data.packing import TrainingSet, pack
from alkdnet.data.packs import PackedImages
from alkdnet.data.resize import downscale
from alkdnet.data.validation_images import Pairs, write_validation
from alkdnet.errors import UserError
from alkdnet.training.loop import train
from alkdnet.training.runtime.launching import launch
from alkdnet.training.runtime.monitor import Monitor, NullMonitor
from alkdnet.training.runtime.signals import Stopped

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL: Mapping[str, Option] = {"blocks": 1, "channels": 8}
RUN = Run(network="alkdnet", scale=2, recipe="paper", seed=3, options=SMALL)
RECIPE = Recipe(
    iterations=20,
    batch_size=4,
    patch_size=14,
    learning_rate=1e-3,
    final_learning_rate=1e-7,
    beta1=0.9,
    beta2=0.999,
    precision="float32",
)
RECORDED = History(log_interval=4, validation_interval=10, validation_sets=("set5",))
EXECUTION = Execution(device="cpu", compile=False, threads=1, processes=1, checkpoint_interval=3)


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
    pack([TrainingSet("noise", folder / "hr", folder / "lr")], folder / "patches", {2: 1})
    return folder / "patches"


def validation_pair() -> tuple[np.ndarray, np.ndarray]:
    """Return one image to follow PSNR on (LR, HR)."""
    hr_HWC = photograph(9, 48)
    return downscale(hr_HWC, 2), hr_HWC


def make_pipeline(folder: Path, *, recipe: Recipe = RECIPE, execution: Execution = EXECUTION) -> list[str]:
    """Write what the stage `train` needs into a folder; return the stage's command, to be run in there.

    The parameters are those of study/, with small networks and the recipe above.
    """
    params = yaml.safe_load((ROOT / "study" / "params.yaml").read_text())
    params["recipes"] = {"paper": dataclasses.asdict(recipe)}
    params["history"] = {**dataclasses.asdict(RECORDED), "validation_sets": ["set5"]}
    params["execution"] = dataclasses.asdict(execution)
    for run in params["runs"].values():
        run |= SMALL
    (folder / "study").mkdir()
    (folder / "study" / "params.yaml").write_text(yaml.safe_dump(params))
    make_patches(folder / "study")
    write_validation(folder / "study" / "validation" / "x2" / "set5.safetensors", [validation_pair()])
    return [str(ROOT / "pipeline" / "train.py"), "study", "--key", "alkdnet_x2"]


def train_small(
    patches: Path,
    folder: Path,
    *,
    run: Run = RUN,
    recipe: Recipe = RECIPE,
    history: History = RECORDED,
    execution: Execution = EXECUTION,
    monitor: Monitor | None = None,
    validation: Pairs | None = None,
    start: Path | None = None,
    parent: int | None = None,
) -> Path:
    """Train into folder/run, with checkpoints in folder/checkpoints; return the folder of the outputs."""
    output = folder / "run"
    train(
        run=run,
        recipe=recipe,
        history=history,
        execution=execution,
        packed=PackedImages.open(patches, run.scale),
        validation=[validation_pair()] if validation is None else validation,
        output=output,
        checkpoints=folder / "checkpoints",
        monitor=monitor or NullMonitor(),
        start=start,
        parent=parent,
    )
    return output


def train_or_exit(
    patches: Path, folder: Path, recipe: Recipe, parent: int | None = None, monitor: Monitor | None = None
) -> None:
    """Train as a process of its own does: what stops it decides its exit code."""
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        train_small(patches, folder, recipe=recipe, parent=parent, monitor=monitor)
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
    parser.add_argument("--parent", type=int)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    recipe = dataclasses.replace(RECIPE, iterations=arguments.iterations)
    work = (arguments.patches, arguments.folder, recipe, arguments.parent)
    if arguments.processes > 1:
        launch(train_or_exit, work, processes=arguments.processes)
    else:
        train_or_exit(*work)


if __name__ == "__main__":
    main()
