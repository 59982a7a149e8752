import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from alkdnet.arrays import ImageHWC
from alkdnet.errors import UserError
from alkdnet.upscaling.pictures import upscale_file

PIXELS_HWC = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
IHDR_END, IEND = 33, 12
ICC = "ICC profile (it is damaged)"
EXIF = "EXIF (it is damaged)"


def nearest(image_HWC: ImageHWC) -> ImageHWC:
    return image_HWC.repeat(2, 0).repeat(2, 1)


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 3  # turned upside down
    exif[0x8769] = {0x829A: 0.5}
    return exif.tobytes()


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS_HWC).save(file, kind, **({"lossless": True} if kind == "WEBP" else {}), **options)
    return file.getvalue()


def png(
    name: bytes, content: bytes, *, length: int | None = None, crc: int | None = None, end: bool = False
) -> bytes:
    """Return a PNG with one chunk more, before the pixels or behind them."""
    length = len(content) if length is None else length
    crc = zlib.crc32(name + content) if crc is None else crc
    whole = saved("PNG")
    at = len(whole) - IEND if end else IHDR_END
    return whole[:at] + struct.pack(">I", length) + name + content + struct.pack(">I", crc) + whole[at:]


def upscaled(
    content: bytes, folder: Path, suffix: str, target: str = "out.png"
) -> tuple[ImageHWC, list[str]]:
    source = folder / f"in{suffix}"
    source.write_bytes(content)
    written = upscale_file(source, folder / target, nearest, scale=2)
    with Image.open(folder / target) as image:
        assert "icc_profile" not in image.info
        assert not image.getexif()
        return np.asarray(image), written.lost


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    "block",
    [b"no TIFF file", b"MM\0*", exif_block()[6:40], exif_block()[6:-8]],
    ids=["garbage", "no address", "half", "without its end"],
)
def test_damaged_exif_is_named_and_the_pixels_are_upscaled(kind: str, block: bytes, tmp_path: Path) -> None:
    content = png(b"eXIf", block) if kind == "PNG" else saved(kind, exif=b"Exif\0\0" + block)
    large_HWC, lost = upscaled(content, tmp_path, f".{kind.lower()}")
    assert lost == [EXIF]
    if kind != "JPEG":
        turned = len(block) > 40  # what is there of the block says so
        expected_HWC = PIXELS_HWC[::-1, ::-1] if turned else PIXELS_HWC
        np.testing.assert_array_equal(large_HWC, nearest(expected_HWC))


@pytest.mark.parametrize(
    ("content", "lost"),
    [
        (png(b"tEXt", b"Title\0text", crc=1), "PNG chunk tEXt (it is damaged)"),
        (png(b"tEXt", b"Title\0text", length=10**6, end=True), "PNG chunk tEXt (it is damaged)"),
        (png(b"zTXt", b"Title\0\0" + zlib.compress(bytes(10**7))), "PNG chunk zTXt (it is damaged)"),
        (
            png(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 1\nzz")),
            "PNG chunk zTXt (it is damaged)",
        ),
        (png(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0\xff\xfe"), "XMP (it is damaged)"),
        (png(b"pHYs", b"\0"), "DPI (it is damaged)"),
        (png(b"gAMA", b"\0"), "gamma (it is damaged)"),
        (png(b"iCCP", b""), ICC),
        (png(b"iCCP", b"name\0\0no zlib"), ICC),
        (png(b"iCCP", b"name\0\0" + zlib.compress(PROFILE), crc=1), ICC),
        (saved("PNG", icc_profile=PROFILE[:-1]), ICC),
        (saved("PNG", icc_profile=b"no profile" * 20), ICC),
    ],
)
@pytest.mark.parametrize("target", ["out.png", "out.bmp"])  # one judges transparency first
def test_damaged_metadata_of_a_png_are_named(content: bytes, lost: str, target: str, tmp_path: Path) -> None:
    large_HWC, found = upscaled(content, tmp_path, ".png", target)
    assert found == [lost]
    np.testing.assert_array_equal(large_HWC, nearest(PIXELS_HWC))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP"])
def test_a_truncated_profile_is_not_passed_on(kind: str, tmp_path: Path) -> None:
    _, lost = upscaled(saved(kind, icc_profile=PROFILE[:200]), tmp_path, f".{kind.lower()}")
    assert lost == [ICC]


def test_a_tag_of_a_tiff_beyond_its_end_is_named(tmp_path: Path) -> None:
    content = saved("TIFF", dpi=(300, 300))
    entry = content.index(struct.pack("<HHI", 282, 5, 1))  # XResolution, a fraction elsewhere in the file
    large_HWC, lost = upscaled(
        content[: entry + 8] + struct.pack("<I", 10**6) + content[entry + 12 :], tmp_path, ".tif"
    )
    assert lost == [EXIF]
    np.testing.assert_array_equal(large_HWC, nearest(PIXELS_HWC))


@pytest.mark.parametrize("target", ["out.png", "out.jpg"])
def test_damaged_pixels_are_an_error_in_spite_of_damaged_metadata(target: str, tmp_path: Path) -> None:
    content = png(b"tEXt", b"Title\0text", crc=1)
    source = tmp_path / "in.png"
    source.write_bytes(content[:-40])
    with pytest.raises(UserError) as error:
        upscale_file(source, tmp_path / target, nearest, scale=2)
    assert str(error.value).startswith(f"{source}: ")
    assert not (tmp_path / target).exists()
