"""The MLflow store, and the origin of runs: DVC experiment, code revision, process."""

import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock

from alkdnet.errors import UserError, redact
from alkdnet.process import is_alive

SQLITE = "sqlite:///"
WORKSPACE = "workspace"
_SERVERS = ("http://", "https://", "databricks")


class DeletedExperimentError(UserError):
    """The pipeline's experiment was deleted in MLflow; the message says how to restore it."""


@dataclass(frozen=True)
class StoreLocation:
    """The MLflow store that a process writes to.

    Attributes:
        uri: MLflow's tracking URI, with user and password as they were given.
        database: file of a local store; None for a server.
        lock: file that processes of this repository lock while they create what all of them share.
    """

    uri: str
    database: Path | None
    lock: Path

    @property
    def artifacts(self) -> Path | None:
        """The folder for artifacts beside a local database; None where a server decides."""
        return self.database.with_name("mlartifacts") if self.database else None

    @property
    def timings(self) -> Path:
        """The file of training times; see timings.py."""
        return self.lock.with_suffix(".timings")

    def locked(self) -> BaseFileLock:
        """Return the lock: concurrent creation would corrupt the database, or duplicate a parent run."""
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.lock)


def find_store(root: Path) -> StoreLocation:
    """Return the store: MLFLOW_TRACKING_URI, or mlflow.db in the main repository.

    DVC runs experiments in temporary copies of the repository and names the main one in DVC_ROOT; what must
    outlive the copy, as the store must, depends on it. Without DVC, `root` is the main repository.

    Raises:
        UserError: MLFLOW_TRACKING_URI is neither a server nor an SQLite file.
    """
    main = Path(os.environ.get("DVC_ROOT") or root).resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if uri.startswith(_SERVERS):
        return StoreLocation(uri=uri, database=None, lock=main / "mlflow.db.lock")
    path = uri.removeprefix(SQLITE)
    if path in (uri, ""):
        # MLflow 3 no longer keeps runs in folders, and would put artifacts beside whatever runs.
        raise UserError(
            f"MLFLOW_TRACKING_URI is {redact(uri)}: give a server (http://host:5000) or an SQLite file"
            f" ({SQLITE}mlflow.db), or unset it; folders hold no runs, other databases need an MLflow server"
        )
    database = main / path
    return StoreLocation(f"{SQLITE}{database}", database, database.with_name(f"{database.name}.lock"))


@dataclass(frozen=True)
class Origin:
    """Who produces the runs of this process.

    Attributes:
        group: DVC experiment, or `workspace` outside of one.
        baseline: commit that the DVC experiment started from; empty outside of one.
        revision: commit of the code, with `-dirty` when the code differs from it; empty without git.
        process: host, id and start time of the process, see `may_be_alive`.
    """

    group: str
    baseline: str
    revision: str
    process: str


def find_group() -> str:
    """Return the name of the DVC experiment of this process, or `workspace`."""
    return os.environ.get("DVC_EXP_NAME") or WORKSPACE


def find_origin() -> Origin:
    """Return the origin of what this process writes."""
    return Origin(
        group=find_group(),
        baseline=os.environ.get("DVC_EXP_BASELINE_REV", ""),
        revision=code_revision(Path(__file__).resolve().parent),
        process=f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}",
    )


def may_be_alive(process: str) -> bool:
    """Return whether the process of an `Origin` may still run, as any on another host may."""
    host, _, rest = process.partition(" ")
    number, _, started = rest.partition(" ")
    if not (number.isdigit() and started.isdigit()):
        return False
    if host != socket.gethostname():
        return True
    # Process ids are reused; the system's clock may have been adjusted by a second or two.
    return is_alive(int(number)) and abs(_started(int(number)) - int(started)) <= 2


def _started(number: int) -> int:
    """Return when a process began, in seconds since 1970; 0 if it has ended."""
    import psutil  # comes with DVC

    try:
        return round(psutil.Process(number).create_time())
    except psutil.NoSuchProcess:
        return 0


def code_revision(code: Path) -> str:
    """Return the commit of the code, which in an experiment is a copy of the repository; empty without git.

    params.yaml and dvc.lock change in every experiment and do not make it dirty.
    """
    try:
        commit = _git(code, "rev-parse", "HEAD")
        changed = _git(code, "diff", "--name-only", "HEAD", "--", ":/src", ":/pipeline")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)
    return done.stdout.strip()
