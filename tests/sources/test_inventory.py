import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from alkdnet.data.disk import size
from alkdnet.sources.catalogue import SOURCES
from alkdnet.sources.checksums import RecordedChecksums
from alkdnet.sources.inventory import is_complete, status

# Urban100 as if its sizes and checksums were not published.
UNPINNED = replace(
    SOURCES["urban100"],
    files=tuple(replace(file, bytes=None, sha256=None) for file in SOURCES["urban100"].files),
)


def fill(folder: Path, names: list[str], content: bytes = b"x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content)


def test_states_of_a_set_that_arrives(tmp_path: Path) -> None:
    urban, folder, cache = UNPINNED, tmp_path / "urban100", tmp_path / "cache"
    names = [file.name for file in urban.files]
    assert status(urban, folder, cache) == "absent"
    fill(cache / "urban100", ["img_001_SRF_4_HR.png.part"], bytes(1500))
    assert status(urban, folder, cache) == "1.5 kB downloaded"
    fill(folder, names[:7])
    assert status(urban, folder, cache) == "7 of 100 files"
    fill(folder, names)
    assert status(urban, folder, cache) == "complete"
    fill(folder, names[:1], b"")
    assert status(urban, folder, cache) == "99 of 100 files"


def test_a_file_of_the_wrong_size_does_not_count(tmp_path: Path) -> None:
    fill(tmp_path, [file.name for file in SOURCES["set5"].files])
    assert status(SOURCES["set5"], tmp_path, tmp_path / "cache") == "absent"


def test_an_archive_is_counted_by_its_images(tmp_path: Path) -> None:
    fill(tmp_path, [f"{i:04d}.png" for i in range(1, 800)])
    fill(tmp_path, ["0800.png"], b"")
    assert status(SOURCES["div2k"], tmp_path, tmp_path / "cache") == "799 of 800 files"
    fill(tmp_path, ["0800.png", "readme.txt"])
    assert status(SOURCES["div2k"], tmp_path, tmp_path / "cache") == "complete"


def test_complete_means_the_published_checksums(tmp_path: Path) -> None:
    recorded = RecordedChecksums(tmp_path / "digests.json")
    file = replace(SOURCES["set5"].files[0], bytes=None, sha256=hashlib.sha256(b"good").hexdigest())
    source = replace(SOURCES["set5"], files=(file,), images=1)
    assert not is_complete(source, tmp_path / "absent", recorded)
    fill(tmp_path, [file.name], b"evil")
    assert not is_complete(source, tmp_path, recorded)
    fill(tmp_path, [file.name], b"good")
    assert is_complete(source, tmp_path, recorded)


def test_complete_means_the_recorded_checksums(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    recorded = RecordedChecksums(tmp_path / "digests.json")
    urban, folder = UNPINNED, tmp_path / "urban100"
    fill(folder, [file.name for file in urban.files], b"good")
    assert not is_complete(urban, folder, recorded)
    recorded.record({file.urls[0]: hashlib.sha256(b"good").hexdigest() for file in urban.files})
    assert is_complete(urban, folder, recorded)
    caplog.clear()
    fill(folder, [urban.files[41].name], b"evil")
    assert not is_complete(urban, folder, recorded)
    (message,) = caplog.messages
    assert message == f"{folder / urban.files[41].name} is missing or has another checksum"


def test_an_archive_is_complete_by_the_checksums_recorded_when_it_was_unpacked(tmp_path: Path) -> None:
    recorded = RecordedChecksums(tmp_path / "digests.json")
    div2k, folder = SOURCES["div2k"], tmp_path / "div2k"
    names = [f"{i:04d}.png" for i in range(1, 801)]
    fill(folder, names)
    assert not is_complete(div2k, folder, recorded)
    url = div2k.files[0].urls[0]
    recorded.record({f"{url}#{name}": hashlib.sha256(b"x").hexdigest() for name in names[1:]})
    assert not is_complete(div2k, folder, recorded)
    recorded.record({f"{url}#{names[0]}": hashlib.sha256(b"x").hexdigest()})
    assert is_complete(div2k, folder, recorded)
    fill(folder, names[-1:], b"y")
    assert not is_complete(div2k, folder, recorded)
    (folder / names[-1]).unlink()
    assert not is_complete(div2k, folder, recorded)


def test_a_gated_set_is_complete_by_its_number_of_images(tmp_path: Path) -> None:
    recorded = RecordedChecksums(tmp_path / "digests.json")
    names = [f"{i:03d}.png" for i in range(109)]
    fill(tmp_path, names)
    assert is_complete(SOURCES["manga109"], tmp_path, recorded)
    fill(tmp_path, names[:1], b"")
    assert not is_complete(SOURCES["manga109"], tmp_path, recorded)


def test_sets_that_are_not_downloaded(tmp_path: Path) -> None:
    assert status(SOURCES["embedded_test"], tmp_path, tmp_path) == "in scikit-image"
    assert status(SOURCES["folder"], tmp_path, tmp_path) == "yours"
    assert status(SOURCES["file"], tmp_path, tmp_path) == "yours"
    fill(tmp_path, ["NOT_AVAILABLE.txt"])
    assert status(SOURCES["manga109"], tmp_path, tmp_path) == "absent"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "?"),
        (999, "999 B"),
        (851_881, "852 kB"),
        (999_800, "1 MB"),
        (3_530_603_713, "3.53 GB"),
        (2 * 10**12, "2 TB"),
    ],
)
def test_sizes_for_people(count: int | None, text: str) -> None:
    assert size(count) == text
