"""What `make` says before it does anything."""

import os
import shutil
import subprocess
from pathlib import Path


def test_an_unpacked_archive_is_no_clone(repository: Path, tmp_path: Path) -> None:
    shutil.copy(repository / "Makefile", tmp_path)
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run(
        ["make", "--no-print-directory", "repro"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert done.stdout.startswith("error: this folder is no git clone")
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
