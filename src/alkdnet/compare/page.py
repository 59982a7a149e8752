"""A static page that compares pictures of one scene: a slider between two, and zoomed details of all.

The page is one file: pictures, style and script are in it, and its content security policy lets a browser
load nothing else.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from alkdnet.data.images import image_size, png_bytes, read_rgb
from alkdnet.errors import UserError, one_line
from alkdnet.files import atomic_path
from alkdnet.upscaling.damage import read_despite_damage

# Firefox shows no data URI of more than 32 MiB: 24 MiB in base64.
LARGEST_PICTURE = 24 * 2**20
# Larger pages make browsers slow, and are hard to share.
LARGEST_PAGE = 256 * 2**20


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture in the page: `uri` has its pixels as PNG; width and height are those of the file."""

    label: str
    width: int
    height: int
    uri: str


def write_page(pictures: Sequence[Path], target: Path, *, labels: Sequence[str] = ()) -> int:
    """Write the page that compares pictures and return its size in bytes.

    A picture whose width and height are a whole fraction of the largest one's, such as the source of an
    upscaled one, is shown enlarged by nearest neighbour. Pixel values are shown as evaluation reads them:
    turned upright, without the ICC profile, on white where they are transparent.

    Args:
        pictures: two or more image files.
        target: the file, which ends in .html.
        labels: the pictures' names on the page, as many as there are; empty: the names of the files.

    Raises:
        UserError: there are too few pictures, other sizes, a picture cannot be read, the number of labels or
            the ending of the target is wrong, or a picture or the page is too large.
    """
    if target.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{target}: the name of the page must end in .html")
    if len(pictures) < 2:
        raise UserError("give two pictures or more")
    if labels and len(labels) != len(pictures):
        raise UserError(f"--label: {len(labels)} for {len(pictures)} pictures; give one for each, or none")
    sizes = [read_despite_damage(path, image_size)[0] for path in pictures]
    _check_sizes(pictures, sizes)
    names = labels or _names(pictures)
    embedded = [_embedded(path, one_line(name)) for path, name in zip(pictures, names, strict=True)]
    page = _rendered(embedded).encode()
    if len(page) > LARGEST_PAGE:
        raise UserError(
            f"{target}: a page of {len(page) >> 20} MiB, {LARGEST_PAGE >> 20} are the most; "
            "give fewer pictures or cut them"
        )
    with atomic_path(target) as temporary:
        temporary.write_bytes(page)
    return len(page)


def _check_sizes(pictures: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> None:
    """Raise UserError unless each size (height, width) is the largest one or a whole fraction of it."""
    height, width = max(sizes)
    if all(height % h == 0 and width % w == 0 and height // h == width // w for h, w in sizes):
        return
    listed = "\n".join(f"{path}: {w}x{h}" for path, (h, w) in zip(pictures, sizes, strict=True))
    raise UserError(
        f"pictures of different sizes:\n{listed}\n"
        "give pictures of one size; a smaller one must be 1/2, 1/3, 1/4, ... as wide and as high"
    )


def _names(pictures: Sequence[Path]) -> list[str]:
    """Return the names of the files, with their folders if two would be the same."""
    names = [path.name for path in pictures]
    return names if len(set(names)) == len(names) else [str(path) for path in pictures]


def _embedded(path: Path, label: str) -> EmbeddedPicture:
    image_HWC, _ = read_despite_damage(path, partial(read_rgb, alpha="white"))
    content = png_bytes(image_HWC)
    if len(content) > LARGEST_PICTURE:
        raise UserError(
            f"{path}: {len(content) >> 20} MiB as PNG, browsers show no more than {LARGEST_PICTURE >> 20}; "
            "cut out what you want to compare"
        )
    height, width, _ = image_HWC.shape
    return EmbeddedPicture(
        label, width, height, f"data:image/png;base64,{base64.b64encode(content).decode()}"
    )


def _rendered(pictures: Sequence[EmbeddedPicture]) -> str:
    environment = Environment(
        loader=PackageLoader("alkdnet.compare"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    largest = max(pictures, key=lambda picture: picture.width)
    return environment.get_template("compare.html.j2").render(pictures=pictures, largest=largest)
