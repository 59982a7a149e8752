"""What the pipeline keeps is on the disk once: DVC's cache and the outputs share their bytes."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.experiments.repositories import Repository


def test_hard_links_are_tried_first(repository: Path) -> None:
    config = ConfigParser()
    config.read(repository / ".dvc" / "config")
    # DVC links an output to its copy in the cache only if the first type in the list is possible: with
    # `reflink` in front, ext4 would hold every output twice.
    assert config["cache"]["type"].strip('"').split(",")[0] == "hardlink"


@pytest.mark.slow
def test_dvc_keeps_an_output_once(repository: Path, tmp_path: Path) -> None:
    project = Repository(tmp_path)
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    (tmp_path / ".dvc" / "config").write_bytes((repository / ".dvc" / "config").read_bytes())
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  pack:\n    cmd: mkdir -p packs/hr && date +%N > packs/hr/images.bin\n    outs: [packs]\n"
    )
    # The second time an output of the first is in the way.
    for _ in range(2):
        project.run("dvc", "repro", "--force")
        assert (tmp_path / "packs" / "hr" / "images.bin").stat().st_nlink == 2
