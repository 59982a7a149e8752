from pathlib import Path

import pytest

from alkdnet.data.inventory import is_complete, size, state
from alkdnet.data.sources import SOURCES


def fill(folder: Path, names: list[str], content: bytes = b"x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content)


def test_states_of_a_set_that_arrives(tmp_path: Path) -> None:
    urban, folder, cache = SOURCES["urban100"], tmp_path / "urban100", tmp_path / "cache"
    names = [file.name for file in urban.files]
    assert state(urban, folder, cache) == "absent"
    fill(cache / "urban100", ["img_001_SRF_4_HR.png.part"], bytes(1500))
    assert state(urban, folder, cache) == "1.5 kB arrived"
    fill(folder, names[:7])
    assert state(urban, folder, cache) == "7 of 100 files"
    assert not is_complete(urban, folder)
    fill(folder, names)
    assert state(urban, folder, cache) == "complete"
    assert is_complete(urban, folder)


def test_a_file_of_the_wrong_size_does_not_count(tmp_path: Path) -> None:
    set5 = SOURCES["set5"]
    fill(tmp_path, [file.name for file in set5.files])
    assert not is_complete(set5, tmp_path)
    assert state(set5, tmp_path, tmp_path / "cache") == "absent"


def test_an_archive_is_complete_by_its_number_of_images(tmp_path: Path) -> None:
    fill(tmp_path, [f"{i:04d}.png" for i in range(1, 800)])
    assert state(SOURCES["div2k"], tmp_path, tmp_path / "cache") == "799 of 800 files"
    fill(tmp_path, ["0800.png", "readme.txt"])
    assert is_complete(SOURCES["div2k"], tmp_path)


def test_sets_that_are_not_downloaded(tmp_path: Path) -> None:
    assert state(SOURCES["embedded_test"], tmp_path, tmp_path) == "in scikit-image"
    assert state(SOURCES["folder"], tmp_path, tmp_path) == "yours"
    fill(tmp_path, ["NOT_AVAILABLE.txt"])
    assert state(SOURCES["manga109"], tmp_path, tmp_path) == "absent"


@pytest.mark.parametrize(
    ("count", "text"), [(None, "?"), (999, "999 B"), (851_881, "852 kB"), (3_530_603_713, "3.53 GB")]
)
def test_sizes_for_people(count: int | None, text: str) -> None:
    assert size(count) == text
