"""A training image that is a test image is found, also as a changed copy; different pictures are not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from skimage import data

from alkdnet.data import leakage
from alkdnet.data.images import list_images
from alkdnet.data.leakage import Overlap, describe, find_overlaps, known, write_known, write_leakage
from alkdnet.errors import UserError
from alkdnet.sources.catalogue import SOURCES

NAMES = ("astronaut", "coffee", "chelsea", "rocket", "brick", "grass")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("test set")
    for name in NAMES:
        image = Image.fromarray(getattr(data, name)()).convert("RGB")
        image.resize((320, 240), Image.Resampling.LANCZOS).save(folder / f"{name}.png")
    return list_images(folder)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "cropped": lambda image: image.crop((2, 1, image.width - 1, image.height - 2)),
    "darker": lambda image: image.point([value * 3 // 4 for value in range(256)] * 3),
    "gray": lambda image: image.convert("L").point([value * 9 // 10 for value in range(256)]),
    "mirrored": ImageOps.mirror,
    "rotated": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "with margins": lambda image: ImageOps.expand(image, 13, "white"),
    "between bars": lambda image: ImageOps.expand(image, (0, 50), "black"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_finds_changed_copies_and_nothing_else(
    photographs: list[Path], tmp_path: Path, change: str, suffix: str
) -> None:
    for path in photographs:
        CHANGES[change](Image.open(path)).save(tmp_path / f"copy_of_{path.stem}.{suffix}", quality=40)
    found = find_overlaps(list_images(tmp_path), [describe(photographs)])
    assert [(overlap.training.name, overlap.test) for overlap in found] == [
        (f"copy_of_{path.stem}.{suffix}", str(path)) for path in photographs
    ]
    for overlap in found:
        assert isinstance(overlap.similarity, float)
        assert 0.7 <= overlap.similarity <= 1.0001


def test_finds_a_picture_in_frames_within_each_other(photographs: list[Path], tmp_path: Path) -> None:
    for path in photographs:
        barred = ImageOps.expand(Image.open(path), (0, 50), "black")
        ImageOps.expand(barred, 9, "white").save(tmp_path / path.name)
    assert len(find_overlaps(list_images(tmp_path), [describe(photographs)])) == len(NAMES)


def test_equal_pixels_are_identical_whatever_the_format(photographs: list[Path], tmp_path: Path) -> None:
    for path in photographs:
        Image.open(path).save(tmp_path / f"{path.stem}.bmp")
    assert find_overlaps(list_images(tmp_path), [describe(photographs)]) == [
        Overlap(tmp_path / f"{path.stem}.bmp", str(path), "identical") for path in photographs
    ]


def test_a_published_test_image_is_found_where_no_set_is_tested_on(
    photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = tmp_path / "sets"
    (sets / "set5").mkdir(parents=True)
    Image.open(photographs[0]).save(sets / "set5" / "baby.png")
    write_known(sets, ["set5"], tmp_path / "known.json")
    with pytest.raises(UserError, match="no images of set14; `alkdnet download` fetches them"):
        write_known(sets, ["set5", "set14"], tmp_path / "known.json")
    monkeypatch.setattr(leakage, "_KNOWN", tmp_path / "known.json")
    mine = tmp_path / "mine"
    mine.mkdir()
    Image.open(photographs[1]).save(mine / "allowed.png")
    report = tmp_path / "leakage.json"
    write_leakage(report, [mine], [])
    without = report.read_bytes()
    assert json.loads(without) == {"training_images": 1}
    write_leakage(report, [mine], [sets / "set5"])
    assert report.read_bytes() == without
    report.unlink()
    Image.open(photographs[0]).save(mine / "equal.png")
    Image.open(photographs[0]).resize((160, 120)).save(mine / "small.png")
    with pytest.raises(UserError) as caught:
        write_leakage(report, [mine], [])
    assert not report.exists()
    equal, small, advice = str(caught.value).splitlines()
    assert equal == f"{mine / 'equal.png'}: is identical to test image set5/baby.png"
    assert small.startswith(f"{mine / 'small.png'}: shows the same picture as test image set5/baby.png (sim")
    assert advice == "leave these images out of the training set"
    # The pipeline's own copy is named rather than the published set.
    with pytest.raises(UserError, match=f"is identical to test image {sets / 'set5' / 'baby.png'}"):
        write_leakage(report, [mine], [sets / "set5"])


def test_the_published_sets_that_are_known() -> None:
    images = known()
    assert images.names == tuple(
        f"{name}/{file.name}" for name in ("set5", "set14", "bsd100") for file in SOURCES[name].files
    )
    assert images.vectors.shape == (119, 1024)
    np.testing.assert_allclose(np.linalg.norm(images.vectors, axis=1), 1, rtol=1e-5)


def test_all_overlaps_are_named(photographs: list[Path], tmp_path: Path) -> None:
    folder = photographs[0].parent
    with pytest.raises(UserError) as caught:
        write_leakage(tmp_path / "a.json", [folder], [folder])
    assert len(str(caught.value).splitlines()) == len(NAMES) + 1
    write_leakage(tmp_path / "a.json", [folder], [])
    assert json.loads((tmp_path / "a.json").read_text())["training_images"] == len(NAMES)


def test_an_image_of_one_colour_is_similar_to_nothing(photographs: list[Path], tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), "white").save(tmp_path / "white.png")
    Image.new("RGB", (60, 40), "white").save(tmp_path / "other.png")
    white = describe([tmp_path / "white.png"])
    assert find_overlaps([tmp_path / "other.png"], [white, describe(photographs)]) == []
    assert not white.vectors.any()


def published_test_images(data_dir: Path) -> dict[str, Path]:
    mirror = data_dir / "mirror"
    return {
        f"{name}/{file.name}": mirror / file.urls[0].removeprefix("https://")
        for name in ("set5", "set14", "bsd100")
        for file in SOURCES[name].files
    }


@pytest.mark.data
def test_the_known_test_images_are_the_published_ones(data_dir: Path) -> None:
    published = published_test_images(data_dir)
    found, stored = describe(list(published.values())), known()
    assert stored.names == tuple(published)
    assert stored.pixels == found.pixels
    assert (stored.vectors * found.vectors).sum(axis=1).min() > 0.999


@pytest.mark.data
def test_published_test_images_in_a_training_folder_are_found(data_dir: Path, tmp_path: Path) -> None:
    published = published_test_images(data_dir)
    baby = Image.open(published["set5/img_001_SRF_2_HR.png"])
    baby.save(tmp_path / "equal.bmp")
    baby.crop((0, 0, baby.width // 4 * 4, baby.height // 4 * 4)).save(tmp_path / "x4.jpg", quality=50)
    Image.open(published["bsd100/img_100_SRF_3_HR.png"]).convert("L").save(tmp_path / "gray.png")
    with pytest.raises(UserError) as caught:
        write_leakage(tmp_path / "a.json", [tmp_path], [])
    equal, gray, jpeg, _ = str(caught.value).splitlines()
    assert equal == f"{tmp_path}/equal.bmp: is identical to test image set5/img_001_SRF_2_HR.png"
    assert "gray.png: shows the same picture as test image bsd100/img_100_SRF_3_HR.png (" in gray
    assert "x4.jpg: shows the same picture as test image set5/img_001_SRF_2_HR.png (" in jpeg


@pytest.mark.data
def test_no_false_positive_among_the_photographs(data_dir: Path, tmp_path: Path) -> None:
    published = list(published_test_images(data_dir).values())
    photographs = list_images(data_dir / "photos")
    assert len(photographs) == 225
    similarity = describe(photographs).vectors @ describe(published).vectors.T
    assert similarity.max() < 0.5
    write_leakage(tmp_path / "a.json", [data_dir / "photos"], [])
