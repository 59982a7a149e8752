"""Scores of a row on the test sets: `results/evaluation/<row>/{scores.json, images.csv, record.json}`.

scores.json holds nothing but the means, for `dvc metrics` shows all of it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import pandas as pd
from pandas.api.types import is_numeric_dtype

from alkdnet.errors import UserError
from alkdnet.files import atomic_directory, write_json
from alkdnet.results.records import damaged, read_record, read_table, write_record

SCORES = "scores.json"
IMAGES = "images.csv"
RECORD = "record.json"
COLUMNS = ("set", "image", "height", "width", "psnr", "ssim")
# Where the classic protocol was measured too.
CLASSIC_COLUMNS = ("classic_psnr", "classic_ssim")
_TEXTS = ("set", "image")
# What is stated of a set that a row is not evaluated on.
SKIPPED = "not measured: too slow"


@dataclass(frozen=True, kw_only=True)
class SetScore:
    """Means over the images of one test set, PSNR in dB; by the classic protocol where that was measured."""

    images: int
    psnr: float
    ssim: float
    classic_psnr: float | None = None
    classic_ssim: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Record:
    weights_sha256: str | None
    missing: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What was measured of one run.

    Attributes:
        images: one row per image: set, image (name without ending), height and width (HR pixels, cropped to a
            multiple of the scale), psnr (dB), ssim; where the classic protocol was measured too, classic_psnr
            and classic_ssim.
        missing: by set, what could not be scored; such a set may still have rows in `images`.
        weights_sha256: the weights that were evaluated; None: an interpolation.
    """

    images: pd.DataFrame
    missing: Mapping[str, str]
    weights_sha256: str | None = None

    def means(self) -> dict[str, SetScore]:
        """Return by set the number of images and the means of PSNR and SSIM over them (protocol, point 6)."""
        return {
            str(name): SetScore(
                images=len(rows),
                **{
                    column: math.fsum(rows[column]) / len(rows)
                    for column in (*COLUMNS[-2:], *CLASSIC_COLUMNS)
                    if column in rows
                },
            )
            for name, rows in self.images.groupby("set", sort=False)
        }

    def write(self, folder: Path) -> None:
        """Write the means, the scores per image with all digits, and what was evaluated and is missing."""
        record = _Record(weights_sha256=self.weights_sha256, missing=self.missing)
        with atomic_directory(folder) as temporary:
            write_json(temporary / SCORES, {name: _stated(mean) for name, mean in self.means().items()})
            self.images.to_csv(temporary / IMAGES, index=False, lineterminator="\n")
            write_record(temporary / RECORD, record)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return what `write` wrote.

        Raises:
            UserError: a file is missing or damaged.
        """
        means = read_means(folder)
        record = read_record(folder / RECORD, _Record)
        images = _read_images(folder / IMAGES)
        scores = cls(images=images, missing=record.missing, weights_sha256=record.weights_sha256)
        if set(scores.means()) != set(means):
            raise UserError(f"{folder}: {SCORES} and {IMAGES} have different test sets; evaluate again")
        return scores


def read_means(folder: Path) -> dict[str, SetScore]:
    """Return the means by set of what `Scores.write` wrote, without reading the images' rows.

    Raises:
        UserError: scores.json is missing or damaged.
    """
    return read_table(folder / SCORES, SetScore)


def _stated(mean: SetScore) -> dict[str, float]:
    return {key: value for key, value in asdict(mean).items() if value is not None}


def _read_images(path: Path) -> pd.DataFrame:
    try:
        # Image names like 001 and NA are text, not numbers and not missing.
        frame = pd.read_csv(path, dtype=dict.fromkeys(_TEXTS, str), keep_default_na=False, na_values=[""])
        classic = CLASSIC_COLUMNS if any(name in frame.columns for name in CLASSIC_COLUMNS) else ()
        columns = [*COLUMNS, *classic]
        if absent := [column for column in columns if column not in frame.columns]:
            raise ValueError(f"no column {', '.join(absent)}")
        # A file that was cut off ends within a row.
        if frame[columns].isna().any(axis=None):
            raise ValueError("incomplete rows")
        numbers = [name for name in columns if name not in _TEXTS]
        # Columns without a value have no type.
        if wrong := [name for name in numbers if len(frame) and not is_numeric_dtype(frame[name])]:
            raise ValueError(f"{', '.join(wrong)}: not numbers")
    except (OSError, ValueError) as error:
        raise damaged(path, str(error).strip()) from None
    return frame[columns].astype(dict.fromkeys(numbers, float)) if frame.empty else frame[columns]
