"""From an image file to a larger one: what surrounds the network when somebody has a picture."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from torch import nn

from alkdnet.data.images import read_rgb
from alkdnet.data.resize import upscale
from alkdnet.errors import UserError
from alkdnet.files import atomic_path
from alkdnet.networks import build
from alkdnet.results.run import RECORD
from alkdnet.weights.released import import_released
from alkdnet.weights.runs import load_run

Pixels: TypeAlias = npt.NDArray[np.uint8]

# Pillow's name of the format, whether it can hold transparency, and how it is written.
_FORMATS: dict[str, tuple[str, bool, dict[str, int | bool]]] = {
    ".png": ("PNG", True, {}),
    ".tif": ("TIFF", True, {}),
    ".tiff": ("TIFF", True, {}),
    ".webp": ("WEBP", True, {"lossless": True}),
    ".bmp": ("BMP", False, {}),
    ".jpg": ("JPEG", False, {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", False, {"quality": 95, "subsampling": 0}),
}


@dataclass(frozen=True)
class Picture:
    """An image: `rgb` is HWC, `alpha` HW1 or None without transparency, both uint8."""

    rgb: Pixels
    alpha: Pixels | None
    gray: bool
    icc_profile: bytes | None


def open_model(weights: Path, scale: int) -> nn.Module:
    """Return the network that a file of weights belongs to, ready to upscale.

    A `run.json` beside the file, as a pipeline writes it, names the network and its options; without one the
    file is taken for the paper's ALKDNet. The names in the file may be this library's or the authors'.

    Raises:
        UserError: the weights are missing, of another scale, or of another network.
    """
    if weights.suffix == ".safetensors" and weights.with_name(RECORD).is_file():
        model, record = load_run(weights.parent)
        if record.scale != scale:
            raise UserError(f"{weights}: these weights upscale by {record.scale}, not by {scale}")
        return model.eval()
    model = build("alkdnet", scale, {})
    import_released(weights, model)
    return model.eval()


def upscale_file(
    source: Path, target: Path, network: Callable[[Pixels], Pixels], *, scale: int
) -> tuple[int, int]:
    """Write the image in `source`, `scale` times as large, to `target`; return the new height and width.

    `network` maps an RGB image to one of `scale` times its size, e.g. an `Upscaler`. Transparency is upscaled
    by bicubic interpolation and kept; colours below it are upscaled as they are. A gray image stays gray, the
    ICC profile is passed on, the EXIF orientation is applied. JPEG is written with quality 95.

    Raises:
        UserError: the source is no 8-bit image, the target is the source, or its format is unknown or has no
            transparency.
    """
    if target.suffix.lower() not in _FORMATS:
        raise UserError(f"{target}: unknown ending; there are: {', '.join(_FORMATS)}")
    if target.resolve() == source.resolve():
        raise UserError(
            f"{target}: is the source itself, which would be lost; give the larger image another name"
        )
    kind, has_alpha, options = _FORMATS[target.suffix.lower()]
    picture = read_picture(source)
    if picture.alpha is not None and not has_alpha:
        raise UserError(f"{target}: {kind} holds no transparency, which {source} has; write a .png")
    large = Image.fromarray(network(picture.rgb))
    if picture.gray:
        large = large.convert("L")
    if picture.alpha is not None:
        large.putalpha(Image.fromarray(upscale(picture.alpha, scale)[..., 0]))
    encoded = io.BytesIO()
    large.save(encoded, kind, icc_profile=picture.icc_profile, **options)
    with atomic_path(target) as temporary:
        temporary.write_bytes(encoded.getvalue())
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
