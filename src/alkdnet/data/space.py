"""Refusing work that the disk cannot hold, before it begins."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from alkdnet.errors import UserError


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
            raise UserError(f"{folder}: {needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free")
