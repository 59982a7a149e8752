"""Reading the common image formats as 8-bit RGB, or reporting why a file is rejected; writing PNG.

All other modules work on uint8 arrays of shape HWC with C = 3. Gray and palette images are expanded, CMYK is
converted by Pillow's simple formula, the EXIF orientation is applied, and ICC profiles are ignored: values
are taken as sRGB, as in the published data sets and in MATLAB's `imread`.
"""

import io
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from alkdnet.arrays import ImageHWC
from alkdnet.errors import UserError
from alkdnet.files import atomic_path
from alkdnet.progress import Progress

Alpha = Literal["reject", "black", "white"]

# The file in the folder of a gated set that is not available.
NOT_AVAILABLE = "NOT_AVAILABLE.txt"
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"))
# The formats of these files. Pillow knows others, and reduces some to 8 bits without a warning (AVIF).
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
# Level 1 writes photographs 2.7 times as fast as zlib's default and 9 % larger: see docs/data.md.
PNG_LEVEL = 1
# Pillow warns from 89 megapixels on, with a line of its own source; images up to 178 are taken all the same.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_rgb(path: Path, *, alpha: Alpha = "reject") -> ImageHWC:
    """Return the image in a file as a contiguous, writable uint8 array `image_HWC` with three channels.

    `alpha` says what to do with transparent pixels: reject the file, or put the image on a black or a white
    background. An alpha channel that is opaque everywhere is dropped.

    Raises UserError, with the path and the reason, for a file that is missing, empty, truncated or no image,
    whose channels are not of 8 bits or fewer without a sign, that has more than four of them or more than one
    frame, that has transparent pixels under "reject", or that exceeds Pillow's limit of 178 megapixels.
    """
    with _opened(path) as image:
        _check_kind(image)
        # In place, since a copy of 100 megapixels takes 300 MB.
        ImageOps.exif_transpose(image, in_place=True)
        return np.array(_to_rgb(image, alpha))


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of the image that `read_rgb` would return, from the file's header.

    Raises UserError for a file that is missing, empty or no image.
    """
    with _opened(path) as image:
        width, height = image.size
        if isinstance(image, TiffImageFile):  # of these alone Pillow has swapped the sides already
            width, height = (
                image.tag_v2[side] for side in (ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength)
            )
        # 5 to 8 swap rows and columns; no other value above 4 means anything.
        rotated = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return (width, height) if rotated else (height, width)


def image_sizes(paths: Sequence[Path]) -> tuple[dict[Path, tuple[int, int]], list[str]]:
    """Return (height, width) of the images by path, and the problems with those that cannot be read."""
    sizes: dict[Path, tuple[int, int]] = {}

    def measure(path: Path) -> None:
        sizes[path] = image_size(path)

    problems = collect_problems(measure, paths, description="measure")
    return sizes, problems


def pixel_bytes(sizes: Iterable[tuple[int, int]], scale: int = 1) -> int:
    """Return the bytes of all pixels of images of these sizes (height, width), shrunk by a scale."""
    return 3 * sum((height // scale) * (width // scale) for height, width in sizes)


def gray_thumbnails(path: Path, size: int, noises: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return the image without its frame, resized to gray squares, shape (len(noises), size, size).

    The frame, such as white margins or black bars, consists of the rows and columns at the edges whose grays
    differ by no more than a noise; there is a result for each of `noises`. JPEG files are decoded at a
    fraction of their size where that is enough.

    Raises UserError for a file that is missing, empty, truncated or no image.
    """
    with _opened(path) as image:
        image.draft("L", (4 * size, 4 * size))
        upright = ImageOps.exif_transpose(image).convert("L")
        boxes = [_inside_the_frame(np.asarray(upright), noise) for noise in noises]
        squares = [upright.resize((size, size), Image.Resampling.BOX, box, reducing_gap=2.0) for box in boxes]
        return np.stack([np.asarray(square) for square in squares])


def write_png(path: Path, image_HWC: ImageHWC) -> None:
    """Write an RGB image atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(image_HWC))


def png_bytes(image_HWC: ImageHWC) -> bytes:
    """Return an RGB image as a PNG file without metadata: equal images give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC, mode=None).save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def list_images(folder: Path) -> list[Path]:
    """Return the image files directly in `folder`, recognised by their suffix, sorted by name.

    Hidden files and other suffixes (lists of licences, `NOT_AVAILABLE`) are left out.
    """
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def too_small(path: Path, height: int, width: int, minimum: int) -> str | None:
    """Return the problem if an image is narrower or lower than `minimum` pixels."""
    if min(height, width) >= minimum:
        return None
    return f"{path}: {width}x{height} pixels, at least {minimum}x{minimum} are needed"


def same_stems(paths: Iterable[Path]) -> list[str]:
    """Return a problem for every group of files in one folder that differ by their suffix only."""
    groups = defaultdict(list)
    for path in paths:
        groups[path.with_suffix("")].append(path.name)
    return [
        f"{stem.parent}: {', '.join(names)} would have LR images of one name: rename or remove all but one"
        for stem, names in groups.items()
        if len(names) > 1
    ]


