"""Where tracked runs go and where they come from: store, code revision, DVC experiment, process."""

import fcntl
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alkdnet.errors import UserError
from alkdnet.training.runtime import signals as interruption

SQLITE = "sqlite:///"
WORKSPACE = "workspace"
_SERVERS = ("http://", "https://", "databricks")


@dataclass(frozen=True)
class Place:
    """The MLflow store that a process writes to.

    Attributes:
        uri: MLflow's tracking URI.
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

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock: four processes that create one database, or one parent run, break or double it."""
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        with self.lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def find_place(root: Path) -> Place:
    """Return the store: MLFLOW_TRACKING_URI, or mlflow.db in the main repository.

    DVC runs experiments in temporary copies of the repository and names the main one in DVC_ROOT; what must
    outlive the copy, as the store must, hangs on it. Without DVC, `root` is the main repository.

    Raises:
        UserError: MLFLOW_TRACKING_URI is neither a server nor an SQLite file.
    """
    main = Path(os.environ.get("DVC_ROOT") or root).resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if uri.startswith(_SERVERS):
        return Place(uri=uri, database=None, lock=main / "mlflow.db.lock")
    path = uri.removeprefix(SQLITE)
    if path in (uri, ""):
        # MLflow 3 no longer keeps runs in folders, and would put artifacts beside whatever runs.
        raise UserError(
            f"MLFLOW_TRACKING_URI is {uri}: give a server (http://host:5000) or an SQLite file"
            f" ({SQLITE}mlflow.db), or unset it; folders hold no runs, other databases need an MLflow server"
        )
    database = main / path
    return Place(
        uri=f"{SQLITE}{database}",
        database=database,
        lock=database.with_name(f"{database.name}.lock"),
    )


@dataclass(frozen=True)
class Origin:
    """Who produces the runs of this process.

    Attributes:
        group: DVC experiment, or `workspace` outside of one.
        baseline: commit that the DVC experiment started from; empty outside of one.
        revision: commit of the code, with `-dirty` when the code differs from it; empty without git.
        process: host, number and start of the process, see `is_alive`.
    """

    group: str
    baseline: str
    revision: str
    process: str


def find_origin() -> Origin:
    """Return the origin of what this process writes."""
    return Origin(
        group=os.environ.get("DVC_EXP_NAME") or WORKSPACE,
        baseline=os.environ.get("DVC_EXP_BASELINE_REV", ""),
        revision=_revision(Path(__file__).resolve().parent),
        process=f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}",
    )


def is_alive(process: str) -> bool:
    """Return whether the process of an `Origin` may still run; one on another host may."""
    host, _, rest = process.partition(" ")
    number, _, started = rest.partition(" ")
    if not number.isdigit():
        return False
    return host != socket.gethostname() or _started(int(number)) == started


def _started(number: int) -> str:
    """Return a mark of the start of a living process, empty if it is dead.

    Process numbers are used again; together with the clock tick of the start (field 22 of stat, counted
    behind the name, which may hold blanks) and the boot they are unique.
    """
    if not interruption.is_alive(number):
        return ""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # no /proc on this system
        return "unknown"
    return f"{stat.rpartition(')')[2].split()[19]}@{boot[:8]}"


def _revision(code: Path) -> str:
    """Return the commit of the code, which in an experiment is a copy of the repository.

    params.yaml and dvc.lock change in every experiment and do not make it dirty.
    """
    try:
        commit = _git(code, "rev-parse", "HEAD")
        changed = _git(code, "diff", "--name-only", "HEAD", "--", ":/src", ":/pipeline")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=10,
    ).stdout.strip()
