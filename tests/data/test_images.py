"""Every kind of image file: read as 8-bit RGB, or rejected with its name and the reason."""

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from alkdnet.data.images import (
    collect_problems,
    image_size,
    list_images,
    png_bytes,
    read_rgb,
    same_stems,
    write_png,
)
from alkdnet.errors import UserError

GRADIENT = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def save(path: Path, values: npt.NDArray[np.generic], **options: object) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", GRADIENT)
    image = read_rgb(tmp_path / "a.png")
    np.testing.assert_array_equal(image, GRADIENT)
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_png_holds_nothing_but_the_image() -> None:
    data = png_bytes(GRADIENT)
    assert data == png_bytes(GRADIENT[:, ::-1][:, ::-1])
    assert [name for name in (b"tEXt", b"tIME", b"pHYs") if name in data] == []


def test_expands_gray_and_palette(tmp_path: Path) -> None:
    gray = GRADIENT[..., 0]
    np.testing.assert_array_equal(
        read_rgb(save(tmp_path / "gray.png", gray)), np.repeat(gray[..., None], 3, axis=2)
    )
    bits = Image.fromarray((gray > 50).astype(np.uint8) * 255).convert("1")
    bits.save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "bits.png")[..., 1], np.asarray(bits) * 255)
    palette = Image.fromarray(GRADIENT).quantize(64)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))


def test_converts_cmyk(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (4, 3), (0, 255, 255, 0))
    cmyk.save(tmp_path / "red.tif")
    np.testing.assert_array_equal(read_rgb(tmp_path / "red.tif"), np.full((3, 4, 3), [255, 0, 0]))


def test_applies_the_orientation(tmp_path: Path) -> None:
    # EXIF 2.3, Orientation 6: rotate by 90 degrees clockwise
    path = save_oriented(tmp_path / "rotated.png", 6)
    np.testing.assert_array_equal(read_rgb(path), np.rot90(GRADIENT, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "P"])
def test_uncompressed_tiffs_are_rotated(tmp_path: Path, orientation: int, mode: str) -> None:
    """Pillow maps some of them into memory, with the sides of the rotated image."""
    image = Image.fromarray(GRADIENT).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.tif", exif=exif)
    shown = ImageOps.exif_transpose(_with(image, exif)).convert("RGB")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif"), np.asarray(shown))


def _with(image: Image.Image, exif: Image.Exif) -> Image.Image:
    """Return a copy in memory that has the orientation."""
    copy = image.copy()
    copy.getexif()[0x0112] = exif[0x0112]
    return copy


