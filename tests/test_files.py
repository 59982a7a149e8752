"""Files and folders appear whole or not at all."""

import shutil
from pathlib import Path

import pytest

from alkdnet.files import atomic_directory


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "set"
    for text in ("old", "new"):
        with atomic_directory(target) as folder:
            (folder / text).write_text(text)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(IsADirectoryError), atomic_directory(tmp_path / "set") as folder:
        folder.write_text("a failure")
    assert [path.name for path in tmp_path.rglob("*")] == ["set"]


def test_the_new_folder_is_there_before_the_old_one_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing takes long and may fail halfway."""
    target = tmp_path / "set"
    with atomic_directory(target) as folder:
        (folder / "old").touch()
    remove, seen = shutil.rmtree, []

    def watched(path: Path, ignore_errors: bool = False) -> None:
        if path.exists():
            seen.append(([each.name for each in path.iterdir()], [each.name for each in target.iterdir()]))
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", watched)
    with atomic_directory(target) as folder:
        (folder / "new").touch()
    assert seen == [(["old"], ["new"])]
