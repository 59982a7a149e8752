"""What of a data set is already on this disk."""

import logging
from pathlib import Path

from alkdnet.data.disk import size
from alkdnet.data.images import list_images
from alkdnet.files import sha256_file
from alkdnet.progress import progress
from alkdnet.sources.catalogue import Source
from alkdnet.sources.ledger import DigestLedger

logger = logging.getLogger(__name__)


def is_complete(source: Source, folder: Path, ledger: DigestLedger) -> bool:
    """Whether a folder holds every file of the set, each with the digest that is published or recorded.

    Of a set that only its owners give out no digest is known: there the number of images decides. The reason
    why a folder that exists is not complete is logged.
    """
    if not folder.is_dir():
        return False
    if source.kind == "gated":
        return len(_present(source, folder)) == source.images
    contents = ledger.contents(source)
    if len(contents) != source.images:
        logger.info("%s: what its archive holds is not on record, so %s is not judged", source.name, folder)
        return False
    shown = progress(contents.items(), total=len(contents), description=f"{source.name}: comparing digests")
    for name, sha256 in shown:
        path = folder / name
        if not path.is_file() or sha256_file(path) != sha256:
            logger.info("%s is missing, or not what is published or on record", path)
            return False
    return True


def state(source: Source, folder: Path, cache: Path) -> str:
    """Say in a few words how much of the set is in `folder`, or on its way in `cache`.

    By names and sizes alone, which takes no time: whether the bytes are right is for `is_complete` to say.
    """
    if source.kind == "embedded":
        return "in scikit-image"
    if source.kind == "folder":
        return "yours"
    present = len(_present(source, folder))
    if present == source.images:
        return "complete"
    if present:
        return f"{present} of {source.images} files"
    arriving = cache / source.name
    arrived = sum(path.stat().st_size for path in arriving.iterdir()) if arriving.is_dir() else 0
    return f"{size(arrived)} arrived" if arrived else "absent"


def known_bytes(source: Source, folder: Path) -> int | None:
    """Return how large the set is: as published, else as it lies complete in `folder`, else None."""
    present = _present(source, folder)
    if source.bytes is None and len(present) == source.images:
        return sum(path.stat().st_size for path in present)
    return source.bytes


def _present(source: Source, folder: Path) -> list[Path]:
    """Return the files of the set in a folder, as far as names and sizes tell; empty ones never count."""
    if not folder.is_dir():
        return []
    if source.kind != "files":
        return [path for path in list_images(folder) if _plausible(path, None)]
    wanted = ((folder / file.name, file.bytes) for file in source.files)
    return [path for path, known in wanted if _plausible(path, known)]


def _plausible(path: Path, known: int | None) -> bool:
    there = path.stat().st_size if path.is_file() else 0
    return there > 0 and known in (None, there)
