from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from alkdnet.data.resize import upscale
from alkdnet.errors import UserError
from alkdnet.networks import build
from alkdnet.upscaling import Pixels, open_model, upscale_file
from alkdnet.weights.files import save_weights
from tests.records import write_run_record

DOUBLE = partial(upscale, scale=2)


def noise(*shape: int) -> Pixels:
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
    assert upscale_file(tmp_path / "in.png", target, DOUBLE, scale=2) == (10, 14)
    with Image.open(target) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), upscale(image_HWC, 2))


def test_transparency_is_upscaled_apart_and_kept(tmp_path: Path) -> None:
    image_HWC = noise(5, 7, 4)
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


def test_a_target_that_cannot_hold_the_image_is_refused_before_the_work(tmp_path: Path) -> None:
    def never(_: Pixels) -> Pixels:
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


def test_the_source_is_not_overwritten(tmp_path: Path) -> None:
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "in.png")
    before = (tmp_path / "in.png").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path)
    for target in (tmp_path / "in.png", tmp_path / "link" / "in.png"):
        with pytest.raises(UserError, match=r"in\.png: is the source itself"):
            upscale_file(tmp_path / "in.png", target, DOUBLE, scale=2)
    assert (tmp_path / "in.png").read_bytes() == before


def test_a_failure_leaves_no_half_image(tmp_path: Path) -> None:
    Image.fromarray(noise(4, 4, 3)).save(tmp_path / "in.png")

    def fail(_: Pixels) -> Pixels:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        upscale_file(tmp_path / "in.png", tmp_path / "out.png", fail, scale=2)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_the_record_beside_the_weights_names_the_network(tmp_path: Path) -> None:
    options = {"blocks": 1, "channels": 16}
    model = build("alkdnet", 2, options)
    save_weights(tmp_path / "weights.safetensors", model)
    write_run_record(tmp_path, network="alkdnet", scale=2, options=options)
    opened = open_model(tmp_path / "weights.safetensors", 2)
    assert not opened.training
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(opened.state_dict()[name], tensor, rtol=0, atol=0)
    with pytest.raises(UserError, match="upscale by 2, not by 3"):
        open_model(tmp_path / "weights.safetensors", 3)
    (tmp_path / "run.json").unlink()
    with pytest.raises(UserError, match="do not fit ALKDNet"):
        open_model(tmp_path / "weights.safetensors", 2)
