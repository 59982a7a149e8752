"""What the pipeline keeps is on the disk once: DVC's cache and the outputs share their bytes."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.experiments.repositories import Repository


def test_outputs_are_links_to_the_cache(repository: Path) -> None:
    config = ConfigParser()
    config.read(repository / ".dvc" / "config")
    # DVC copies into the cache unless hard links come first, and with `copy` or `reflink` anywhere in the
    # list it lets a copy be: on ext4, which has no reflinks, everything would be there twice.
    assert config["cache"]["type"].strip('"') == "hardlink,symlink"


@pytest.mark.slow
def test_dvc_keeps_an_output_once(repository: Path, tmp_path: Path) -> None:
    project = Repository(tmp_path)
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    (tmp_path / ".dvc" / "config").write_bytes((repository / ".dvc" / "config").read_bytes())
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  pack:\n    cmd: mkdir -p packs/hr && echo a > packs/hr/images.bin\n    outs: [packs]\n"
    )
    # The second time the cache has the output already.
    for _ in range(2):
        project.run("dvc", "repro", "--force")
        assert (tmp_path / "packs" / "hr" / "images.bin").stat().st_nlink == 2
