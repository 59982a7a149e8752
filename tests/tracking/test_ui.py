"""`make ui` when there is nothing to show yet, or something is wrong: a line that helps, and no traceback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


def start(project: Path, repository: Path, **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(repository / "tools" / "mlflow_ui.py"), "--port", "5700"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(repository / "src"), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_server_that_dies_at_its_start_is_an_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools import mlflow_ui

    popen = subprocess.Popen

    def dies(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        return popen([sys.executable, "-c", "raise SystemExit(3)"], **options)

    monkeypatch.setattr(sys, "argv", ["mlflow_ui.py"])
    monkeypatch.setattr(mlflow_ui, "pipelines", lambda location: {})
    monkeypatch.setattr(subprocess, "Popen", dies)
    with pytest.raises(SystemExit, match="error: the MLflow server ended with status 3"):
        mlflow_ui.main()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://me:secret@host:5000", "MLFLOW_TRACKING_URI is a server: open http://***@host:5000\n"),
        ("./mlruns", "error: MLFLOW_TRACKING_URI is ./mlruns: give a server"),
        (
            "sqlite:///broken.db",
            "error: the store sqlite:///{root}/broken.db cannot be opened (DatabaseError",
        ),
    ],
)
def test_what_cannot_be_served_is_said(project: Path, repository: Path, uri: str, said: str) -> None:
    (project / "broken.db").write_text("no database")
    with start(project, repository, MLFLOW_TRACKING_URI=uri) as tool:
        output, errors = tool.communicate(timeout=60)
    assert (output or errors).startswith(said.format(root=project))
    assert "Traceback" not in errors


@pytest.mark.slow
def test_before_the_first_run_there_is_a_page_and_a_hint(project: Path, repository: Path) -> None:
    with start(project, repository) as tool:
        assert tool.stdout is not None
        try:
            line = next(line for line in tool.stdout if "no runs yet" in line)
        finally:
            tool.terminate()
    assert "`make repro` makes some; they will be at http://127.0.0.1:57" in line
    assert (project / "mlflow.db").exists()
