"""Packing: every pixel where it belongs, one HR pack for all scales, nothing partly written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from alkdnet.data import disk as space
from alkdnet.data.images import read_rgb, write_png
from alkdnet.data.lr import downscale_folder
from alkdnet.data.packing import TrainingSet, pack, required_bytes
from alkdnet.data.packs import PackedImages, index_digest
from alkdnet.errors import UserError

SIZES = {"b/z": (20, 31), "b/y": (17, 16), "a/x": (40, 13)}


@pytest.fixture
def sets(tmp_path: Path) -> list[TrainingSet]:
    """Two sets, given in the wrong order, with LR images of x2 and x4."""
    random = np.random.default_rng(0)
    for name, size in SIZES.items():
        write_png(tmp_path / f"raw/{name}.png", random.integers(0, 256, (*size, 3), dtype=np.uint8))
    for name in ("a", "b"):
        downscale_folder(tmp_path / "raw" / name, tmp_path / "lr" / name, [2, 4])
    return [TrainingSet(name, tmp_path / "raw" / name, tmp_path / "lr" / name) for name in ("b", "a")]


def test_every_pixel_is_where_it_belongs(sets: list[TrainingSet], tmp_path: Path) -> None:
    pack(sets, tmp_path / "patches", {2: 1, 4: 1})
    for scale in (2, 4):
        packed = PackedImages.open(tmp_path / "patches", scale)
        assert packed.names == ("a/x", "b/y", "b/z")
        assert len(packed) == 3
        for name, lr, hr in zip(packed.names, packed.lr.images(), packed.hr.images(), strict=True):
            np.testing.assert_array_equal(hr, read_rgb(tmp_path / f"raw/{name}.png"))
            folder, stem = name.split("/")
            np.testing.assert_array_equal(lr, read_rgb(tmp_path / f"lr/{folder}/x{scale}/{stem}.png"))
            assert not hr.flags.writeable
    on_disk = sum(path.stat().st_size for path in (tmp_path / "patches").rglob("*.bin"))
    assert on_disk == required_bytes(list(SIZES.values()), [2, 4])


def test_the_same_images_give_the_same_files(sets: list[TrainingSet], tmp_path: Path) -> None:
    for target, order in (("one", sets), ("two", sets[::-1])):
        pack(order, tmp_path / target, {2: 1})
    for file in ("hr/images.bin", "hr/index.json", "x2/images.bin", "x2/index.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_digest_covers_every_pixel_of_both(sets: list[TrainingSet], tmp_path: Path) -> None:
    def digest(target: str) -> str:
        pack(sets, tmp_path / target, {2: 1})
        return PackedImages.open(tmp_path / target, 2).digest

    before = digest("before")
    for changed in ("raw/b/y.png", "lr/a/x2/x.png"):
        image = read_rgb(tmp_path / changed)
        image[-1, -1, 2] ^= 1
        write_png(tmp_path / changed, image)
        assert digest(changed.replace("/", "_")) != before


def test_lists_all_problems_and_writes_nothing(sets: list[TrainingSet], tmp_path: Path) -> None:
    (tmp_path / "lr/b/x2/y.png").unlink()
    write_png(tmp_path / "lr/b/x2/z.png", np.zeros((9, 15, 3), np.uint8))
    with pytest.raises(UserError) as caught:
        pack(sets, tmp_path / "patches", {2: 1})
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 of the training images cannot be packed:"
    assert lines[1].endswith("x2/y.png: no such file")
    assert lines[2].endswith("x2/z.png: 15x9 pixels, 15x10 were expected")
    assert not list(tmp_path.glob("*patches*"))


def test_a_disk_that_is_too_small_is_reported(
    sets: list[TrainingSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = space.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match="kB are needed"):
        pack(sets, tmp_path / "patches", {2: 1})
    assert not list(tmp_path.glob("*patches*"))


def test_packs_that_are_truncated_or_do_not_belong_together_are_rejected(
    sets: list[TrainingSet], tmp_path: Path
) -> None:
    pack(sets, tmp_path / "patches", {2: 1})
    with pytest.raises(UserError, match="x4: no packed images"):
        PackedImages.open(tmp_path / "patches", 4)
    pack(sets[:1], tmp_path / "other", {2: 1})
    shutil.move(tmp_path / "patches/hr", tmp_path / "hr")
    shutil.copytree(tmp_path / "other/hr", tmp_path / "patches/hr")
    with pytest.raises(UserError, match="x2 was made from other HR images than hr"):
        PackedImages.open(tmp_path / "patches", 2)
    shutil.copytree(tmp_path / "hr", tmp_path / "patches/hr", dirs_exist_ok=True)
    with (tmp_path / "patches/x2/images.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"images\.bin: \d+ bytes instead of"):
        PackedImages.open(tmp_path / "patches", 2)


def test_no_training_sets_give_empty_packs(tmp_path: Path) -> None:
    pack([], tmp_path / "patches", {2: 1})
    with pytest.raises(UserError, match="there are no training images"):
        PackedImages.open(tmp_path / "patches", 2)


def test_logs_how_much_it_will_write(
    sets: list[TrainingSet], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        pack(sets, tmp_path / "patches", {2: 1, 4: 1})
    assert caplog.messages[0] == f"{tmp_path / 'patches'}: 3 images, 5.48 kB when packed"


def test_states_the_size_of_the_packs() -> None:
    # 3 bytes for each of 2040x1356 pixels, a quarter and a sixteenth of them: by hand.
    assert required_bytes([(1356, 2040)], [2, 4]) == 8_298_720 + 2_074_680 + 518_670


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"images": [',
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"images": [{}], "digest": "x"}',
        b'{"images": 1, "digest": "x"}',
        b'{"images": {"a": 1}, "digest": "x"}',
        b'{"images": [], "bytes": "x"}',
    ],
)
def test_a_damaged_index_is_reported(sets: list[TrainingSet], tmp_path: Path, content: bytes) -> None:
    pack(sets, tmp_path / "patches", {2: 1})
    for name in ("hr", "x2"):
        good = (tmp_path / "patches" / name / "index.json").read_bytes()
        (tmp_path / "patches" / name / "index.json").write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}/index\.json: damaged \(.*\); pack the images again"):
            PackedImages.open(tmp_path / "patches", 2)
        (tmp_path / "patches" / name / "index.json").write_bytes(good)


@pytest.mark.parametrize("key", ["scale", "hr_digest", "digest", "images"])
def test_an_index_without_a_key_is_reported(sets: list[TrainingSet], tmp_path: Path, key: str) -> None:
    pack(sets, tmp_path / "patches", {2: 1})
    path = tmp_path / "patches/x2/index.json"
    index = json.loads(path.read_text())
    del index[key]
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"x2/index\.json: damaged"):
        PackedImages.open(tmp_path / "patches", 2)


@pytest.mark.parametrize(("key", "value"), [("height", 9), ("width", "16"), ("name", 3), ("sha256", None)])
def test_a_wrong_value_in_an_index_is_reported(
    sets: list[TrainingSet], tmp_path: Path, key: str, value: object
) -> None:
    pack(sets, tmp_path / "patches", {2: 1})
    path = tmp_path / "patches/x2/index.json"
    index = json.loads(path.read_text())
    index["images"][0][key] = value
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"x2/index\.json: damaged \(ValueError: its digest does not match\)"):
        PackedImages.open(tmp_path / "patches", 2)


@pytest.mark.parametrize("size", [10**30, -1, 0, 1.5, True, [9]])
def test_an_impossible_size_is_reported_though_the_digest_matches(
    sets: list[TrainingSet], tmp_path: Path, size: object
) -> None:
    pack(sets, tmp_path / "patches", {2: 1})
    path = tmp_path / "patches/x2/index.json"
    index = json.loads(path.read_text())
    index["images"][0]["height"] = size
    header = {key: index[key] for key in index if key not in ("images", "digest", "bytes")}
    index["digest"] = index_digest(header, index["images"])
    path.write_text(json.dumps(index))
    with pytest.raises(
        UserError, match=r"x2/index\.json: damaged \(ValueError: an image has an impossible size"
    ):
        PackedImages.open(tmp_path / "patches", 2)


def test_hr_images_in_the_place_of_lr_images_are_reported(sets: list[TrainingSet], tmp_path: Path) -> None:
    pack(sets, tmp_path / "patches", {2: 1})
    shutil.copytree(tmp_path / "patches/hr", tmp_path / "patches/x2", dirs_exist_ok=True)
    with pytest.raises(UserError, match="x2 was made from other HR images"):
        PackedImages.open(tmp_path / "patches", 2)


@pytest.mark.parametrize(("name", "byte", "image"), [("x2", 0, "a/x"), ("hr", -1, "b/z")])
def test_a_flipped_bit_is_found_and_its_image_named(
    sets: list[TrainingSet], tmp_path: Path, name: str, byte: int, image: str
) -> None:
    pack(sets, tmp_path / "patches", {2: 1})
    path = tmp_path / "patches" / name / "images.bin"
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        PackedImages.open(tmp_path / "patches", 2)
    assert str(raised.value) == (
        f"{path}: the pixels of {image} are damaged; "
        f"pack the images again: dvc repro --force {tmp_path.name}/dvc.yaml:patches"
    )


@pytest.mark.parametrize(("scale", "side"), [(14, 1), (2, 7)])
def test_images_smaller_than_a_patch_are_rejected_with_their_names(
    sets: list[TrainingSet], tmp_path: Path, scale: int, side: int
) -> None:
    with pytest.raises(UserError) as raised:
        pack(sets, tmp_path / "other", {scale: side, 3: 4})
    path = tmp_path / "raw/a/x.png"
    assert str(raised.value).splitlines() == [
        "1 of the training images cannot be packed:",
        f"{path}: 13x40 pixels, at least 14x14 are needed for an LR patch of {side}x{side} at x{scale}",
    ]
    assert not (tmp_path / "other").exists()
