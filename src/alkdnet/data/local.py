"""Sets that are not downloaded: photographs in scikit-image's wheel, and folders of the user's."""

import shutil
from importlib.resources import files
from pathlib import Path

from alkdnet.data.images import NOT_AVAILABLE, SUFFIXES, list_images, same_stems
from alkdnet.data.sources import Source
from alkdnet.data.space import require_space
from alkdnet.errors import UserError
from alkdnet.files import atomic_directory, sha256_file


def copy_embedded(source: Source, destination: Path) -> None:
    """Copy photographs out of scikit-image's wheel.

    Raises:
        UserError: the installed version has not these photographs.
    """
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
    """Copy the images of a user's folder.

    Copies, not links: DVC makes the files of its outputs read-only, and the originals are the user's.

    Raises:
        UserError: there is no such folder, no image in it, or two images differ in their ending only, which
            the later stages could not tell apart.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of images")
    images = list_images(folder)
    if not images:
        endings = ", ".join(sorted(SUFFIXES))
        raise UserError(f"{folder}: no images in it ({endings}); folders in it are not searched")
    if problems := same_stems(images):
        raise UserError("\n".join(problems))
    require_space([(destination, sum(image.stat().st_size for image in images))])
    with atomic_directory(destination) as temporary:
        for image in images:
            shutil.copyfile(image, temporary / image.name)


def copy_gated(source: Source, destination: Path, folder: Path | None) -> None:
    """Copy a set that only its owners give out, or say in the file `NOT_AVAILABLE` how to get it.

    Raises:
        UserError: the folder has some of the images, but not all.
    """
    images = list_images(folder) if folder is not None and folder.is_dir() else []
    if folder is None or not images:
        with atomic_directory(destination) as temporary:
            (temporary / NOT_AVAILABLE).write_text(not_available(source), encoding="utf-8")
    elif len(images) != source.images:
        raise UserError(
            f"{folder}: {len(images)} of the {source.images} images of {source.name} "
            f"({images[0].name} to {images[-1].name}); complete the folder or empty it"
        )
    else:
        copy_folder(folder, destination)


def not_available(source: Source) -> str:
    """Return how to get a gated set; the same text everywhere, as it becomes an output."""
    return (
        f"{source.name} is not available here: it may not be redistributed, so nothing downloads it.\n"
        f"{source.obtain}\n"
        f"Give that folder as the path of {source.name} and run the download again. DVC does not see\n"
        "that the folder was filled and has to be told; for the pipeline in the folder `paper`:\n"
        f"  dvc repro --force paper/dvc.yaml:download@{source.name}\n"
        "  dvc repro paper/dvc.yaml\n"
        "Until then its numbers are marked `not available`; nothing else depends on it.\n"
    )
