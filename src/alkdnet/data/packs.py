"""Packed training images: plain bytes in a few files, from which any patch is read without decoding.

    patches/hr/images.bin      the HR images of all training sets, one behind the other, uint8 HWC, whole
    patches/hr/index.json      their names, sizes and digests
    patches/x<s>/images.bin    the LR images of scale s in the same order
    patches/x<s>/index.json    the same about them, and the digest of the HR pack they belong to

LR pixel (i, j) covers the HR pixels from (s * i, s * j): the HR images are cropped to a multiple of s by
being read no further, so that one HR pack serves all scales. packing.py writes the files; to read them takes
no image library, for the training does it on hosts that have none.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from alkdnet.errors import UserError, in_one_line
from alkdnet.files import read_json

_CHANNELS = 3


@dataclass(frozen=True, eq=False)
class Pack:
    """One pack, mapped into memory.

    `heights`, `widths`: of the images, in pixels; `starts`: of their first bytes in `flat`.
    """

    path: Path
    flat: npt.NDArray[np.uint8]
    heights: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    def images(self) -> list[npt.NDArray[np.uint8]]:
        """Return all images (HWC) as views of the file's bytes."""
        shapes = zip(self.starts.tolist(), self.heights.tolist(), self.widths.tolist(), strict=True)
        return [
            self.flat[start : start + height * width * _CHANNELS].reshape(height, width, _CHANNELS)
            for start, height, width in shapes
        ]


@dataclass(frozen=True, eq=False)
class PackedImages:
    """The packs of one scale: pixel (i, j) of an LR image lies at (scale * i, scale * j) of its HR image.

    `digest` covers all pixels of both packs and the names of the images, <set>/<file name without ending>.
    """

    scale: int
    digest: str
    names: tuple[str, ...]
    lr: Pack
    hr: Pack

    @classmethod
    def open(cls, folder: Path, scale: int) -> Self:
        """Map the packs in `folder` (`hr`, `x<scale>`) without reading them.

        Raises:
            UserError: a pack is missing, incomplete or empty, or the two do not belong together.
        """
        hr_index, hr = _open(folder / "hr")
        lr_index, lr = _open(folder / f"x{scale}")
        if lr_index["hr_digest"] != hr_index["digest"]:
            raise UserError(f"{folder}: x{scale} was made from other HR images than hr; pack both again")
        names = tuple(row["name"] for row in lr_index["images"])
        if not names:
            raise UserError(f"{folder}: there are no training images in it")
        return cls(scale=scale, digest=lr_index["digest"], names=names, lr=lr, hr=hr)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sets(self) -> list[str]:
        """Names of the training sets, sorted."""
        return sorted({name.partition("/")[0] for name in self.names})

    @property
    def bytes(self) -> int:
        """Size of both packs."""
        return self.lr.flat.size + self.hr.flat.size


def _open(folder: Path) -> tuple[dict, Pack]:
    index_path, bytes_path = folder / "index.json", folder / "images.bin"
    if not index_path.is_file() or not bytes_path.is_file():
        raise UserError(f"{folder}: no packed images (images.bin and index.json)")
    try:
        index = read_json(index_path)
        heights = np.array([row["height"] for row in index["images"]], dtype=np.int64)
        widths = np.array([row["width"] for row in index["images"]], dtype=np.int64)
        expected = int(index["bytes"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{index_path}: damaged ({in_one_line(error)}); pack the images again") from None
    if bytes_path.stat().st_size != expected:
        raise UserError(f"{bytes_path}: {bytes_path.stat().st_size} bytes instead of {expected}")
    starts = np.cumsum(heights * widths * _CHANNELS) - heights * widths * _CHANNELS
    # As a plain array: slicing a memmap object costs several times as much.
    flat = np.asarray(np.memmap(bytes_path, dtype=np.uint8, mode="r")) if expected else _NOTHING
    return index, Pack(bytes_path, flat, heights, widths, starts)


_NOTHING = np.zeros(0, dtype=np.uint8)
