"""From image files to larger ones: what surrounds the network when somebody has pictures."""

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from alkdnet.data.disk import size
from alkdnet.data.images import SUFFIXES, image_size, read_rgb
from alkdnet.data.resize import upscale
from alkdnet.errors import UserError, raise_problems
from alkdnet.files import atomic_path
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks import build, network_names
from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.networks.bsrn import BSRN
from alkdnet.results.run import RECORD, WEIGHTS
from alkdnet.weights.formats import read_tensors
from alkdnet.weights.released import import_released, released_names
from alkdnet.weights.runs import load_run

Pixels: TypeAlias = npt.NDArray[np.uint8]
SCALES = (2, 3, 4)


class _Format(NamedTuple):
    """How a format is written.

    `kind`: Pillow's name. `alpha`: whether it can hold transparency. `options`: of Pillow's writer. `side`:
    the most pixels of a side. `pixels`: the most in all, as some files hold no more than 4 GiB.
    """

    kind: str
    alpha: bool
    options: dict[str, int | bool]
    side: int = 2**31 - 1
    pixels: int = 2**62


_JPEG = _Format("JPEG", False, {"quality": 95, "subsampling": 0}, side=65_500)
_TIFF = _Format("TIFF", True, {}, pixels=2**30 - 2**20)
_FORMATS = {
    ".png": _Format("PNG", True, {}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _Format("WEBP", True, {"lossless": True}, side=16_383),
    ".bmp": _Format("BMP", False, {}, pixels=2**30 - 2**20),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}
# What `atomic_path` adds to a name while it writes.
_TEMPORARY = len(f"..{2**22}.tmp")
# Bytes of memory, measured (docs/inference.md): for a pixel of the LR image, by strips and by the module, and
# for one of the large image in tiles.
_BY_STRIPS, _BY_MODULE, _IN_TILES = 1_700, 5_600, 34
_TILE = 192


@dataclass(frozen=True)
class Picture:
    """An image: `rgb` is HWC, `alpha` HW1 or None without transparency, both uint8."""

    rgb: Pixels
    alpha: Pixels | None
    gray: bool
    icc_profile: bytes | None


class Job(NamedTuple):
    """A picture to upscale, and the file to write; `kept`: what is there and finished stays."""

    source: Path
    target: Path
    kept: bool


class FiniteUpscaler(Upscaler):
    """An `Upscaler` that raises FloatingPointError instead of making NaN and infinity black or white."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the network's output, as `Upscaler.forward`."""
        y_BCHW = super().forward(x_BCHW)
        if not y_BCHW.sum().isfinite():  # of a term that is not, no sum is finite
            raise FloatingPointError
        return y_BCHW


def open_model(weights: Path, scale: int, network: str | None = None) -> nn.Module:
    """Return the network that a file of weights belongs to, ready to upscale.

    A `run.json` beside a run's file, as a pipeline writes it, names the network and its options. Without one
    the names and shapes in the file, which may be this library's or the authors', say which network it is.

    Args:
        weights: the file, or a run's folder.
        scale: how many times as large the network makes an image.
        network: its name; None: it is found.

    Raises:
        UserError: the weights are missing, of another scale, or of another network.
    """
    if (weights / WEIGHTS).is_file():
        weights = weights / WEIGHTS
    if weights.name == WEIGHTS and weights.with_name(RECORD).is_file():
        model, record = load_run(weights.parent)
        if record.scale != scale:
            raise UserError(f"{weights}: these weights upscale by {record.scale}, not by {scale}")
        if network not in (None, record.network):
            raise UserError(f"{weights}: these are weights of {record.network}, not of {network}")
        return model.eval()
    return _imported(weights, network or _network_of(weights, scale), scale).eval()


def _imported(weights: Path, network: str, scale: int) -> nn.Module:
    model = build(network, scale, {})
    import_released(weights, model)
    return model


def _network_of(weights: Path, scale: int) -> str:
    """Return the name of the network that a file belongs to."""
    names = read_tensors(weights).keys()
    if _fits(weights, names, "alkdnet", scale):
        return "alkdnet"
    others = [name for name in network_names() if name not in ("alkdnet", "bicubic")]
    fitting = [name for name in others if _fits(weights, names, name, scale)]
    if len(fitting) > 1:
        raise UserError(f"{weights}: fits {' and '.join(fitting)}; choose one by --network")
    if fitting:
        return fitting[0]
    for other in SCALES:
        for name in ("alkdnet", *others):
            if other != scale and _fits(weights, names, name, other):
                raise UserError(f"{weights}: these weights of {name} upscale by {other}, not by {scale}")
    try:
        _imported(weights, "alkdnet", scale)
    except UserError as error:
        raise UserError(f"{error}; nor another network with its usual options") from None
    return "alkdnet"


def _fits(weights: Path, names: Set[str], network: str, scale: int) -> bool:
    """Return whether a file with these names of tensors can be imported as a network's."""
    with torch.device("meta"):  # names alone decide most cases, and cost no memory
        model = build(network, scale, {})
    arranges = hasattr(sys.modules[type(model).__module__], "arrange_released")
    own = model.state_dict().keys()
    if not arranges and own != names and own != set(released_names(names, model).values()):
        return False
    try:
        _imported(weights, network, scale)
    except UserError:
        return False
    return True


def plan(sources: Sequence[Path], target: Path) -> list[Job]:
    """Return what is to be written for pictures, and for folders of them with all that is below.

    One picture and a target with the ending of a format: this file, which is replaced. Otherwise the target
    is a folder: the files in it are named as the sources, those of folders by their place in there, with the
    ending .png where a format can only be read; what is there and finished is kept.

    Raises:
        UserError: a source is missing or no file, or two sources would have one target; with all problems.
    """
    if len(sources) == 1 and not sources[0].is_dir() and not target.is_dir() and target.suffix:
        _raise_unless_file(sources[0])
        return [Job(sources[0], target, kept=False)]
    problems: list[str] = []
    jobs: dict[Path, Job] = {}
    if target.exists() and not target.is_dir():
        problems.append(f"{target}: is no folder, which several pictures need")
    for source in sources:
        if source.is_dir() and source.resolve() == target.resolve():
            problems.append(f"{target}: is the folder of the sources; give another one")
            continue
        try:
            found = list(_pictures(source, target))
        except UserError as error:
            problems.append(str(error))
            continue
        if not found:
            problems.append(f"{source}: no images in it ({', '.join(sorted(SUFFIXES))})")
        for path, place in found:
            large = target / (place if place.suffix.lower() in _FORMATS else place.with_suffix(".png"))
            if large in jobs:
                problems.append(f"{jobs[large].source} and {path} would both become {large}")
            jobs[large] = Job(path, large, kept=True)
    raise_problems(problems)
    return list(jobs.values())


def _pictures(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a picture, or those in a folder and below but not in the target, each with its place in there."""
    if not source.is_dir():
        _raise_unless_file(source)
        yield source, Path(source.name)
        return
    for folder, below, names in os.walk(source):
        here = Path(folder)
        below[:] = sorted(
            name for name in below if not name.startswith(".") and (here / name).resolve() != target.resolve()
        )
        for name in sorted(names):
            path = here / name
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and path.is_file():
                yield path, path.relative_to(source)


def _raise_unless_file(source: Path) -> None:
    # A pipe without a writer would be waited for, and no pipe is read twice.
    if source.exists() and not source.is_file():
        raise UserError(f"{source}: is a pipe or a device, not a file: save the picture first")
    if not source.exists():
        raise UserError(f"{source}: no such file")


def is_finished(job: Job, scale: int) -> bool:
    """Return whether the target of a job is the source, `scale` times as large, and not older."""
    if not job.kept or not job.target.is_file():
        return False
    try:
        height, width = image_size(job.source)
        large = image_size(job.target)
    except UserError:
        return False
    newer = job.target.stat().st_mtime >= job.source.stat().st_mtime
    return large == (height * scale, width * scale) and newer


def check_target(source: Path, target: Path, scale: int) -> None:
    """Judge by the source's header whether its large image can be written.

    Raises:
        UserError: the source is no image; the target is the source, its format is unknown or cannot hold so
            many pixels, its name is too long, or its folder cannot be made or written to.
    """
    known = _FORMATS.get(target.suffix.lower())
    if known is None:
        raise UserError(f"{target}: unknown ending; there are: {', '.join(_FORMATS)}")
    real = target.resolve()
    if real == source.resolve():
        raise UserError(
            f"{target}: is the source itself, which would be lost; give the larger image another name"
        )
    if real.exists() and not real.is_file():
        raise UserError(f"{target}: is no file that could be replaced")
    folder = next(parent for parent in real.parents if parent.exists())
    if not folder.is_dir():
        raise UserError(f"{target}: {folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{target}: the folder {folder} cannot be written to")
    longest = os.pathconf(folder, "PC_NAME_MAX") - _TEMPORARY
    if len(os.fsencode(real.name)) > longest:
        raise UserError(f"{target}: a name of more than {longest} bytes; give a shorter one")
    height, width = (side * scale for side in image_size(source))
    if max(height, width) > known.side:
        raise UserError(
            f"{target}: {width}x{height} pixels, but {known.kind} holds no more than {known.side} a side; "
            "write a .png"
        )
    if height * width > known.pixels:
        raise UserError(f"{target}: {width}x{height} pixels are too many for {known.kind}; write a .png")


def check_memory(
    source: Path, model: nn.Module, *, scale: int, tile: int | None, available: int | None
) -> None:
    """Judge by the source's header whether its large image can be computed in `available` bytes, if known.

    Raises:
        UserError: it cannot.
    """
    if available is None:
        return
    height, width = image_size(source)
    in_tiles = height * width * scale**2 * _IN_TILES
    whole = height * width * (_BY_STRIPS if isinstance(model, ALKDNet | BSRN) else _BY_MODULE)
    needed = whole if tile is None else in_tiles
    if needed <= available:
        return
    message = (
        f"{source}: {width}x{height} pixels need about {size(needed)} of memory, {size(available)} are free"
    )
    if tile is None and in_tiles < needed:
        message += f"; in tiles, --tile {_TILE}, they need {size(in_tiles)}"
    raise UserError(message)


def free_memory() -> int | None:
    """Return the bytes of memory that this computer has left; None where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def upscale_file(
    source: Path, target: Path, network: Callable[[Pixels], Pixels], *, scale: int
) -> tuple[int, int]:
    """Write the image in `source`, `scale` times as large, to `target`; return the new height and width.

    `network` maps an RGB image to one of `scale` times its size, e.g. a `FiniteUpscaler`. Transparency is
    upscaled by bicubic interpolation and kept; colours below it are upscaled as they are. A gray image stays
    gray, the ICC profile is passed on, the EXIF orientation is applied. JPEG is written with quality 95. A
    target that is a link is followed.

    Raises:
        UserError: as `check_target`; also if the source is no 8-bit image, the target has no transparency, or
            the network gives NaN or infinity.
    """
    check_target(source, target, scale)
    known = _FORMATS[target.suffix.lower()]
    picture = read_picture(source)
    if picture.alpha is not None and not known.alpha:
        raise UserError(f"{target}: {known.kind} holds no transparency, which {source} has; write a .png")
    try:
        large = Image.fromarray(network(picture.rgb))
    except FloatingPointError:
        raise UserError(
            f"{source}: the network gives NaN or infinity for this image: its weights are damaged, or the "
            "training that they come from has diverged"
        ) from None
    if picture.gray:
        large = large.convert("L")
    if picture.alpha is not None:
        large.putalpha(Image.fromarray(upscale(picture.alpha, scale)[..., 0]))
    encoded = io.BytesIO()
    large.save(encoded, known.kind, icc_profile=picture.icc_profile, **known.options)
    with atomic_path(target.resolve()) as temporary:
        temporary.write_bytes(encoded.getbuffer())
    return large.height, large.width


def read_picture(path: Path) -> Picture:
    """Read an image file without losing its transparency.

    Raises:
        UserError: as `read_rgb`.
    """
    rgb_HWC = read_rgb(path, alpha="black")
    with path.open("rb") as file, Image.open(file) as image:  # see images.py: TIFFs by name are scrambled
        profile = image.info.get("icc_profile")
        gray = image.mode in ("1", "L", "LA")
        if not image.has_transparency_data:
            # A profile of inks does not describe the RGB that they were converted to.
            return Picture(rgb_HWC, None, gray, None if image.mode == "CMYK" else profile)
        rgba_HWC = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
    alpha_HW1 = np.ascontiguousarray(rgba_HWC[..., 3:])
    return Picture(np.ascontiguousarray(rgba_HWC[..., :3]), alpha_HW1, gray, profile)
