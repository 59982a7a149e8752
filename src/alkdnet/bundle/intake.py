"""Taking results in: verified by digest, and only those of this code, these parameters and data."""

import hashlib
import tarfile
from collections.abc import Sequence
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
class Intake:
    """What was taken in, as names of runs, and what was not.

    Attributes:
        finished: outputs that lie in their folders now, to be recorded by DVC.
        continued: runs whose checkpoints lie where the next training continues them.
        problems: what was rejected and why.
        timings: what finished runs took.
    """

    finished: list[str] = field(default_factory=list)
    continued: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)


def take_in(params: Params, paths: Paths, archives: Sequence[Path], *, checkpoints: Path) -> Intake:
    """Place the outputs and checkpoints in archives of a visit where this checkout's trainings leave theirs.

    A finished run replaces what is there. A checkpoint replaces one that is not as far.

    Args:
        params: of the pipeline.
        paths: its outputs.
        archives: of one visit or several, in any order.
        checkpoints: folder of the states of unfinished runs.

    Raises:
        UserError: the data that runs are compared with are missing.
    """
    identities = Identities(params, paths)
    intake = Intake()
    found: list[tuple[Path, Result]] = []
    for path in archives:
        try:
            with open_archive(path) as archive:
                found += [(path, result) for result in read_results(archive)]
        except UserError as error:
            intake.problems.append(str(error))
    # The identity of a row follows from the weights that it starts from: they must be in their place.
    for path, result in sorted(found, key=lambda each: _generation(params, each[1].run)):
        try:
            with open_archive(path) as archive:
                _take(result, archive, params, paths, identities, checkpoints, intake)
        except UserError as error:
            intake.problems.append(f"{path}: {result.run}: {error}")
        except OSError as error:
            intake.problems.append(f"{path}: {result.run}: {in_words(error)}")
    intake.continued = [run for run in dict.fromkeys(intake.continued) if run not in intake.finished]
    return intake


def _generation(params: Params, run: str) -> int:
    """Return how many trainings come before that of a run: 0 if it starts from random or released weights."""
    parent = params.parent_of(run)
    return 1 + _generation(params, parent) if parent in params.trained else 0


def _take(
    result: Result,
    archive: tarfile.TarFile,
    params: Params,
    paths: Paths,
    identities: Identities,
    checkpoints: Path,
    intake: Intake,
) -> None:
    """Take in one run.

    Raises:
        UserError: it is damaged, or not of this checkout.
    """
    if result.run not in params.trained:
        raise UserError(f"{params.pipeline} has no such run")
    contents = {Path(name).name: read_member(archive, name) for name in result.files}
    for name, digest in result.files.items():
        if hashlib.sha256(contents[Path(name).name]).hexdigest() != digest:
            raise UserError(f"{name} is damaged")
    identity = identities.of(result.run)
    if result.finished:
        if set(contents) - {RAW_WEIGHTS} != {WEIGHTS, HISTORY, RECORD}:
            raise UserError(f"expected {WEIGHTS}, {HISTORY} and {RECORD}, not {', '.join(contents)}")
        with atomic_directory(paths.model(result.run)) as folder:
            for name, content in contents.items():
                (folder / name).write_bytes(content)
            record = RunRecord.read(folder)
            if record.training is None or record.training.identity != identity:
                raise _foreign(result)
            if record.weights_sha256 != hashlib.sha256(contents[WEIGHTS]).hexdigest():
                raise UserError(f"{WEIGHTS} are not those that {RECORD} names")
        intake.finished.append(result.run)
        if result.timing is not None:
            intake.timings.append(result.timing)
        return
    file = CheckpointFile(checkpoints, result.run, identity)
    if file.path.name not in contents:
        raise _foreign(result)
    with TemporaryDirectory() as folder_name:
        arrived = CheckpointFile(Path(folder_name), result.run, identity)
        arrived.path.write_bytes(contents[file.path.name])
        state = arrived.read()
    if state is None:
        raise UserError(f"{file.path.name} is damaged")
    own = file.read() if file.existing.exists() else None
    if own is None or own.iteration < state.iteration:
        file.write(state)
    intake.continued.append(result.run)


def _foreign(result: Result) -> UserError:
    packed = f"; it was packed at commit {result.commit}" if result.commit else ""
    return UserError(f"trained by other code, parameters or data than those of this checkout{packed}")
