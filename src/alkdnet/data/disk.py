"""Disk space: checked before work begins, and sizes formatted for messages."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from alkdnet.errors import UserError


def size(count: int | None) -> str:
    """Return a number of bytes with its unit; `?` for an unknown one."""
    if count is None:
        return "?"
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:  # three digits are written
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.3g} {unit}"


def require_space(needs: Iterable[tuple[Path, int]]) -> None:
    """Check that bytes can be written at the given paths, which need not exist yet.

    Raises:
        UserError: the paths of one file system need more together than is free on it.
    """
    by_device: dict[int, tuple[Path, int]] = {}
    for path, needed in needs:
        folder = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        device = folder.stat().st_dev
        by_device[device] = (folder, by_device.get(device, (folder, 0))[1] + needed)
    for folder, needed in by_device.values():
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(f"{folder}: {size(needed)} are needed, {size(free)} are free")
