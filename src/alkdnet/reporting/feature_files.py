"""What the features stage left for the figures, read back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alkdnet.arrays import ImageHWC
from alkdnet.errors import UserError
from alkdnet.files import read_json
from alkdnet.reporting.figures.crops import CropRow, Tile
from alkdnet.reporting.figures.maps import Field, MapHW

# The shares whose squares the stage gives.
FIELD_SHARES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, kw_only=True)
class FeatureFiles:
    """What Figures 5, 7 and 8 and the receptive fields show; `missing` says what is not there."""

    maps: Mapping[str, MapHW]
    maps_of: str
    fields: tuple[Field, ...]
    fields_images: int
    crops: tuple[CropRow, ...]
    missing: tuple[str, ...]


def read_features(
    folder: Path, *, labels: Mapping[str, str], shown: Mapping[str, str], set_labels: Mapping[str, str]
) -> FeatureFiles | None:
    """Read features.json and the files it names; None if the stage has not run.

    Args:
        folder: results/features.
        labels: names of all runs; runs that are not among them are left out.
        shown: the runs whose details are drawn, with the names over their tiles.
        set_labels: names of the test sets.

    Raises:
        UserError: features.json or a file that it names is not what the stage writes.
    """
    if not (folder / "features.json").is_file():
        return None
    try:
        content = read_json(folder / "features.json")
        return _features(folder, content, labels, shown, set_labels)
    except KeyError as error:
        raise _damaged(folder / "features.json", f"no {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise _damaged(folder / "features.json", error) from error


def _features(
    folder: Path,
    content: Any,
    labels: Mapping[str, str],
    shown: Mapping[str, str],
    set_labels: Mapping[str, str],
) -> FeatureFiles:
    maps = content["maps"]
    fields = [each for each in content["fields"] if each["run"] in labels]
    return FeatureFiles(
        maps={} if maps is None else {name: _array(folder / file) for name, file in maps["files"].items()},
        maps_of=(
            ""
            if maps is None
            else (
                f"{labels.get(maps['run'], maps['run'])} on {_short(maps['image'])} "
                f"of {set_labels[maps['set']]}"
            )
        ),
        fields=tuple(
            Field(
                label=labels[each["run"]],
                values=_array(folder / each["file"]),
                radii={share: int(each["radii"][str(share)]) for share in FIELD_SHARES},
            )
            for each in fields
        ),
        fields_images=fields[0]["images"] if fields else 0,
        crops=tuple(_row(folder, each, shown, set_labels) for each in content["crops"]),
        missing=tuple(content["missing"]),
    )


def _row(folder: Path, crop: Any, shown: Mapping[str, str], set_labels: Mapping[str, str]) -> CropRow:
    tiles = {tile["run"]: tile for tile in crop["tiles"]}
    return CropRow(
        title=f"{_short(crop['image'])} ({set_labels[crop['set']]}), ×{crop['scale']}",
        tiles=(
            Tile(label="Original", image=_image(folder / crop["original"]), psnr=None, ssim=None),
            *(
                Tile(
                    label=label,
                    image=_image(folder / tiles[run]["file"]),
                    psnr=tiles[run]["psnr"],
                    ssim=tiles[run]["ssim"],
                )
                for run, label in shown.items()
                if run in tiles
            ),
        ),
    )


def _array(path: Path) -> MapHW:
    try:
        values: MapHW = np.load(path)
    except (OSError, EOFError, ValueError) as error:
        raise _damaged(path, error) from error
    if values.ndim != 2 or not values.size:
        raise _damaged(path, f"an array of shape {values.shape}, not of a height and a width")
    return values


def _image(path: Path) -> ImageHWC:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: object) -> UserError:
    return UserError(
        f"{path}: not what its stage writes ({error}); delete the folder and run the stage `features` again"
    )


def _short(image: str) -> str:
    """Return an image's name without what all files of SelfExSR's sets end in, as img_003_SRF_2_HR."""
    return re.sub(r"_SRF_\d_HR$", "", image)