def unreadable_names(paths: Iterable[Path]) -> list[str]:
    """Return a problem for every file whose name is not valid UTF-8, which no index could hold."""
    names = ((path, os.fsencode(path.name).decode(errors="replace")) for path in paths)
    return [
        f"{path.parent}: the name {name!r} is not in UTF-8: rename the file"
        for path, name in names
        if "\ufffd" in name
    ]


def collect_problems(
    task: Callable[[Path], str | None], paths: Sequence[Path], *, description: str, workers: int | None = None
) -> list[str]:
    """Run `task` on every path, in threads, and return the problems in the order of `paths`.

    A problem is what `task` returns or the message of its UserError; any other exception ends the work.
    Pillow and torch release the interpreter's lock, so that threads use all cores; `workers` is their number,
    by default that of the cores that this process may use.
    """

    def run(path: Path) -> str | None:
        try:
            return task(path)
        except UserError as error:
            return str(error)

    problems = []
    with (
        Progress(len(paths), description=description, unit="images") as shown,
        ThreadPoolExecutor(workers or _cores()) as pool,
    ):
        for problem in pool.map(run, paths):
            shown.advance()
            if problem is not None:
                problems.append(problem)
    return problems


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux; a container may have fewer cores than its host
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; what goes wrong with it, also in the block, becomes a UserError with its path."""
    try:
        # From an open file: by name, Pillow maps some TIFFs into memory and scrambles those to be rotated.
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            yield image
        return
    except _RejectedError as rejected:
        reason = str(rejected)
    except FileNotFoundError:
        reason = "no such file"
    except UnidentifiedImageError:
        reason = (
            f"not an image of a supported format ({', '.join(_FORMATS)})"
            if path.stat().st_size
            else "the file is empty"
        )
    except Image.DecompressionBombError as error:
        reason = f"too large: {error}"
    except Exception as error:  # Pillow's readers report damage by all kinds of exceptions
        reason = f"damaged or not readable: {error}"
    raise UserError(f"{path}: {reason}")


class _RejectedError(Exception):
    """The file is an intact image of an unsupported kind; the message is the reason."""


def _check_kind(image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # phones append a preview to the photograph
        raise _RejectedError(f"has {frames} frames: extract one of them")
    if _is_deep(image):
        raise _RejectedError(
            "has more than 8 bits per channel: convert it to 8 bits, with the rounding of your choice"
        )
    if isinstance(image, TiffImageFile):
        if not {1, 4} >= set(image.tag_v2.get(ExifTags.Base.SampleFormat, (1,))):  # unsigned, or undefined
            raise _RejectedError("has signed pixel values: convert it to unsigned 8 bits")
        channels = image.tag_v2.get(ExifTags.Base.SamplesPerPixel, 1)
        if channels > 4:
            raise _RejectedError(f"has {channels} channels: keep one, three or four of them")


def _inside_the_frame(gray_HW: npt.NDArray[np.uint8], noise: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the image inside the frame."""
    left, top, (bottom, right) = 0, 0, gray_HW.shape
    while True:  # there may be a frame within a frame
        inside_HW = gray_HW[top:bottom, left:right]
        columns, rows = (np.flatnonzero(np.ptp(inside_HW, axis=axis) > noise).tolist() for axis in (0, 1))
        if not columns or not rows:
            return 0, 0, gray_HW.shape[1], gray_HW.shape[0]
        left, right = left + columns[0], left + columns[-1] + 1
        top, bottom = top + rows[0], top + rows[-1] + 1
        if (bottom - top, right - left) == inside_HW.shape:
            return left, top, right, bottom


def _is_deep(image: Image.Image) -> bool:
    """Return whether a file has more than 8 bits per channel: Pillow reduces many to 8 without a warning."""
    if image.mode.startswith(("I", "F")):
        return True
    if isinstance(image, TiffImageFile):
        bits: tuple[int, ...] = image.tag_v2.get(ExifTags.Base.BitsPerSample, (1,))
        return max(bits) > 8
    arguments = [tile[3] for tile in getattr(image, "tile", ())]
    if image.format == "PPM":  # (raw mode, greatest value)
        return any(isinstance(each, tuple) and each[-1] > 255 for each in arguments)
    # The 16 bits of a BMP are those of a whole pixel.
    return image.format != "BMP" and any(";16" in str(each) for each in arguments)


def _to_rgb(image: Image.Image, alpha: Alpha) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image.convert("RGBA")
    lowest, _ = image.getchannel("A").getextrema()
    if lowest == 255:
        return image.convert("RGB")
    if alpha == "reject":
        raise _RejectedError('has transparent pixels: choose alpha "black" or "white" as their background')
    return Image.alpha_composite(Image.new("RGBA", image.size, alpha), image).convert("RGB")
