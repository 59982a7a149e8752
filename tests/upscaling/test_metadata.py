import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from alkdnet.arrays import ImageHWC
from alkdnet.upscaling.pictures import upscale_file


def nearest(image_HWC: ImageHWC) -> ImageHWC:
    return image_HWC.repeat(2, 0).repeat(2, 1)


def source(folder: Path, mode: str = "RGB") -> Path:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 6
    exif[0x8769] = {0x829A: 0.5, 0xA002: 6, 0xA003: 4}  # exposure time, and the size in pixels
    chunks = PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100_000))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    path = folder / "in.png"
    Image.fromarray(pixels).convert(mode).save(
        path, exif=exif, icc_profile=profile, dpi=(300, 300), pnginfo=chunks
    )
    return path


@pytest.mark.parametrize(
    ("suffix", "lost"),
    [
        (".png", set()),
        (".tif", {"gamma"}),
        (".jpg", {"gamma"}),
        (".webp", {"gamma", "DPI"}),
        (".bmp", {"gamma", "EXIF", "ICC"}),
    ],
)
def test_metadata_is_kept_where_the_format_can_hold_it(suffix: str, lost: set[str], tmp_path: Path) -> None:
    target = tmp_path / f"out{suffix}"
    written = upscale_file(source(tmp_path), target, nearest, scale=2)
    assert {text.split()[0] for text in written.lost} == lost
    with Image.open(target) as image:
        exif = image.getexif()
        assert image.size == (8, 12)  # turned upright
        assert exif.get(0x0112, 1) == 1
        assert ("EXIF" in lost) == (exif.get(0x010F) is None)
        if "EXIF" not in lost:
            assert dict(exif.get_ifd(0x8769)) == {0x829A: 0.5}
        assert ("DPI" in lost) == ("dpi" not in image.info)
        assert ("ICC" in lost) == ("icc_profile" not in image.info)
        assert image.info.get("gamma") == (1.0 if suffix == ".png" else None)


def test_a_profile_of_another_colour_space_is_left_out(tmp_path: Path) -> None:
    written = upscale_file(source(tmp_path, "L"), tmp_path / "out.png", nearest, scale=2)
    assert written.lost == ["ICC profile (it is not for gray)"]
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "L"
        assert "icc_profile" not in image.info
