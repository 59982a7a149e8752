"""Files and folders appear whole or not at all."""

import os
import shutil
import subprocess
import sys
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


def test_the_old_folder_is_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with atomic_directory(tmp_path / "set") as folder:
        (folder / "old").touch()
    rename = Path.replace

    def fails_second(path: Path, target: Path) -> Path:
        if path.name.endswith(".tmp"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", fails_second)
    with pytest.raises(KeyboardInterrupt), atomic_directory(tmp_path / "set"):
        pass
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["set", "set/old"]


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_whatever_is_in_the_place_is_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "set"
    if kind == "file":
        target.touch()
    else:
        target.symlink_to(tmp_path if kind == "link" else tmp_path / "nowhere")
    with atomic_directory(target) as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert [path.name for path in target.iterdir()] == ["new"]


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


def test_temporary_folders_of_ended_processes_are_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    kept = [f".set.{os.getppid()}.tmp", f".other.{ended.pid}.tmp", f".set.more.{ended.pid}.tmp"]
    for name in (*kept, f".set.{ended.pid}.tmp", f".set.{ended.pid}.old", f".set.{os.getpid()}.tmp"):
        (tmp_path / name / "half").mkdir(parents=True)
    with atomic_directory(tmp_path / "set") as folder:
        (folder / "whole").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"set", *kept}
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["whole"]


def test_a_terminated_process_leaves_nothing_for_long(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom alkdnet.files import atomic_directory\n"
        "with atomic_directory(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGTERM)"
    )
    source = Path(__file__).parents[1] / "src"
    subprocess.run([sys.executable, "-c", script, tmp_path / "set"], env={"PYTHONPATH": str(source)})
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_directory(tmp_path / "set"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
