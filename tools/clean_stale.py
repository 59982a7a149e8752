"""Remove what a stopped machine left behind: locks, temporary files, experiments and runs of dead processes.

Nothing of value is removed: results, DVC's cache, experiments, checkpoints and MLflow's runs stay. Processes
of other hosts are not visible: on a shared disk, run it on the host that stopped.
"""

import importlib.util
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from alkdnet.errors import in_one_line
from alkdnet.process import is_alive
from alkdnet.tracking.location import find_store

# Folders that this project does not write to, or that are too large to search.
_SKIPPED = {".git", ".venv", ".dvc", "mlartifacts", "node_modules"}
# Temporary names of alkdnet.files: .<name>.<process>.tmp, and .old of what is being replaced.
_TEMPORARY = re.compile(r"^\..+\.(\d+)\.(tmp|old)$")
# A file that changed within this time may be being written by another host.
_QUIET_S = 3600


def main() -> int:
    """Clean the repository in the working directory and say what was done."""
    root = Path.cwd()
    if not (root / ".dvc").is_dir():
        sys.exit("error: run this from the root of the repository")
    done = [*clean_locks(root), *clean_experiments(root), *clean_temporary(root), *kill_orphans(root)]
    for line in done or ["nothing stale"]:
        sys.stdout.write(f"{line}\n")
    return 0


def clean_locks(root: Path) -> Iterator[str]:
    """Remove DVC's list of read and write locks if a kill left it incomplete, as DVC rejects it.

    From a complete list, DVC itself removes the entries of dead processes.
    """
    for path in (root / ".dvc/tmp/rwlock", root / ".dvc/tmp/exps/rwlock"):
        # DVC writes it in place, in less than a second.
        if path.is_file() and time.time() - path.stat().st_mtime > 1 and not _is_json(path):
            path.unlink()
            yield f"{path.relative_to(root)}: incomplete, removed"


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True


def clean_experiments(root: Path) -> Iterator[str]:
    """Remove temporary directories of experiments in which no process runs any more.

    DVC would list their experiments as running forever. Their finished stages are in the cache, and the
    checkpoints of unfinished trainings in the main repository.
    """
    folder = root / ".dvc/tmp/exps"
    stale = sorted([*folder.glob("tmp*"), *folder.glob("standalone/tmp*")])
    if not stale:
        return
    processes = list(_processes())
    if any(
        folder == root and "dvc" in command and ("exp" in command or "queue-worker" in command)
        for folder, command in processes
    ):
        yield "experiments: some may be starting, so their directories were left alone"
        return
    for directory in stale:
        if not any(folder.is_relative_to(directory) for folder, _ in processes):
            shutil.rmtree(directory)
            yield f"{directory.relative_to(root)}: directory of an experiment that died, removed"


def clean_temporary(root: Path) -> Iterator[str]:
    """Remove half-written files and folders whose writer is dead, an hour after their last change."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        for name in [*folders, *files]:
            match = _TEMPORARY.match(name)
            path = Path(folder, name)
            if match and not is_alive(int(match[1])) and time.time() - _changed(path) > _QUIET_S:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                yield f"{path.relative_to(root)}: half-written, removed"


def _changed(path: Path) -> float:
    """Return when a file, or the last of a folder's, was written, in seconds since 1970."""
    try:
        return max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
    except FileNotFoundError:  # renamed by its writer just now
        return time.time()


def kill_orphans(root: Path) -> Iterator[str]:
    """Set runs to KILLED that MLflow shows as running although their process is dead."""
    if importlib.util.find_spec("mlflow") is None:
        return
    try:
        location = find_store(root)
        if location.database is not None and not location.database.exists():
            return
        from alkdnet.tracking.store import Store, pipelines

        for pipeline in pipelines(location):
            store = Store(location, pipeline)
            for run in store.kill_orphans(store.runs()):
                yield f"MLflow: {pipeline}, {run.data.tags['run']}: its process is dead, set to KILLED"
    except Exception as error:  # a server that is down, a moved project: no reason to stop here
        yield f"MLflow: its runs were left alone ({in_one_line(error)})"


def _processes() -> Iterator[tuple[Path, list[str]]]:
    """Yield working directory and command of this user's processes."""
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if folder := process.info["cwd"]:  # None: another user's, or ended just now
            yield Path(folder), [Path(word).name for word in process.info["cmdline"] or []]


if __name__ == "__main__":
    sys.exit(main())
