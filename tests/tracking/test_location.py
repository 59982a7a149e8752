"""Where runs go, and whether the process of a run is alive."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from alkdnet.errors import UserError
from alkdnet.tracking import location
from alkdnet.tracking.location import find_origin, find_store, may_be_alive


def test_the_store_is_in_the_main_repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = project / "copy"
    assert find_store(copy).uri == f"sqlite:///{copy}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", str(project))
    found = find_store(copy)
    assert (found.uri, found.artifacts) == (f"sqlite:///{project}/mlflow.db", project / "mlartifacts")
    assert found.lock.parent == project


@pytest.mark.parametrize(
    ("uri", "expected", "artifacts"),
    [
        ("sqlite:///runs/all.db", "sqlite:///{root}/runs/all.db", "{root}/runs/mlartifacts"),
        ("sqlite:////elsewhere/all.db", "sqlite:////elsewhere/all.db", "/elsewhere/mlartifacts"),
        ("http://server:5000", "http://server:5000", None),
    ],
)
def test_the_environment_chooses_the_store(
    project: Path, monkeypatch: pytest.MonkeyPatch, uri: str, expected: str, artifacts: str | None
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = find_store(project)
    assert found.uri == expected.format(root=project)
    assert found.artifacts == (Path(artifacts.format(root=project)) if artifacts else None)


@pytest.mark.parametrize(
    "uri",
    ["./mlruns", "mlruns", "file:///runs", "file:runs", "postgresql://host/runs", "sqlite://", "sqlite:///"],
)
def test_what_holds_no_runs_is_rejected(project: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=f"MLFLOW_TRACKING_URI is {re.escape(uri)}: give a server"):
        find_store(project)


def test_a_password_is_not_printed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@host/runs")
    with pytest.raises(UserError, match=r"is postgresql://\*\*\*@host/runs: give a server"):
        find_store(project)


def test_the_group_is_the_dvc_experiment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_origin().group == "workspace"
    monkeypatch.setenv("DVC_EXP_NAME", "kernel7")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc")
    assert (find_origin().group, find_origin().baseline) == ("kernel7", "abc")


def test_a_process_lives_until_it_ends(project: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = f"{socket.gethostname()} {child.pid} {location._started(child.pid)}"
    assert may_be_alive(mark)
    assert may_be_alive(find_origin().process)
    child.communicate(b"\n")
    assert not may_be_alive(mark)


def test_a_process_number_that_was_used_again_is_another_process() -> None:
    assert not may_be_alive(f"{socket.gethostname()} {os.getpid()} 1")


def test_a_process_of_another_host_counts_as_alive_and_an_unknown_one_as_dead() -> None:
    assert may_be_alive("another-host 1 5")
    assert not may_be_alive("")
    assert not may_be_alive(socket.gethostname())


def test_the_revision_is_dirty_when_the_code_differs(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    assert location.code_revision(tmp_path) == ""
    (tmp_path / "src").mkdir()
    for name in ("src/code.py", "params.yaml"):
        (tmp_path / name).write_text("one")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    (tmp_path / "params.yaml").write_text("two")
    clean = location.code_revision(tmp_path / "src")
    assert len(clean) == 40
    (tmp_path / "src/code.py").write_text("two")
    assert location.code_revision(tmp_path / "src") == f"{clean}-dirty"
