"""What of a data set is already on this disk."""

from pathlib import Path

from alkdnet.data.images import list_images
from alkdnet.data.sources import Source


def is_complete(source: Source, folder: Path) -> bool:
    """Whether a folder that `fetch` or the user has filled holds every file of the set."""
    return source.images is not None and _present(source, folder) == source.images


def state(source: Source, folder: Path, cache: Path) -> str:
    """Say in a few words how much of the set is in `folder`, or on its way in `cache`."""
    if source.kind == "embedded":
        return "in scikit-image"
    if source.kind == "folder":
        return "yours"
    present = _present(source, folder)
    if present == source.images:
        return "complete"
    if present:
        return f"{present} of {source.images} files"
    arriving = cache / source.name
    arrived = sum(path.stat().st_size for path in arriving.iterdir()) if arriving.is_dir() else 0
    return f"{size(arrived)} arrived" if arrived else "absent"


def size(count: int | None) -> str:
    """Write a number of bytes for people; `?` for an unknown one."""
    if count is None:
        return "?"
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.3g} {unit}"


def _present(source: Source, folder: Path) -> int:
    if not folder.is_dir():
        return 0
    if source.kind != "files":
        return len(list_images(folder))
    paths = ((folder / file.name, file.bytes) for file in source.files)
    return sum(path.is_file() and known in (None, path.stat().st_size) for path, known in paths)
