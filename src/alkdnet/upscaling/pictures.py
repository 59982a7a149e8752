"""One picture: read with transparency and metadata, upscaled, and written."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from alkdnet.arrays import ImageHWC
from alkdnet.data.images import read_rgb
from alkdnet.data.resize import upscale
from alkdnet.errors import UserError
from alkdnet.files import atomic_path
from alkdnet.upscaling.damage import read_despite_damage
from alkdnet.upscaling.metadata import Metadata, read_metadata
from alkdnet.upscaling.sources import large_size
from alkdnet.upscaling.targets import check_target
from alkdnet.upscaling.transparency import fill_transparent


@dataclass(frozen=True)
class Picture:
    """An image: `rgb` is HWC, `alpha` HW or None without transparency; in gray ones all channels equal."""

    rgb: ImageHWC
    alpha: npt.NDArray[np.uint8] | None
    gray: bool
    metadata: Metadata


class Written(NamedTuple):
    """Height and width of the large image, and messages on lost metadata."""

    height: int
    width: int
    lost: list[str]


def upscale_file(
    source: Path, target: Path, network: Callable[[ImageHWC], ImageHWC], *, scale: int
) -> Written:
    """Write the image in `source`, `scale` times as large, to `target`.

    `network` maps an RGB image to one of `scale` times its size, e.g. a `FiniteUpscaler`. Transparency is
    upscaled by bicubic interpolation and kept. A gray image stays gray, the EXIF orientation is applied,
    metadata is kept where the format can hold it. JPEG is written with quality 95.

    Raises:
        UserError: as `check_target`; also if the source is no 8-bit image, or the network gives NaN or
            infinity or finds too little memory.
    """
    known = check_target(source, target, large_size(source, scale))
    picture = read_picture(source)
    try:
        large = Image.fromarray(network(picture.rgb))
    except FloatingPointError:
        raise UserError(
            f"{source}: the network gives NaN or infinity for this image: its weights are damaged, the "
            "training that they come from has diverged, or they need --precision float32"
        ) from None
    except MemoryError as error:
        raise UserError(f"{source}: {error or 'does not fit into the memory'}") from None
    if picture.gray:
        large = large.convert("L")
    if picture.alpha is not None and known.alpha:
        large.putalpha(Image.fromarray(upscale(picture.alpha[..., None], scale)[..., 0]))
    saving, lost = picture.metadata.saving(known, gray=picture.gray)
    with atomic_path(target.resolve()) as temporary:
        large.save(temporary, known.kind, **saving, **known.options)
    return Written(large.height, large.width, lost)


def read_picture(path: Path) -> Picture:
    """Read an image file with its transparency and metadata.

    Below transparent pixels the colour is that of the nearest visible one. Damaged metadata are left out.

    Raises:
        UserError: as `read_rgb`, but not because of damaged metadata.
    """
    picture, damaged = read_despite_damage(path, _read)
    return replace(picture, metadata=picture.metadata.without(damaged))


def _read(path: Path) -> Picture:
    rgb_HWC = read_rgb(path, alpha="black")
    # See images.py: TIFFs that are opened by name are scrambled.
    with path.open("rb") as file, Image.open(file) as image:
        gray = image.mode in ("1", "L", "LA")
        ImageOps.exif_transpose(image, in_place=True)
        if not image.has_transparency_data:
            return Picture(rgb_HWC, None, gray, read_metadata(image))
        metadata = read_metadata(image)
        rgba_HWC = np.asarray(image.convert("RGBA"))
    alpha_HW = np.ascontiguousarray(rgba_HWC[..., 3])
    rgb_HWC = fill_transparent(np.ascontiguousarray(rgba_HWC[..., :3]), alpha_HW)
    return Picture(rgb_HWC, alpha_HW, gray, metadata)
