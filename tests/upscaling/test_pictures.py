from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from alkdnet.arrays import ImageHWC
from alkdnet.data.resize import upscale
from alkdnet.errors import UserError
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks import build
from alkdnet.upscaling.batch import FiniteUpscaler
from alkdnet.upscaling.pictures import upscale_file

DOUBLE = partial(upscale, scale=2)


def noise(*shape: int) -> ImageHWC:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def run(source: Image.Image, folder: Path, **saving: object) -> Image.Image:
    source.save(folder / "in.png", **saving)
    upscale_file(folder / "in.png", folder / "out.png", DOUBLE, scale=2)
    with Image.open(folder / "out.png") as image:
        image.load()
        return image


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp"])
def test_lossless_formats_hold_what_the_network_gives(suffix: str, tmp_path: Path) -> None:
    image_HWC = noise(5, 7, 3)
    Image.fromarray(image_HWC).save(tmp_path / "in.png")
    target = tmp_path / f"out{suffix}"
    assert upscale_file(tmp_path / "in.png", target, DOUBLE, scale=2)[:2] == (10, 14)
    with Image.open(target) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), upscale(image_HWC, 2))


def test_transparency_is_upscaled_apart_and_kept(tmp_path: Path) -> None:
    image_HWC = noise(5, 7, 4)
    image_HWC[..., 3] |= 1  # colour below fully transparent pixels is not kept
    out = run(Image.fromarray(image_HWC), tmp_path)
    assert out.mode == "RGBA"
    expected = [upscale(np.ascontiguousarray(part), 2) for part in (image_HWC[..., :3], image_HWC[..., 3:])]
    np.testing.assert_array_equal(np.asarray(out), np.concatenate(expected, axis=2))


def test_gray_stays_gray(tmp_path: Path) -> None:
    gray_HW = noise(6, 6)
    out = run(Image.fromarray(gray_HW), tmp_path)
    assert out.mode == "L"
    np.testing.assert_array_equal(np.asarray(out), upscale(gray_HW[..., None], 2)[..., 0])
    both = Image.merge("LA", [Image.fromarray(gray_HW), Image.fromarray(noise(6, 6))])
    assert run(both, tmp_path).mode == "LA"


def test_a_palette_with_a_transparent_colour_is_rgba(tmp_path: Path) -> None:
    palette = Image.new("P", (6, 6))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((2, 2), 1)
    out = run(palette, tmp_path, transparency=1)
    assert out.mode == "RGBA"
    assert out.getpixel((0, 0)) == (255, 0, 0, 255)


def test_orientation_is_applied_and_the_profile_passed_on(tmp_path: Path) -> None:
    image = Image.fromarray(noise(4, 6, 3))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    out = run(image, tmp_path, exif=exif, icc_profile=profile)
    assert out.size == (8, 12)
    assert out.info["icc_profile"] == profile
    assert not out.getexif()


def test_a_target_that_cannot_hold_the_image_is_rejected_before_the_work(tmp_path: Path) -> None:
    def never(_: ImageHWC) -> ImageHWC:
        raise AssertionError

    Image.fromarray(noise(4, 4, 4)).save(tmp_path / "in.png")
    with pytest.raises(UserError, match="JPEG holds no transparency"):
        upscale_file(tmp_path / "in.png", tmp_path / "out.jpg", never, scale=2)
    with pytest.raises(UserError, match=r"unknown ending; there are: \.png"):
        upscale_file(tmp_path / "in.png", tmp_path / "out.xyz", never, scale=2)
    with pytest.raises(UserError, match="no such file"):
        upscale_file(tmp_path / "absent.png", tmp_path / "out.png", never, scale=2)
    Image.fromarray(noise(4, 4).astype(np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match="8 bits"):
        upscale_file(tmp_path / "deep.png", tmp_path / "out.png", never, scale=2)


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("out.webp", 8192, "16384x8 pixels, but WEBP holds no more than 16383 a side; write a .png"),
        ("out.jpg", 32751, "65502x8 pixels, but JPEG holds no more than 65500 a side; write a .png"),
        ("x" * 250 + ".png", 4, "a name of more than "),
        ("in.png/a/out.png", 4, "in.png is not a folder"),
        ("folder.png", 4, "is not a file that could be replaced"),
    ],
)
def test_a_target_is_judged_by_the_header(tmp_path: Path, name: str, width: int, message: str) -> None:
    def never(_: ImageHWC) -> ImageHWC:
        raise AssertionError

    Image.fromarray(noise(4, width, 3)).save(tmp_path / "in.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError) as error:
        upscale_file(tmp_path / "in.png", tmp_path / name, never, scale=2)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert message in str(error.value)


def test_a_target_that_is_a_link_is_followed(tmp_path: Path) -> None:
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "in.png")
    (tmp_path / "there").mkdir()
    (tmp_path / "out.png").symlink_to(tmp_path / "there" / "real.png")
    upscale_file(tmp_path / "in.png", tmp_path / "out.png", DOUBLE, scale=2)
    assert (tmp_path / "out.png").is_symlink()
    with Image.open(tmp_path / "there" / "real.png") as image:
        assert image.size == (8, 8)


def test_an_image_that_is_not_finite_is_an_error_and_not_black(tmp_path: Path) -> None:
    model = build("alkdnet", 2, {"blocks": 1, "channels": 8})
    for parameter in model.parameters():
        parameter.data.fill_(1e30)  # finite, as weights must be
    image_HWC = noise(16, 16, 3)
    Image.fromarray(image_HWC).save(tmp_path / "in.png")
    assert not Upscaler(model)(image_HWC).any()
    for tile in (None, 96):
        with pytest.raises(UserError, match=r"in\.png: the network gives NaN or infinity"):
            upscale_file(tmp_path / "in.png", tmp_path / "out.png", FiniteUpscaler(model, tile=tile), scale=2)
    assert not (tmp_path / "out.png").exists()


def test_a_failure_leaves_no_half_image(tmp_path: Path) -> None:
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "in.png")

    def fail(_: ImageHWC) -> ImageHWC:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        upscale_file(tmp_path / "in.png", tmp_path / "out.png", fail, scale=2)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_the_source_is_not_overwritten(tmp_path: Path) -> None:
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "in.png")
    before = (tmp_path / "in.png").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path)
    for target in (tmp_path / "in.png", tmp_path / "link" / "in.png"):
        with pytest.raises(UserError, match=r"in\.png: is the source itself"):
            upscale_file(tmp_path / "in.png", target, DOUBLE, scale=2)
    assert (tmp_path / "in.png").read_bytes() == before
