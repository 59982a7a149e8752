"""Commands in a git + DVC repository, as a user's shell runs them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

TIMEOUT_S = 1200  # with both cores busy otherwise
# What a test that runs inside of a DVC stage would hand on: an inherited DVC_ROOT wins over the real one.
FOREIGN = (
    "DVC_ROOT",
    "DVC_STAGE",
    "DVC_EXP_NAME",
    "DVC_EXP_BASELINE_REV",
    "MLFLOW_TRACKING_URI",
    "PYTHONPATH",
)
# A demo of seconds.
PARAMS: dict[str, dict[str, Any]] = {
    "history": {"validation_interval": 20, "log_interval": 5},
    "execution": {"checkpoint_interval": 10},
    "downscale": {"scales": [2]},
    "features": {
        "maps_run": "alkdnet_x2",
        "field_runs": [],
        "field_size": 33,
        "field_images": 1,
        "crops": [],
    },
}
TINY = {"network": "alkdnet", "scale": 2, "recipe": "paper", "blocks": 1, "channels": 8}
RUNS = {"alkdnet_x2": TINY, "other_x2": {**TINY, "kernel_size": 3}}
# The same with trainings that a test can stop in the middle.
LONGER: dict[str, dict[str, Any]] = {
    **PARAMS,
    "execution": {"checkpoint_interval": 20},
}


class Repository:
    """A git + DVC repository that commands are run in."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a user's shell whose `python` is this one."""
        own = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
        identity = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "Tester"), ("EMAIL", "tester@example.org"))
        }
        return {**own, **identity, "PATH": path, "OMP_NUM_THREADS": "1", **(extra or {})}

    def start(self, *command: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start a command in a process group of its own; stdout and stderr come together."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, env: Mapping[str, str] | None = None, status: int | None = 0) -> str:
        """Run a command and return its output; it must end with `status` (None: any)."""
        with self.start(*command, env=env) as process:
            try:
                output, _ = process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        assert status is None or process.returncode == status, f"{' '.join(command)}\n{output}"
        return output

    def dvc(self, *arguments: str, env: Mapping[str, str] | None = None, status: int | None = 0) -> str:
        """Run DVC."""
        return self.run(sys.executable, "-m", "dvc", *arguments, env=env, status=status)

    def git(self, *arguments: str) -> str:
        """Run git."""
        return self.run("git", *arguments)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)


def clone_project(
    folder: Path,
    repository: Path,
    params: Mapping[str, Mapping[str, Any]],
    runs: Mapping[str, Any],
    *,
    iterations: int = 20,
) -> Repository:
    """Clone this repository, code as it is on disk, with a demo of these parameters; nothing is made.

    Args:
        folder: receives the folder `clone`.
        repository: this one.
        params: values that replace those of the demo, by section.
        runs: all rows of `runs`.
        iterations: of each.
    """
    Repository(folder).git("clone", "--quiet", str(repository), "clone")
    clone = Repository(folder / "clone")
    for name in ("src", "pipeline", "tools", "demo", "reports/demo", "dvc.lock"):
        clone.git("rm", "-r", "--quiet", "--ignore-unmatch", name)
    listed = Repository(repository).git(
        *("ls-files", "-co", "--exclude-standard", "--deduplicate"),
        *("src", "pipeline", "tools", "dvc.yaml", "paper", ".gitignore", ".dvcignore"),
    )
    for name in listed.splitlines():
        if (repository / name).is_file():
            (clone.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository / name, clone.root / name)
    content = yaml.safe_load((repository / "params.yaml").read_text())
    for section, values in params.items():
        content[section] |= values
    content["recipes"]["paper"] |= {"iterations": iterations, "batch_size": 2, "patch_size": 12}
    content["runs"] = dict(runs)
    (clone.root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return clone


def outputs(project: Repository) -> dict[str, bytes]:
    """Return the files of the trainings."""
    folder = project.root / "demo" / "models"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def models(project: Repository) -> dict[str, str]:
    """Return the digests of the outputs of the trainings in dvc.lock, by stage."""
    stages = yaml.safe_load((project.root / "dvc.lock").read_text())["stages"]
    return {
        name: stage["outs"][0]["md5"]
        for name, stage in stages.items()
        if name.startswith(("train@", "finetune@"))
    }
