"""Sets that are not downloaded: photographs in scikit-image's wheel, and folders of the user."""

import logging
import shutil
from collections import Counter
from importlib.resources import files
from pathlib import Path

from alkdnet.data.disk import require_space
from alkdnet.data.images import NOT_AVAILABLE, SUFFIXES, list_images, same_stems
from alkdnet.errors import UserError, raise_problems
from alkdnet.files import atomic_directory, sha256_file
from alkdnet.sources.catalogue import Source

logger = logging.getLogger(__name__)


def copy_embedded(source: Source, destination: Path) -> None:
    """Copy photographs out of scikit-image's wheel.

    Raises:
        UserError: the installed version does not have these photographs, or the disk cannot hold them.
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
                raise UserError(f"{source.name}: {path} of the installed {package} has another checksum")


def copy_folder(folder: Path, destination: Path) -> None:
    """Copy the images of a user's folder, and log what is left out.

    Copies, not links: DVC makes the files of its outputs read-only, and the originals are the user's.

    Raises:
        UserError: there is no such folder, no image in it, or two images differ in their suffix only, which
            the later stages could not distinguish.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of images")
    images = list_images(folder)
    left_out = _left_out(folder, images)
    if not images:
        raise UserError(f"{folder}: no images in it ({', '.join(sorted(SUFFIXES))}){left_out}")
    if left_out:
        logger.warning("%s: %d images are copied%s", folder, len(images), left_out)
    raise_problems(same_stems(images))
    require_space([(destination, sum(image.stat().st_size for image in images))])
    with atomic_directory(destination) as temporary:
        for image in images:
            shutil.copyfile(image, temporary / image.name)


def copy_file(file: Path, destination: Path) -> None:
    """Copy a user's file of weights; the .bin of the same name comes with a .param, the format of ncnn.

    Raises:
        UserError: there is no such file.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file of weights")
    pair = [file, *([file.with_suffix(".bin")] if file.suffix == ".param" else [])]
    with atomic_directory(destination) as temporary:
        for path in pair:
            shutil.copyfile(path, temporary / path.name)


def _left_out(folder: Path, images: list[Path]) -> str:
    """Return a message on what a folder has besides images and hidden files; empty: nothing."""
    others = [path for path in {*folder.iterdir()} - {*images} if not path.name.startswith(".")]
    suffixes = Counter(path.suffix.lower() or "without suffix" for path in others if not path.is_dir())
    folders = sum(path.is_dir() for path in others)
    parts = [f"{count} {suffix}" for suffix, count in sorted(suffixes.items())]
    if folders:
        parts.append(f"{folders} folder{'' if folders == 1 else 's'} (not searched)")
    return f"; left out: {', '.join(parts)}" if parts else ""


def copy_gated(source: Source, destination: Path, folder: Path | None) -> None:
    """Copy a set that only its owners distribute; without it, write how to get it to `NOT_AVAILABLE`.

    That is also logged, with the folder to fill, which the file does not name: as an output it is the same on
    every computer.

    Raises:
        UserError: as `gated_images`.
    """
    if folder is not None and gated_images(source, folder):
        copy_folder(folder, destination)
        return
    text = access_instructions(source) + (
        "The folder is the row's `path` in the parameter file. DVC does not notice that it was filled; run,\n"
        "in the folder of the pipeline's dvc.yaml:\n"
        f"  dvc repro --force download@{destination.name}\n"
        "  dvc repro\n"
        "Until then its numbers are marked `not available`; nothing else depends on it.\n"
    )
    with atomic_directory(destination) as temporary:
        (temporary / NOT_AVAILABLE).write_text(text, encoding="utf-8")
    logger.warning("%s", text + (f"The folder to fill: {folder.absolute()}" if folder is not None else ""))


def gated_images(source: Source, folder: Path) -> list[Path]:
    """Return the images that the user has put into the folder of a gated set: all of them, or none.

    Raises:
        UserError: it is a file, or has another number of images, or folders only.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: this is a file, not a folder with the images of {source.name}")
    images = list_images(folder) if folder.is_dir() else []
    if not images and any(folder.glob("*/")):
        raise UserError(
            f"{folder}: has folders but no images; put the {source.images} images of {source.name} directly "
            "into it, as the super-resolution benchmark has them"
        )
    if images and len(images) != source.images:
        raise UserError(
            f"{folder}: {len(images)} images ({images[0].name} to {images[-1].name}), but {source.name} has "
            f"{source.images}; complete the folder, empty it, or remove what does not belong to the set"
        )
    return images


def access_instructions(source: Source) -> str:
    """Return how to get a gated set."""
    return (
        f"{source.name} is not available here: it may not be redistributed, so it is never downloaded.\n"
        f"{source.obtain}\n"
    )