def save_oriented(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(path, GRADIENT, exif=exif)


# EXIF knows 1 to 8; anything else, which careless programs write, means nothing.
@pytest.mark.parametrize("orientation", [0, *range(1, 9), 9, 255])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_the_size_in_the_header_is_that_of_the_upright_image(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    path = save_oriented(tmp_path / f"image{suffix}", orientation)
    assert image_size(path) == read_rgb(path).shape[:2]


def test_transparency_is_the_users_choice(tmp_path: Path) -> None:
    rgba = np.dstack([GRADIENT, np.full(GRADIENT.shape[:2], 255, np.uint8)])
    opaque = save(tmp_path / "opaque.png", rgba)
    np.testing.assert_array_equal(read_rgb(opaque), GRADIENT)

    rgba[0, 0, 3] = 0
    path = save(tmp_path / "transparent.png", rgba)
    with pytest.raises(UserError, match=r'transparent\.png: has transparent pixels: choose alpha "black"'):
        read_rgb(path)
    assert read_rgb(path, alpha="white")[0, 0].tolist() == [255, 255, 255]
    black = read_rgb(path, alpha="black")
    assert black[0, 0].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(black[1:], GRADIENT[1:])


def test_transparent_colour_of_a_palette_counts(tmp_path: Path) -> None:
    palette = Image.fromarray(GRADIENT).quantize(8)
    palette.save(tmp_path / "key.png", transparency=int(np.asarray(palette)[0, 0]))
    with pytest.raises(UserError, match="transparent pixels"):
        read_rgb(tmp_path / "key.png")


def deep_png() -> bytes:
    """Return a 16-bit RGB PNG of one pixel, which Pillow cannot write (PNG specification, section 11.2)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">3H", 1000, 2000, 3000)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row))
        + chunk(b"IEND", b"")
    )


def tiff(*, bits: int, channels: int, planes: bool = False, signed: bool = False) -> bytes:
    """Return a TIFF of one pixel of a kind that Pillow cannot write (TIFF 6.0, section 2)."""
    size = bits // 8 * (1 if planes else channels)
    strips = channels if planes else 1
    extra = {338: [0] * (channels - 3)} if channels > 3 else {}  # undefined
    pages = 8 + 2 + 12 * (11 + len(extra)) + 4
    fields: dict[int, list[int]] = {
        256: [1],  # width
        257: [1],  # length
        258: [bits] * channels,
        259: [1],  # no compression
        262: [1 if channels == 1 else 2],  # gray or RGB
        273: [pages + i * size for i in range(strips)],  # where the strips are
        277: [channels],
        278: [1],  # rows of a strip
        279: [size] * strips,
        284: [2 if planes else 1],
        **extra,
        339: [2 if signed else 1] * channels,
    }
    entries, behind = b"", bytes(size * strips)
    for tag, values in fields.items():
        data = struct.pack(f"<{len(values)}H", *values)
        if len(data) > 4:
            place, behind = pages + len(behind), behind + data
            data = struct.pack("<I", place)
        entries += struct.pack("<HHI", tag, 3, len(values)) + data.ljust(4, b"\0")
    return struct.pack("<2sHIH", b"II", 42, 8, len(fields)) + entries + bytes(4) + behind


def test_more_than_8_bits_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "ten.ppm").write_bytes(b"P6 1 1 1023\n" + bytes(6))
    (tmp_path / "planes.tif").write_bytes(tiff(bits=16, channels=3, planes=True))
    (tmp_path / "colour.png").write_bytes(deep_png())
    save(tmp_path / "gray.png", GRADIENT[..., 0].astype(np.uint16))
    (tmp_path / "map.ppm").write_bytes(b"P6 1 1 65535\n" + bytes(6))
    save(tmp_path / "float.tif", GRADIENT[..., 0].astype(np.float32))
    for name in ("colour.png", "gray.png", "map.ppm", "ten.ppm", "float.tif", "planes.tif"):
        with pytest.raises(UserError, match=f"{name}: has more than 8 bits per channel"):
            read_rgb(tmp_path / name)


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "TGA"])
def test_a_format_that_hides_behind_another_suffix_is_rejected(tmp_path: Path, kind: str) -> None:
    """Pillow reads AVIF of 10 bits as 8 bits, and does not say so."""
    save(tmp_path / "a.png", GRADIENT, format=kind)
    with pytest.raises(UserError, match=r"a\.png: not an image of a supported format"):
        read_rgb(tmp_path / "a.png")


def test_8_bits_and_fewer_are_read(tmp_path: Path) -> None:
    (tmp_path / "seven.ppm").write_bytes(b"P6 1 1 100\n" + bytes([100, 50, 0]))
    (tmp_path / "planes.tif").write_bytes(tiff(bits=8, channels=3, planes=True))
    # 5, 6 and 5 bits for the colours of a pixel, which has 16 of them.
    header = struct.pack("<2sIHHI", b"BM", 70, 0, 0, 66) + struct.pack(
        "<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 1, 1, 0, 0
    )
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    (tmp_path / "565.bmp").write_bytes(header + masks + struct.pack("<HH", 0xF800, 0))
    assert read_rgb(tmp_path / "seven.ppm").tolist() == [[[255, 128, 0]]]
    assert read_rgb(tmp_path / "planes.tif").tolist() == [[[0, 0, 0]]]
    assert read_rgb(tmp_path / "565.bmp").tolist() == [[[255, 0, 0]]]


def test_signed_values_and_extra_channels_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "signed.tif").write_bytes(tiff(bits=8, channels=1, signed=True))
    (tmp_path / "five.tif").write_bytes(tiff(bits=8, channels=5))
    with pytest.raises(UserError, match=r"signed\.tif: has signed pixel values"):
        read_rgb(tmp_path / "signed.tif")
    with pytest.raises(UserError, match=r"five\.tif: has 5 channels: keep one"):
        read_rgb(tmp_path / "five.tif")


def test_an_animation_is_rejected(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (0, 99)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match=r"film\.gif: has 2 frames"):
        read_rgb(tmp_path / "film.gif")


def test_names_all_damaged_files_at_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    save(tmp_path / "good.png", noise)
    for name, kind in (("cut.png", "PNG"), ("cut.jpg", "JPEG"), ("cut.bmp", "BMP")):
        Image.fromarray(noise).save(tmp_path / name, kind)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "readme.txt").write_text("not looked at")

    def read(path: Path) -> None:
        read_rgb(path)

    paths = list_images(tmp_path)
    problems = collect_problems(read, paths, description="read")
    assert [line.split(": ")[0].removeprefix(f"{tmp_path}/") for line in problems] == [
        "cut.bmp",
        "cut.jpg",
        "cut.png",
        "empty.png",
        "text.png",
    ]
    text = "\n".join(problems)
    (stems,) = same_stems(paths)
    assert "cut.bmp, cut.jpg, cut.png would have LR images of one name" in stems
    assert "empty.png: the file is empty" in text
    assert "text.png: not an image of a supported format" in text


def test_any_exception_of_pillow_means_damage(tmp_path: Path) -> None:
    """A second frame's header of five bytes: Pillow raises struct.error."""
    save(tmp_path / "a.gif", GRADIENT[..., 0])
    whole = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(whole[:-1] + b"," + bytes(5))
    with pytest.raises(UserError, match=r"a\.gif: damaged or not readable"):
        read_rgb(tmp_path / "a.gif")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.png: no such file"):
        read_rgb(tmp_path / "none.png")


def test_lists_images_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "c.bmp", ".hidden.png", "licence.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpeg", "b.PNG", "c.bmp"]
