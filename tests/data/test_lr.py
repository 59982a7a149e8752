"""A folder of HR images becomes a folder of LR images, complete or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest

from alkdnet.data import disk as space
from alkdnet.data.images import read_rgb, write_png
from alkdnet.data.lr import downscale_folder
from alkdnet.data.resize import crop_to_multiple, downscale
from alkdnet.errors import UserError


def write_noise(path: Path, height: int, width: int) -> None:
    random = np.random.default_rng(height * width)
    write_png(path, random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_every_scale_of_every_image(tmp_path: Path) -> None:
    for number in range(4):
        write_noise(tmp_path / f"raw/image{number}.png", 25 + number, 31)
    (tmp_path / "raw/LICENCE.txt").write_text("free")
    count = downscale_folder(tmp_path / "raw", tmp_path / "lr", [2, 3], border="symmetric", workers=3)
    assert count == 4
    assert len(contents(tmp_path / "lr")) == 8
    hr = read_rgb(tmp_path / "raw/image2.png")
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "lr/x3/image2.png"), downscale(crop_to_multiple(hr, 3), 3, border="symmetric")
    )
    downscale_folder(tmp_path / "raw", tmp_path / "again", [2, 3], border="symmetric", workers=1)
    assert contents(tmp_path / "again") == contents(tmp_path / "lr")


def test_lists_all_problems_and_writes_nothing(tmp_path: Path) -> None:
    write_noise(tmp_path / "raw/good.png", 20, 20)
    write_noise(tmp_path / "raw/narrow.png", 20, 3)
    (tmp_path / "raw/broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError) as caught:
        downscale_folder(tmp_path / "raw", tmp_path / "lr", [2, 4])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{tmp_path / 'raw'}: 2 of the images cannot be used:"
    assert "broken.png: not an image" in lines[1]
    assert "narrow.png: 3x20 pixels, at least 4x4 are needed" in lines[2]
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_set_that_is_not_available_gives_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/NOT_AVAILABLE.txt").write_text("apply for it")
    assert downscale_folder(tmp_path / "raw", tmp_path / "lr", [4]) == 0
    assert [path.name for path in (tmp_path / "lr").iterdir()] == ["x4"]


def test_a_disk_that_is_too_small_is_reported_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_noise(tmp_path / "raw/a.png", 60, 60)
    usage = space.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match="are needed"):
        downscale_folder(tmp_path / "raw", tmp_path / "lr", [2])
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_name_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    write_noise(tmp_path / "a.png", 20, 20)
    (tmp_path / "raw").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "raw" / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(UserError, match=r"the name 'caf\ufffd\.png' is not in UTF-8: rename the file"):
        downscale_folder(tmp_path / "raw", tmp_path / "lr", [2])
