"""Packing a bundle: one folder with everything that training the chosen runs needs."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from alkdnet.bundle.identities import Identities
from alkdnet.bundle.records import BUNDLE, Bundle
from alkdnet.config.loading import params_path
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.config.paths import checkpoints as folder_of_checkpoints
from alkdnet.data.disk import size
from alkdnet.errors import UserError
from alkdnet.files import atomic_directory, sha256_file
from alkdnet.results.records import write_record
from alkdnet.training.runtime.checkpoint import CheckpointFile

# The code that runs on the host.
CODE = ("src/alkdnet", "pipeline", "tools/bundle.py", "tools/processes.py")


def pack_bundle(
    params: Params,
    runs: Sequence[str],
    target: Path,
    *,
    root: Path,
    checkpoints: Path,
    commit: str,
    limit_bytes: int | None = None,
    images: bool = False,
) -> Bundle:
    """Write the folder `target`.

    Args:
        params: of the pipeline; patches, validation images and training images must exist.
        runs: names of trained rows, the first to be trained first; a row that another one starts from is
            trained already, or among them.
        target: replaced if it exists.
        root: of the repository.
        checkpoints: folder of the checkpoints of unfinished runs; those of `runs` are packed.
        commit: of the code.
        limit_bytes: largest size of all files together.
        images: pack the published training images, often a tenth of the size of the patches. The host makes
            the patches, for which it needs Pillow, and compares their digests.

    Raises:
        UserError: data are missing or damaged, or the bundle is larger than the limit: nothing is written.
    """
    paths = Paths(params.pipeline, root)
    identities = Identities(params, paths)
    scales = sorted({params.trained[run].scale for run in runs})
    data = {f"x{scale}": identities.data(scale) for scale in scales}
    # Rows that start from the weights of another one of the bundle have no identity before it is trained.
    known = [run for run in runs if params.parent_of(run) not in runs]
    states = [CheckpointFile(checkpoints, run, identities.of(run)).existing for run in known]
    files = dict(_files(params, paths, root, scales, images=images))
    starts = [start for run in known if (start := paths.start(params.trained[run]))]
    files |= {str(start.relative_to(root)): start for start in starts}
    packed = folder_of_checkpoints(Path(), params.pipeline)
    files |= {str(packed / path.name): path for path in states if path.is_file()}
    _require_size(files, limit_bytes, images=images)
    bundle = Bundle(
        pipeline=params.pipeline,
        commit=commit,
        runs=tuple(runs),
        data=data,
        files={name: sha256_file(path) for name, path in files.items()},
    )
    with atomic_directory(target) as folder:
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
        write_record(folder / BUNDLE, bundle)
    return bundle


def _files(
    params: Params, paths: Paths, root: Path, scales: Sequence[int], *, images: bool
) -> Iterator[tuple[str, Path]]:
    """Yield the path in the bundle and the path here of all files but the checkpoints."""
    data = [paths.validation(scale) for scale in scales]
    if images:
        data += [paths.raw("train", name) for name in params.names("train")]
    else:
        data += [paths.patches / "hr", *(paths.patches / f"x{scale}" for scale in scales)]
    for entry in [root / params_path(params.pipeline), *(root / name for name in CODE), *data]:
        for path in sorted(entry.rglob("*")) if entry.is_dir() else [entry]:
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(root)), path


def _require_size(files: Mapping[str, Path], limit_bytes: int | None, *, images: bool) -> None:
    sizes: dict[str, int] = {}
    for name, path in files.items():
        kind = "/".join(Path(name).parts[:2])
        sizes[kind] = sizes.get(kind, 0) + path.stat().st_size
    total = sum(sizes.values())
    if limit_bytes is not None and total > limit_bytes:
        largest = sorted(sizes, key=lambda kind: -sizes[kind])[:3]
        words = ", ".join(f"{kind} {size(sizes[kind])}" for kind in largest)
        advice = "choose fewer runs" + ("" if images else ", or try --images: they may be smaller than packs")
        raise UserError(
            f"the bundle would take {size(total)}, the limit is {size(limit_bytes)}; largest: {words}; "
            f"{advice}"
        )
