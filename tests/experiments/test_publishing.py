"""docs/publishing.md with a remote that is a folder: weights are pushed, and fetched as an artifact."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def _run(folder: Path, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "Somebody", f"GIT_{role}_EMAIL": "somebody@example.org"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("pipeline", "name"), [(".", "alkdnet-x2"), ("paper", "paper:alkdnet-x3")])
def test_released_weights_are_fetched_as_an_artifact(pipeline: str, name: str, tmp_path: Path) -> None:
    project, scale = tmp_path / "project", name[-1]
    weights = f"weights/alkdnet_x{scale}.safetensors"
    (project / "weights").mkdir(parents=True)
    (project / weights).write_bytes(b"weights")
    (project / pipeline).mkdir(exist_ok=True)
    content = yaml.safe_load((ROOT / pipeline / "dvc.yaml").read_text())
    declared = {"vars": content["vars"], "artifacts": content["artifacts"]}
    (project / pipeline / "dvc.yaml").write_text(yaml.safe_dump(declared))
    dvc = (sys.executable, "-m", "dvc")
    _run(project, "git", "init", "--quiet")
    _run(project, *dvc, "init", "--quiet")
    _run(project, *dvc, "config", "core.analytics", "false")
    _run(project, *dvc, "remote", "add", "--default", "store", str(tmp_path / "store"))
    _run(project, *dvc, "add", weights)
    _run(project, "git", "add", "--all")
    _run(project, "git", "commit", "--quiet", "--message", "Add weights")
    _run(project, "git", "tag", "-a", f"{name.replace(':', '=')}@v1.0.0", "-m", "First weights")
    _run(project, *dvc, "push", weights)
    assert "up to date" in _run(project, *dvc, "status")
    (project / ".dvc" / "cache").rename(tmp_path / "other_cache")
    _run(tmp_path, *dvc, "artifacts", "get", str(project), name, "--out", str(tmp_path / "fetched"))
    assert (tmp_path / "fetched").read_bytes() == b"weights"
