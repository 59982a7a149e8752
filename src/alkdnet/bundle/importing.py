"""Importing results: verified by digest, and only those of this code, parameters and data."""

import hashlib
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from alkdnet.bundle.archives import open_archive, read_member, read_results
from alkdnet.bundle.identities import Identities
from alkdnet.bundle.records import Result
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.errors import UserError, in_words
from alkdnet.files import atomic_directory
from alkdnet.results.run import HISTORY, RAW_WEIGHTS, RECORD, WEIGHTS, RunRecord
from alkdnet.training.runtime.checkpoint import CheckpointFile
from alkdnet.training.runtime.timing import Timing


@dataclass
class ImportedResults:
    """The imported runs, by name, and what was rejected.

    Attributes:
        finished: runs whose outputs are in their folders now, to be recorded by DVC.
        resumable: unfinished runs whose checkpoints the next training resumes from.
        problems: what was rejected and why.
        timings: of the finished runs.
    """

    finished: list[str] = field(default_factory=list)
    resumable: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)


def import_results(
    params: Params, paths: Paths, archives: Sequence[Path], *, checkpoints: Path
) -> ImportedResults:
    """Copy outputs and checkpoints from archives to where trainings in this checkout write them.

    A finished run replaces earlier outputs; a checkpoint replaces one of an earlier iteration.

    Args:
        params: of the pipeline.
        paths: its outputs.
        archives: of one host or several, in any order.
        checkpoints: folder of the checkpoints of unfinished runs.

    Raises:
        UserError: the data that the runs' identities depend on are missing.
    """
    identities = Identities(params, paths)
    imported = ImportedResults()
    found: list[tuple[Path, Result]] = []
    for path in archives:
        try:
            with open_archive(path) as archive:
                found += [(path, result) for result in read_results(archive)]
        except UserError as error:
            imported.problems.append(str(error))
    # Parents first: the identity of a finetuned row depends on the weights that it starts from.
    for path, result in sorted(found, key=lambda each: _depth(params, each[1].run)):
        try:
            with open_archive(path) as archive:
                _import_run(result, archive, params, paths, identities, checkpoints, imported)
        except UserError as error:
            imported.problems.append(f"{path}: {result.run}: {error}")
        except OSError as error:
            imported.problems.append(f"{path}: {result.run}: {in_words(error)}")
    imported.resumable = [run for run in dict.fromkeys(imported.resumable) if run not in imported.finished]
    return imported


def _depth(params: Params, run: str) -> int:
    """Return how many trainings a run depends on: 0 if it starts from random or released weights."""
    parent = params.parent_of(run)
    return 1 + _depth(params, parent) if parent in params.trained else 0


def _import_run(
    result: Result,
    archive: tarfile.TarFile,
    params: Params,
    paths: Paths,
    identities: Identities,
    checkpoints: Path,
    imported: ImportedResults,
) -> None:
    """Import one run.

    Raises:
        UserError: it is damaged, or its identity is another one in this checkout.
    """
    if result.run not in params.trained:
        raise UserError(f"{params.pipeline} has no such run")
    contents = {Path(name).name: read_member(archive, name) for name in result.files}
    for name, digest in result.files.items():
        if hashlib.sha256(contents[Path(name).name]).hexdigest() != digest:
            raise UserError(f"{name} is damaged")
    identity = identities.of(result.run)
    if result.finished:
        _import_outputs(result, contents, paths.model(result.run), identity)
        imported.finished.append(result.run)
        if result.timing is not None:
            imported.timings.append(result.timing)
    else:
        _import_checkpoint(result, contents, CheckpointFile(checkpoints, result.run, identity))
        imported.resumable.append(result.run)


def _import_outputs(result: Result, contents: Mapping[str, bytes], folder: Path, identity: str) -> None:
    """Write the outputs of a finished run; raise UserError as `_import_run`."""
    if set(contents) - {RAW_WEIGHTS} != {WEIGHTS, HISTORY, RECORD}:
        raise UserError(f"expected {WEIGHTS}, {HISTORY} and {RECORD}, not {', '.join(contents)}")
    with atomic_directory(folder) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        record = RunRecord.read(temporary)
        if record.training is None or record.training.identity != identity:
            raise _other_identity(result)
        if record.weights_sha256 != hashlib.sha256(contents[WEIGHTS]).hexdigest():
            raise UserError(f"{WEIGHTS} does not match {RECORD}")


def _import_checkpoint(result: Result, contents: Mapping[str, bytes], file: CheckpointFile) -> None:
    """Write the checkpoint of a run unless a later one exists; raise UserError as `_import_run`."""
    if file.path.name not in contents:
        raise _other_identity(result)
    with TemporaryDirectory() as folder:
        received = CheckpointFile(Path(folder), file.run, file.identity)
        received.path.write_bytes(contents[file.path.name])
        state = received.read()
    if state is None:
        raise UserError(f"{file.path.name} is damaged")
    present = file.read() if file.existing.exists() else None
    if present is None or present.iteration < state.iteration:
        file.write(state)


def _other_identity(result: Result) -> UserError:
    packed = f"; it was packed at commit {result.commit}" if result.commit else ""
    return UserError(f"trained with other code, parameters or data than this checkout has{packed}")
