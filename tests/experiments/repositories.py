"""Commands in a git + DVC repository, as a user's shell runs them."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

TIMEOUT_S = 600
# What a test that runs inside of a DVC stage would hand on: an inherited DVC_ROOT wins over the real one.
FOREIGN = (
    "DVC_ROOT",
    "DVC_STAGE",
    "DVC_EXP_NAME",
    "DVC_EXP_BASELINE_REV",
    "MLFLOW_TRACKING_URI",
    "PYTHONPATH",
)


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
