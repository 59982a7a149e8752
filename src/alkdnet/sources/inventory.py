"""How much of a data set is on this disk."""

import logging
from pathlib import Path

from alkdnet.data.disk import size
from alkdnet.data.images import list_images
from alkdnet.files import sha256_file
from alkdnet.progress import progress
from alkdnet.sources.catalogue import Source
from alkdnet.sources.checksums import RecordedChecksums

logger = logging.getLogger(__name__)


def is_complete(source: Source, folder: Path, recorded: RecordedChecksums) -> bool:
    """Return whether a folder has every file of the set, each with its published or recorded checksum.

    For a gated set, which has no checksums, the number of images decides. The reason why a folder that exists
    is not complete is logged.
    """
    if not folder.is_dir():
        return False
    if source.kind == "gated":
        return _present(source, folder) == source.images
    contents = recorded.contents(source)
    if len(contents) != source.images:
        logger.info(
            "%s: no checksums recorded for this archive's files, %s not verified", source.name, folder
        )
        return False
    shown = progress(contents.items(), total=len(contents), description=f"{source.name}: verifying")
    for name, sha256 in shown:
        path = folder / name
        if not path.is_file() or sha256_file(path) != sha256:
            logger.info("%s is missing or has another checksum", path)
            return False
    return True


def status(source: Source, folder: Path, cache: Path) -> str:
    """Return how much of the set is in `folder`, or has been downloaded to `cache`, for a table.

    By names and sizes only, which is quick; `is_complete` verifies the checksums.
    """
    if source.kind == "embedded":
        return "in scikit-image"
    if source.kind in ("folder", "file"):
        return "yours"
    present = _present(source, folder)
    if present == source.images:
        return "complete"
    if present:
        return f"{present} of {source.images} files"
    partial = cache / source.name
    downloaded = sum(path.stat().st_size for path in partial.iterdir()) if partial.is_dir() else 0
    return f"{size(downloaded)} downloaded" if downloaded else "absent"


def _present(source: Source, folder: Path) -> int:
    """Return how many files of the set are in a folder, judged by names and sizes; empty ones never count."""
    if not folder.is_dir():
        return 0
    if source.kind != "files":
        return sum(path.stat().st_size > 0 for path in list_images(folder))
    sizes = ((folder / file.name, file.bytes) for file in source.files)
    return sum(
        path.is_file() and path.stat().st_size > 0 and size in (None, path.stat().st_size)
        for path, size in sizes
    )
