"""Archives: only the images are extracted, and damaged archives are reported."""

import errno
import hashlib
import io
import random
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from alkdnet.sources.archives import ArchiveError, extract, open_archive

PATTERN = "Set/HR/*.png"
RANDOM = random.Random(0)
CONTENT = {
    "Set/HR/1.png": RANDOM.randbytes(1500),
    "Set/HR/2.png": RANDOM.randbytes(2100),
    "Set/LR/1.png": RANDOM.randbytes(40),
    "readme": b"text",
}


def make_zip(path: Path, content: dict[str, bytes] = CONTENT) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("Set")
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, content: dict[str, bytes] = CONTENT) -> Path:
    with tarfile.open(path, "w") as archive:
        folder = tarfile.TarInfo("Set")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def extract_all(archive: Path, target: Path, pattern: str = PATTERN) -> dict[str, str]:
    target.mkdir(exist_ok=True)
    with open_archive(archive, pattern) as members:
        return {member.name: extract(member, target, lambda _: None) for member in members}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_extracts_only_the_images_without_their_folders(make: Callable[[Path], Path], tmp_path: Path) -> None:
    archive, counted, target = make(tmp_path / "a"), list[int](), tmp_path / "out"
    target.mkdir()
    with open_archive(archive, PATTERN) as members:
        assert [(member.name, member.size) for member in members] == [("1.png", 1500), ("2.png", 2100)]
        sha256 = [extract(member, target, counted.append) for member in members]
    assert sha256 == [hashlib.sha256(CONTENT[f"Set/HR/{i}.png"]).hexdigest() for i in (1, 2)]
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        f"{i}.png": CONTENT[f"Set/HR/{i}.png"] for i in (1, 2)
    }
    assert sum(counted) == 1500 + 2100


def test_a_leading_dot_folder_of_a_tar_is_the_same_path(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a", {f"./{name}": data for name, data in CONTENT.items()})
    assert len(extract_all(archive, tmp_path / "out")) == 2


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name", ["../evil.png", "Set/HR/../evil.png", "/Set/HR/evil.png", "Set/HR/..\\x.png"]
)
def test_nothing_is_written_outside_of_the_folder(
    make: Callable[[Path, dict[str, bytes]], Path], name: str, tmp_path: Path
) -> None:
    archive = make(tmp_path / "a", {**CONTENT, name: b"x"})
    extract_all(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out"]
    names = {path.name for path in tmp_path.rglob("*.png")}
    assert names - {"..\\x.png"} == {"1.png", "2.png"}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_left_out(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as archive:
        info = tarfile.TarInfo("Set/HR/1.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert extract_all(tmp_path / "a", tmp_path / "out") == {}


def test_a_link_in_a_zip_becomes_a_plain_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        info = zipfile.ZipInfo("Set/HR/1.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    extract_all(tmp_path / "a", tmp_path / "out")
    (written,) = (tmp_path / "out").iterdir()
    assert not written.is_symlink()
    assert written.read_text() == "/etc/passwd"


def test_a_wrong_declared_size_writes_no_more_than_it_declares(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {"Set/HR/1.png": bytes(1 << 20)})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.rindex(signature) + offset
        assert data[place : place + 4] == (1 << 20).to_bytes(4, "little")
        data[place : place + 4] = (1000).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"1\.png is damaged"):
        extract_all(archive, tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) <= 1000


def test_a_full_disk_is_not_reported_as_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "a")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("alkdnet.sources.archives.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        extract_all(archive, tmp_path / "out")


def test_two_images_of_the_same_name_are_an_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("Set/HR/1.png", b"a")
        archive.writestr("Set/HR/1.png", b"b")
    with pytest.raises(ArchiveError, match="a: two of its images have the same name"):
        extract_all(tmp_path / "a", tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_truncated_archive_is_an_error_or_lacks_images(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    whole = make(tmp_path / "whole").read_bytes()
    # A tar that ends behind its second image is complete but for what is not extracted.
    end = len(whole) if make is make_zip else whole.index(b"Set/LR/1.png")
    for size in [0, 1, 511, 512, 513, *range(600, end, 307), end - 1]:
        archive = tmp_path / "truncated"
        archive.write_bytes(whole[:size])
        try:
            found = extract_all(archive, tmp_path / f"out{size}")
        except ArchiveError:
            continue
        # A tar truncated between two members looks like a complete one; only the number of images differs.
        assert make is make_tar
        assert len(found) < 2 or size >= end - 512


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_damage_in_a_zip_and_in_the_headers_of_a_tar_is_found(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    archive = make(tmp_path / "a")
    data = bytearray(archive.read_bytes())
    data[data.index(b"Set/HR/2.png") + (40 if make is make_zip else 2)] ^= 0xFF
    archive.write_bytes(data)
    with suppress(ArchiveError):
        assert len(extract_all(archive, tmp_path / "out")) < 2


def test_a_compressed_tar_or_a_text_is_no_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w:gz"):
        pass
    (tmp_path / "b").write_text("<html>not found</html>")
    for name in ("a", "b"):
        with pytest.raises(ArchiveError, match=f"{name}: not a complete zip or tar"):
            extract_all(tmp_path / name, tmp_path / "out")
