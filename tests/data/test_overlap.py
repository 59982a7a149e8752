"""A training image that is a test image is found, also as a copy that was changed; strangers are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from alkdnet.data.images import list_images
from alkdnet.data.overlap import find_overlaps, refuse_overlaps, similarities
from alkdnet.errors import UserError

NAMES = ("astronaut", "coffee", "chelsea", "rocket", "brick", "grass")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("test set")
    for name in NAMES:
        image = Image.fromarray(getattr(data, name)()).convert("RGB")
        image.resize((320, 240), Image.Resampling.LANCZOS).save(folder / f"{name}.png")
    return list_images(folder)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "equal": lambda image: image,
    "half": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "cropped": lambda image: image.crop((2, 1, image.width - 1, image.height - 2)),
    "darker": lambda image: image.point([value * 3 // 4 for value in range(256)] * 3),
    "gray": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_finds_changed_copies_and_nothing_else(
    photographs: list[Path], tmp_path: Path, change: str, suffix: str
) -> None:
    for path in photographs:
        CHANGES[change](Image.open(path)).save(tmp_path / f"copy_of_{path.stem}.{suffix}", quality=40)
    found = find_overlaps(list_images(tmp_path), photographs)
    assert [line.split(" (")[0] for line in found] == [
        f"{tmp_path / f'copy_of_{path.stem}.{suffix}'}: shows the same picture as test image {path}"
        for path in photographs
    ]


def test_refuses_the_folder_and_names_both(photographs: list[Path]) -> None:
    folder = photographs[0].parent
    with pytest.raises(UserError) as caught:
        refuse_overlaps([folder], [folder])
    assert len(str(caught.value).splitlines()) == len(NAMES) + 1
    refuse_overlaps([folder], [])


def test_an_image_of_one_colour_resembles_nothing(photographs: list[Path], tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), "white").save(tmp_path / "white.png")
    paths = [tmp_path / "white.png", *photographs]
    assert np.array_equal(similarities(paths[:1], paths), np.zeros((1, len(paths))))


@pytest.mark.data
def test_no_false_alarm_over_450_photographs(shared_dir: Path) -> None:
    published = sorted((shared_dir / "mirror").rglob("*_HR.png"))
    # Set5, Set14, BSD100, as facts/datasets.md lists them.
    assert len(published) == 119
    photographs = list_images(shared_dir / "photos")
    assert len(photographs) == 450
    assert similarities(photographs, published).max() < 0.5
