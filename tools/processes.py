"""Shared by the tools that start trainings: the DVC stages of a pipeline, the devices of this host."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alkdnet.config.loading import params_path
from alkdnet.config.params import Params
from alkdnet.errors import UserError

# Stages that train a row: from random weights, from those of another row.
TRAINING = ("train@", "finetune@")
# Set by DVC inside a stage; not to be inherited by the DVC that a tool starts.
_DVC_VARIABLES = ("DVC_ROOT", "DVC_STAGE")


@dataclass(frozen=True)
class Stages:
    """The stages of a pipeline as DVC's targets.

    Attributes:
        file: the pipeline's dvc.yaml.
        training: target of the training of each run, in the order of the parameter file.
        before: targets of all stages that the trainings depend on.
    """

    file: Path
    training: dict[str, str]
    before: tuple[str, ...]


def find_stages(pipeline: str) -> Stages:
    """Ask DVC for the stages of a pipeline; exit with its status if it fails."""
    file = params_path(pipeline).with_name("dvc.yaml")
    targets = [_target(file, name) for name in dvc_lines("stage", "list", "--name-only", str(file))]
    training = {run: target for target in targets if (run := run_of(target))}
    edges = [
        (source.strip().strip('"'), target.strip().rstrip(";").strip('"'))
        for line in dvc_lines("dag", "--dot", str(file))
        if "->" in line
        for source, target in [line.split("->")]
    ]
    new, found = set(training.values()), set[str]()
    while new:
        found |= new
        new = {source for source, target in edges if target in found} - found
    return Stages(file, training, tuple(sorted(found - set(training.values()))))


def due_runs(stages: Stages, params: Params, runs: Sequence[str]) -> list[str]:
    """Return the runs that have to be trained; their images must be up to date.

    A row that starts from the weights of another one is due when that one is.

    Raises:
        UserError: a row starts from the weights of a due one that is not among the runs.
    """
    changed = json.loads("".join(dvc_lines("status", "--json", *stages.training.values())))

    def is_due(run: str | None) -> bool:
        return run in stages.training and (stages.training[run] in changed or is_due(params.parent_of(run)))

    due = [run for run in runs if is_due(run)]
    for run in due:
        parent = params.parent_of(run)
        if parent not in due and is_due(parent):
            raise UserError(f"{run} starts from the weights of {parent}, which is not trained: name it too")
    return due


def run_of(target: str) -> str:
    """Return the run that a stage trains, empty for other stages."""
    name = target.rpartition(":")[2]
    return next((name.removeprefix(stage) for stage in TRAINING if name.startswith(stage)), "")


def dvc(*arguments: str) -> int:
    """Run DVC; return its exit status."""
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], env=environment()).returncode


def dvc_lines(*arguments: str) -> list[str]:
    """Return the lines that DVC prints; exit with its status if it fails."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.splitlines()


def devices() -> list[str]:
    """Return the GPUs as CUDA_VISIBLE_DEVICES names them: those allowed to this process, or all."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        # -1 is the usual way to hide all.
        return [name for name in allowed.split(",") if name not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(index) for index in range(listed.count("GPU "))]


def environment() -> dict[str, str]:
    """Return the environment for DVC and stages, in which `python` is this interpreter."""
    own = {name: value for name, value in os.environ.items() if name not in _DVC_VARIABLES}
    return {**own, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _target(file: Path, name: str) -> str:
    return name if file == Path("dvc.yaml") or ":" in name else f"{file}:{name}"
