"""What the figures show of one row: `results/features/<row>/features.json` and the files that it names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from alkdnet.results.records import read_record, write_record

RECORD = "features.json"


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Feature maps (Figure 5): the image, and the files (.npy, float32, HW of LR) by feature."""

    set: str
    image: str
    files: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Field:
    """The effective receptive field.

    Attributes:
        file: .npy, float64, HW, with sum 1.
        images: how many it was averaged over.
        radii: by share of the whole (0.5, 0.9, 0.99), the half side of the central square that holds it, in
            LR pixels.
    """

    file: str
    images: int
    radii: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class CropImage:
    """One crop of an image as this row upscales it (Figures 7 and 8).

    Attributes:
        set: test set.
        image: file name without its ending.
        top: first row of the HR crop; likewise `left`, `height`, `width`.
        file: PNG of the crop.
        original: PNG of the original's crop, which the interpolation of each scale has.
        whole: PNG of the whole original, reduced, likewise.
        image_height: of the whole original; likewise `image_width`.
        psnr: of the whole image in dB; None if it equals the original.
        ssim: of the whole image.
    """

    set: str
    image: str
    top: int
    left: int
    height: int
    width: int
    file: str
    original: str | None
    whole: str | None
    image_height: int
    image_width: int
    psnr: float | None
    ssim: float


@dataclass(frozen=True, kw_only=True)
class FeaturesRecord:
    """The content of features.json; file names are relative to its folder. `missing`: what is not shown."""

    maps: Maps | None
    field: Field | None
    crops: tuple[CropImage, ...]
    missing: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write `folder`/features.json."""
        write_record(folder / RECORD, self)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the record in `folder`; see `read_record` for what it raises."""
        return read_record(folder / RECORD, cls)
