import errno
import hashlib
import io
import random
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from alkdnet.sources.archives import ArchiveError, extract, images_in

PATTERN = "Set/HR/*.png"
RANDOM = random.Random(0)
CONTENT = {
    "Set/HR/1.png": RANDOM.randbytes(1500),
    "Set/HR/2.png": RANDOM.randbytes(2100),
    "Set/LR/1.png": RANDOM.randbytes(40),
    "readme": b"text",
}


SHA256 = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}


def ignore(_: int) -> None:
    pass


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


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_takes_only_the_wanted_members_flat(make: Callable[[Path], Path], tmp_path: Path) -> None:
    archive = make(tmp_path / "a")
    counted: list[int] = []
    target = tmp_path / "out"
    target.mkdir()
    assert [member.name for member in images_in(archive, PATTERN)] == ["1.png", "2.png"]
    assert extract(archive, PATTERN, target, counted.append) == {
        "1.png": SHA256["Set/HR/1.png"],
        "2.png": SHA256["Set/HR/2.png"],
    }
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        "1.png": CONTENT["Set/HR/1.png"],
        "2.png": CONTENT["Set/HR/2.png"],
    }
    assert sum(counted) == 1500 + 2100


def test_a_leading_dot_folder_of_tar_is_no_other_path(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a", {f"./{name}": data for name, data in CONTENT.items()})
    assert len(images_in(archive, PATTERN)) == 2


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name", ["../evil.png", "Set/HR/../../../evil.png", "/evil.png", "Set\\..\\evil.png", "C:/x.png", "a\nb"]
)
def test_a_path_out_of_the_folder_refuses_the_whole_archive(
    make: Callable[[Path, dict[str, bytes]], Path], name: str, tmp_path: Path
) -> None:
    archive = make(tmp_path / "a", {**CONTENT, name: b"x"})
    with pytest.raises(ArchiveError, match="refused"):
        images_in(archive, PATTERN)
    with pytest.raises(ArchiveError, match="refused"):
        extract(archive, PATTERN, tmp_path, ignore)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as archive:
        info = tarfile.TarInfo("Set/HR/1.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(ArchiveError, match=r"Set/HR/1\.png is a link, a device"):
        images_in(tmp_path / "a", PATTERN)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(kind: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        info = zipfile.ZipInfo("Set/HR/1.png")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match="link or a device"):
        images_in(tmp_path / "a", PATTERN)


def test_a_bomb_by_declared_size_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {"Set/HR/1.png": bytes(1 << 20)})
    assert archive.stat().st_size < 1 << 14
    with pytest.raises(ArchiveError, match="would unpack to 1048576 bytes"):
        images_in(archive, PATTERN)


def test_a_bomb_in_an_unwanted_member_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {**CONTENT, "elsewhere": bytes(1 << 20)})
    with pytest.raises(ArchiveError, match="would unpack"):
        images_in(archive, PATTERN)


def test_a_bomb_that_lies_about_its_size_writes_no_more_than_it_declares(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {"Set/HR/1.png": bytes(1 << 20)})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.rindex(signature) + offset
        assert data[place : place + 4] == (1 << 20).to_bytes(4, "little")
        data[place : place + 4] = (1000).to_bytes(4, "little")
    archive.write_bytes(data)
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(ArchiveError, match="damaged"):
        extract(archive, PATTERN, target, ignore)
    assert sum(path.stat().st_size for path in target.iterdir()) <= 1000


def test_a_sparse_tar_member_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("Set/HR/1.png")
        # GNU sparse format 1.0: a map "one stretch of 4 bytes at 0" in the first block of the data.
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "Set/HR/1.png",
            "GNU.sparse.realsize": str(1 << 40),
        }
        data = b"1\n0\n4\n".ljust(512, b"\0") + b"abcd"
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    with pytest.raises(ArchiveError, match="sparse"):
        images_in(tmp_path / "a", PATTERN)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a")
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(signature) + offset] |= 1
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match="encrypted"):
        images_in(archive, PATTERN)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_than_deflate_are_refused(method: int, tmp_path: Path) -> None:
    # Their readers report damage as OSError and LZMAError, like a disk that fails and like nothing else.
    with zipfile.ZipFile(tmp_path / "a", "w", method) as archive:
        archive.writestr("Set/HR/1.png", CONTENT["Set/HR/1.png"])
    with pytest.raises(ArchiveError, match=r"a: refused, Set/HR/1\.png is packed by another method"):
        images_in(tmp_path / "a", PATTERN)


def test_a_damaged_extension_header_of_a_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("Set/HR/1.png")
        info.pax_headers = {"GNU.sparse.map": "0,x"}
        archive.addfile(info)
    with pytest.raises(ArchiveError, match="a: not a complete zip or tar archive"):
        images_in(tmp_path / "a", PATTERN)


def test_an_offset_before_the_beginning_of_a_zip_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a")
    data = bytearray(archive.read_bytes())
    # The directory's place in the file, moved: zipfile then seeks the members that far before their own.
    place = data.rindex(b"PK\x05\x06") + 16
    data[place : place + 4] = (int.from_bytes(data[place : place + 4], "little") + 200).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match="a: "):
        extract(archive, PATTERN, tmp_path, ignore)


def test_a_full_disk_is_no_damage_of_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "a")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("alkdnet.sources.archives.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        extract(archive, PATTERN, tmp_path, ignore)


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("Set/HR/1.png", b"a")
        archive.writestr("Set/HR/1.PNG", b"b")
    with pytest.raises(ArchiveError, match="holds"):
        images_in(tmp_path / "a", "Set/HR/1.*")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_cut_at_any_place_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    whole = make(tmp_path / "whole").read_bytes()
    # A tar ends with blocks of zeros: cut inside the padding behind them, it is still complete.
    end = len(whole) if make is make_zip else len(whole.rstrip(b"\0")) // 512 * 512 + 1024
    for cut in [0, 1, 511, 512, 513, *range(600, end, 307), end - 1]:
        archive = tmp_path / "cut"
        archive.write_bytes(whole[:cut])
        target = tmp_path / f"out{cut}"
        target.mkdir()
        with pytest.raises(ArchiveError):
            extract(archive, PATTERN, target, ignore)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_damage_is_found_in_a_zip_and_in_the_headers_of_a_tar(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    archive = make(tmp_path / "a")
    data = bytearray(archive.read_bytes())
    place = data.index(b"Set/HR/2.png") + (40 if make is make_zip else 2)
    data[place] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(ArchiveError):
        extract(archive, PATTERN, tmp_path, ignore)


def test_a_compressed_tar_or_a_text_is_no_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w:gz"):
        pass
    (tmp_path / "b").write_text("<html>not found</html>")
    for name in ("a", "b"):
        with pytest.raises(ArchiveError, match="not a complete zip or tar"):
            images_in(tmp_path / name, PATTERN)
