"""Sets that are not downloaded: photographs in scikit-image's wheel, and folders of the user's."""

import logging
import shutil
from collections import Counter
from importlib.resources import files
from pathlib import Path

from alkdnet.data.disk import require_space
from alkdnet.data.images import NOT_AVAILABLE, SUFFIXES, list_images, same_stems
from alkdnet.errors import UserError
from alkdnet.files import atomic_directory, sha256_file
from alkdnet.sources.catalogue import Source

logger = logging.getLogger(__name__)


def copy_embedded(source: Source, destination: Path) -> None:
    """Copy photographs out of scikit-image's wheel.

    Raises:
        UserError: the installed version has not these photographs, or the disk cannot hold them.
    """
    require_space([(destination, source.bytes or 0)])
    with atomic_directory(destination) as temporary:
        for file in source.files:
            package, _, path = file.urls[0].partition("/")
            target = temporary / file.name
            try:
                target.write_bytes(files(package).joinpath(path).read_bytes())
            except (ModuleNotFoundError, FileNotFoundError):
                raise UserError(f"{source.name}: the installed {package} has no {path}") from None
            if sha256_file(target) != file.sha256:
                raise UserError(f"{source.name}: the installed {package} has another {path} than expected")


def copy_folder(folder: Path, destination: Path) -> None:
    """Copy the images of a user's folder, and log what is not taken.

    Copies, not links: DVC makes the files of its outputs read-only, and the originals are the user's.

    Raises:
        UserError: there is no such folder, no image in it, or two images differ in their ending only, which
            the later stages could not tell apart.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of images")
    images = list_images(folder)
    left_out = _left_out(folder, images)
    if not images:
        endings = ", ".join(sorted(SUFFIXES))
        raise UserError(f"{folder}: no images in it ({endings}){left_out}")
    if left_out:
        logger.warning("%s: %d images are taken%s", folder, len(images), left_out)
    if problems := same_stems(images):
        raise UserError("\n".join(problems))
    require_space([(destination, sum(image.stat().st_size for image in images))])
    with atomic_directory(destination) as temporary:
        for image in images:
            shutil.copyfile(image, temporary / image.name)


def _left_out(folder: Path, images: list[Path]) -> str:
    """Say what a folder holds beside the images that are read, hidden files apart; empty: nothing."""
    others = [path for path in folder.iterdir() if path not in images and not path.name.startswith(".")]
    endings = Counter(path.suffix.lower() or "without ending" for path in others if not path.is_dir())
    folders = sum(path.is_dir() for path in others)
    parts = [f"{count} {ending}" for ending, count in sorted(endings.items())]
    if folders:
        parts.append(f"{folders} folder{'' if folders == 1 else 's'} (not searched)")
    return f"; left out: {', '.join(parts)}" if parts else ""


def copy_gated(source: Source, destination: Path, folder: Path | None) -> None:
    """Copy a set that only its owners give out; without it, say how to get it, in the file `NOT_AVAILABLE`.

    That is also logged, with the folder to fill, which the file does not name: as an output it is the same on
    every computer.

    Raises:
        UserError: as `gated_images`.
    """
    if folder is not None and gated_images(source, folder):
        copy_folder(folder, destination)
        return
    text = not_available(source) + _after_filling(destination.name)
    with atomic_directory(destination) as temporary:
        (temporary / NOT_AVAILABLE).write_text(text, encoding="utf-8")
    logger.warning("%s", text + (f"The folder to fill: {folder.absolute()}" if folder is not None else ""))


def gated_images(source: Source, folder: Path) -> list[Path]:
    """Return the images that the user has put into the folder of a gated set: all of them, or none.

    Raises:
        UserError: it is no folder, or has too few or too many images, empty ones, or folders only.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a folder is wanted for the images of {source.name}, this is a file")
    images = list_images(folder) if folder.is_dir() else []
    if not images:
        if inner := sorted(path.name for path in folder.glob("*/")):
            raise UserError(
                f"{folder}: has no images, only folders ({', '.join(inner[:3])}); the {source.images} images "
                f"of {source.name} are wanted in it directly, as the super-resolution benchmark has them"
            )
        return []
    count, span = len(images), f"({images[0].name} to {images[-1].name})"
    if source.images is not None and count > source.images:
        excess = count - source.images
        raise UserError(
            f"{folder}: {count} images {span}, {excess} more than {source.name} has; remove what is not of it"
        )
    if count != source.images:
        raise UserError(
            f"{folder}: {count} of the {source.images} images of {source.name} {span}; "
            "complete the folder or empty it"
        )
    if empty := [image.name for image in images if not image.stat().st_size]:
        raise UserError(f"{folder}: these files are empty: {', '.join(empty[:3])}; copy the images anew")
    return images


def not_available(source: Source) -> str:
    """Return how to get a gated set."""
    return (
        f"{source.name} is not available here: it may not be redistributed, so nothing downloads it.\n"
        f"{source.obtain}\n"
    )


def _after_filling(row: str) -> str:
    """Return what to do in a pipeline once its owner has filled the folder of a row."""
    return (
        "The folder is the row's `path` in the parameter file. DVC does not see that it was filled and has\n"
        "to be told, in the folder of the pipeline's dvc.yaml:\n"
        f"  dvc repro --force download@{row}\n"
        "  dvc repro\n"
        "Until then its numbers are marked `not available`; nothing else depends on it.\n"
    )
