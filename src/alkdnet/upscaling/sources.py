"""Which pictures are upscaled, and to which files."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from alkdnet.data.images import SUFFIXES, image_size
from alkdnet.errors import UserError, in_words, raise_problems
from alkdnet.upscaling.damage import read_despite_damage
from alkdnet.upscaling.formats import format_of

# Suffixes of pictures that are not read: they have more than 8 bits, or Pillow cannot always read them.
_UNSUPPORTED = (
    *(".avif", ".heic", ".heif", ".jxl", ".jp2", ".j2k", ".jpx", ".jfif", ".psd", ".tga", ".exr", ".hdr"),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"),
)


@dataclass(frozen=True)
class Job:
    """A picture to upscale, and the file to write; `skip_finished`: unless that is finished already."""

    source: Path
    target: Path
    skip_finished: bool


@dataclass(frozen=True)
class Plan:
    """The jobs, and the number of unsupported pictures in folders, by suffix."""

    jobs: list[Job]
    unsupported: Counter[str] = field(default_factory=Counter)


def plan_jobs(sources: Sequence[Path], target: Path) -> Plan:
    """Return the jobs for pictures, and for folders, which are searched recursively.

    A source that does not exist and contains `*`, `?` or `[` is a pattern; `**` matches any folders. With one
    picture and a target that has the suffix of a format, the target is that file, which is replaced.
    Otherwise the target is a folder, in which files keep their names and their paths relative to a source
    folder, with the suffix .png where a format can only be read; finished ones are skipped.

    Raises:
        UserError: a source is missing or not a file, or two sources have one target; with all problems.
    """
    named = [path for source in sources for path in _matches(source)]
    if len(sources) == len(named) == 1 and not named[0].is_dir() and _is_file_name(target):
        _raise_unless_file(named[0])
        return Plan([Job(named[0], target, skip_finished=False)])
    problems: list[str] = []
    jobs: dict[Path, Job] = {}
    unsupported: Counter[str] = Counter()
    if target.exists() and not target.is_dir():
        problems.append(f"{target}: is not a folder, which several pictures need")
    for source in dict.fromkeys(named):
        if source.is_dir() and source.resolve() == target.resolve():
            problems.append(f"{target}: is the folder of the sources; give another one")
            continue
        try:
            found = list(_pictures(source, target, unsupported))
        except UserError as error:
            problems.append(str(error))
            continue
        if not found:
            problems.append(f"{source}: no images in it ({', '.join(sorted(SUFFIXES))})")
        for path, relative in found:
            large = target / (relative if format_of(relative.suffix) else relative.with_suffix(".png"))
            if large in jobs:
                problems.append(f"{jobs[large].source} and {path} would both become {large}")
            jobs[large] = Job(path, large, skip_finished=True)
    raise_problems(problems)
    return Plan(list(jobs.values()), unsupported)


def is_finished(job: Job, large: tuple[int, int]) -> bool:
    """Return whether the target is an image of `large` (height, width), and not older than the source."""
    known = format_of(job.target.suffix)
    if not job.skip_finished or known is None or not job.target.is_file():
        return False
    Image.init()
    try:
        with job.target.open("rb") as file:
            # Not `Image.open`, which opens no image of more than 178 megapixels.
            opener, _ = Image.OPEN[known.kind]
            width, height = opener(file, "").size
    except (OSError, SyntaxError):
        return False
    return (height, width) == large and job.target.stat().st_mtime >= job.source.stat().st_mtime


def large_size(source: Path, scale: int) -> tuple[int, int]:
    """Return height and width of the large image, by the source's header.

    Raises:
        UserError: the source is no image.
    """
    (height, width), _ = read_despite_damage(source, image_size)
    return height * scale, width * scale


def _matches(source: Path) -> list[Path]:
    """Return the source, or what it matches if it is a pattern."""
    if os.path.lexists(source) or not glob.has_magic(str(source)):
        return [source]
    # Not `Path.glob`, which takes no absolute patterns.
    found = [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]  # noqa: PTH207
    if not found:
        raise UserError(f"{source}: nothing matches this pattern")
    return found


def _is_file_name(target: Path) -> bool:
    return not target.is_dir() and bool(target.suffix)


def _pictures(source: Path, target: Path, unsupported: Counter[str]) -> Iterator[tuple[Path, Path]]:
    """Yield a picture, or those in a folder but not in the target, with their relative paths."""
    if not source.is_dir():
        _raise_unless_file(source)
        yield source, Path(source.name)
        return
    seen = {target.resolve(), source.resolve()}  # links may form a cycle
    for folder, below, names in os.walk(source, onerror=_raise, followlinks=True):
        here = Path(folder)
        below[:] = [name for name in sorted(below) if not name.startswith(".") and _is_new(here / name, seen)]
        for name in sorted(names):
            path = here / name
            suffix = path.suffix.lower()
            if name.startswith(".") or not path.is_file():
                continue
            if suffix in SUFFIXES:
                yield path, path.relative_to(source)
            elif suffix in _UNSUPPORTED:
                unsupported[suffix] += 1


def _is_new(folder: Path, seen: set[Path]) -> bool:
    real = folder.resolve()
    if real in seen:
        return False
    seen.add(real)
    return True


def _raise(error: OSError) -> None:
    raise UserError(in_words(error)) from error


def _raise_unless_file(source: Path) -> None:
    # A pipe without a writer would be waited for, and no pipe is read twice.
    if source.exists() and not source.is_file():
        raise UserError(f"{source}: is a pipe or a device, not a file: save the picture first")
    if not source.exists():
        raise UserError(f"{source}: no such file")
