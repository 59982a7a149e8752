"""Which GPUs of a host the trainings get, and which trainings need one."""

from collections.abc import Sequence

import torch

from alkdnet.config.params import Execution, Params
from alkdnet.errors import UserError


def device_groups(devices: Sequence[str], execution: Execution) -> list[str]:
    """Return the GPUs of each training at a time, as CUDA_VISIBLE_DEVICES names them; empty without GPUs.

    Args:
        devices: all GPUs.
        execution: with its device and the number of processes of one training, each of which takes a GPU.

    Raises:
        UserError: there are GPUs, but too few for one training.
    """
    if execution.device == "cpu":
        return []
    processes = execution.processes
    groups = [devices[at : at + processes] for at in range(0, len(devices) - processes + 1, processes)]
    if devices and not groups:
        raise UserError(f"execution.processes: {processes}, but there are {len(devices)} GPUs")
    return [",".join(group) for group in groups]


def precision_warnings(params: Params) -> list[str]:
    """Return which recipes this machine cannot train, if PyTorch finds no GPU; another one may train them."""
    if torch.cuda.is_available():
        return []
    recipes = {name: params.recipes[name] for name in sorted({row.recipe for row in params.trained.values()})}
    return [
        f"recipes.{name}.precision: {recipe.precision} needs a CUDA device, and PyTorch finds none here: the "
        "stage train will fail; to train on a CPU, set float32"
        for name, recipe in recipes.items()
        if recipe.precision != "float32"
    ]
