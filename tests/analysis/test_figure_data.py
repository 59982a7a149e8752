"""What the figures show of a row, and what they say when it cannot be shown."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from alkdnet.analysis.figure_data import write_features
from alkdnet.analysis.intermediates import intermediates
from alkdnet.arrays import ImageHWC
from alkdnet.config.params import Crop, Features
from alkdnet.data.images import read_rgb
from alkdnet.data.resize import crop_to_multiple, downscale, upscale
from alkdnet.evaluation.benchmark import BenchmarkSet
from alkdnet.evaluation.metrics import score
from alkdnet.evaluation.protocol import Protocol
from alkdnet.networks import build
from alkdnet.results.features import FeaturesRecord

MakeSet = Callable[..., BenchmarkSet]
Photograph = Callable[..., ImageHWC]
Sets = Callable[[str], BenchmarkSet]

CROP = Crop(set="A", image="a", scale=2, top=10, left=20, height=16, width=24)
SETTINGS = Features(
    maps_run="small_x2",
    maps_set="A",
    maps_image="b",
    field_runs=("small_x2", "plain_x2", "bicubic_x2"),
    field_size=33,
    field_images=2,
    crop_runs=("small_x2",),
    crops=(CROP, dataclasses.replace(CROP, scale=3)),
)


def load(row: str) -> nn.Module:
    torch.manual_seed(0)
    if row == "bicubic_x2":
        return build("bicubic", 2, {})
    if row == "plain_x2":
        return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    return build("alkdnet", 2, {"channels": 16, "blocks": 2, "kernel_size": 5})


@pytest.fixture
def sets(make_set: MakeSet, photograph: Photograph) -> Sets:
    images = {"a": photograph(0, 71, 80), "b": photograph(1, 80, 75), "c": photograph(2, 30, 90)}
    made = make_set("A", images)
    return lambda name: (
        made if name == "A" else BenchmarkSet(name=name, hr_folder=Path("no"), lr_folder=Path("no"))
    )


def run(folder: Path, sets: Sets, settings: Features = SETTINGS, row: str = "small_x2") -> FeaturesRecord:
    model = load(row)

    def apply(lr_HWC: ImageHWC) -> ImageHWC:
        with torch.no_grad():
            y_BCHW = model(torch.from_numpy(lr_HWC).permute(2, 0, 1)[None].float() / 255)
        return (y_BCHW[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()

    write_features(
        folder,
        row=row,
        settings=settings,
        scale=2,
        model=model,
        upscale=apply,
        test_set=sets,
        protocol=Protocol(),
        originals=row == "bicubic_x2",
    )
    return FeaturesRecord.read(folder)


def test_maps_are_channel_means_of_the_named_features(
    tmp_path: Path, sets: Sets, photograph: Photograph
) -> None:
    maps = run(tmp_path / "out", sets).maps
    assert maps is not None
    assert maps.image == "b"
    lr_HWC = downscale(crop_to_multiple(photograph(1, 80, 75), 2), 2)
    x_BCHW = torch.from_numpy(lr_HWC).permute(2, 0, 1)[None].float() / 255
    expected = intermediates(load("small_x2"), x_BCHW)
    assert list(maps.files) == list(expected)
    for name, file in maps.files.items():
        map_HW = np.load(tmp_path / "out" / file)
        assert map_HW.dtype == np.float32
        assert map_HW.shape == (40, 37)
        np.testing.assert_allclose(map_HW, expected[name][0].numpy().mean(0), atol=1e-6)


def test_a_field_sums_to_one_and_says_how_far_it_reaches(tmp_path: Path, sets: Sets) -> None:
    small = run(tmp_path / "small", sets).field
    plain = run(tmp_path / "plain", sets, row="plain_x2").field
    assert small is not None
    assert plain is not None
    assert small.images == 2  # "c" is too low for a square of 33
    field_HW = np.load(tmp_path / "plain" / plain.file)
    assert field_HW.shape == (33, 33)
    assert field_HW.sum() == pytest.approx(1)
    # One 3x3 convolution sees its neighbours and nothing more.
    assert np.count_nonzero(field_HW) == 9
    assert field_HW[15:18, 15:18].sum() == pytest.approx(1)
    assert plain.radii["0.99"] == 1
    assert small.radii["0.99"] > 1


def test_crops_are_those_of_the_scale_and_the_original_comes_with_bicubic(
    tmp_path: Path, sets: Sets, photograph: Photograph
) -> None:
    (crop,) = run(tmp_path / "out", sets, row="bicubic_x2").crops
    assert (crop.set, crop.image, crop.top, crop.left) == ("A", "a", 10, 20)
    hr_HWC = crop_to_multiple(photograph(0, 71, 80), 2)
    inside = (slice(10, 26), slice(20, 44))
    assert crop.original is not None
    np.testing.assert_array_equal(read_rgb(tmp_path / "out" / crop.original), hr_HWC[inside])
    sr_HWC = upscale(downscale(hr_HWC, 2), 2)
    np.testing.assert_array_equal(read_rgb(tmp_path / "out" / crop.file), sr_HWC[inside])
    assert (crop.psnr, crop.ssim) == score(sr_HWC, hr_HWC, scale=2, protocol=Protocol())
    assert crop.whole is not None
    np.testing.assert_array_equal(read_rgb(tmp_path / "out" / crop.whole), hr_HWC)
    assert (crop.image_height, crop.image_width) == hr_HWC.shape[:2]
    (shown,) = run(tmp_path / "small", sets).crops
    assert (shown.original, shown.whole) == (None, None)


def test_a_large_whole_image_is_reduced(
    tmp_path: Path, make_set: MakeSet, photograph: Photograph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alkdnet.analysis.figure_data.WHOLE_SIDE", 30)
    large = make_set("A", {"a": photograph(0, 71, 80), "b": photograph(1, 80, 80)})
    (crop,) = run(tmp_path / "out", lambda name: large, row="bicubic_x2").crops
    assert crop.whole is not None
    whole_HWC = read_rgb(tmp_path / "out" / crop.whole)
    assert whole_HWC.shape == (23, 26, 3)
    corner = photograph(0, 71, 80)[:3, :3].mean((0, 1)).round()
    np.testing.assert_array_equal(whole_HWC[0, 0], corner)


def test_rows_that_are_not_named_have_nothing(tmp_path: Path, sets: Sets) -> None:
    settings = dataclasses.replace(SETTINGS, field_runs=())
    record = run(tmp_path / "out", sets, settings, row="plain_x2")
    assert record == FeaturesRecord(maps=None, field=None, crops=(), missing=())


def test_what_cannot_be_shown_is_named(tmp_path: Path, sets: Sets) -> None:
    crops = (
        dataclasses.replace(CROP, image="z"),
        dataclasses.replace(CROP, set="urban100"),
        dataclasses.replace(CROP, top=60),
    )
    settings = dataclasses.replace(SETTINGS, maps_run="plain_x2", crop_runs=None, crops=crops)
    record = run(tmp_path / "plain", sets, settings, row="plain_x2")
    assert record.maps is None
    assert record.crops == ()
    assert record.missing[0].startswith("Feature maps of plain_x2: Sequential has no ")
    assert record.missing[1:] == (
        "Crop of z (A, x2): A has no image of this name with an LR image.",
        "Crop of a (urban100, x2): urban100: the folder of its images is missing.",
        "Crop of a (A, x2): 24x16 pixels from row 60, column 20 reach beyond the 80x70 of the image.",
    )
    (field,) = run(tmp_path / "bicubic", sets, row="bicubic_x2").missing
    assert field.startswith("Receptive field of bicubic_x2: Bicubic has no gradient")


def test_nothing_of_an_unpublishable_set_is_written(tmp_path: Path, sets: Sets) -> None:
    record = run(
        tmp_path / "out", lambda name: dataclasses.replace(sets(name), publishable=False), row="small_x2"
    )
    assert (record.maps, record.crops) == (None, ())
    assert "the licence of A forbids showing its images" in record.missing[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["features.json", "field.npy"]


def test_the_folder_is_the_same_every_time(tmp_path: Path, sets: Sets) -> None:
    for name in ("one", "two", "two"):
        run(tmp_path / name, sets)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) > 8
    assert files == sorted(path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*.*"))
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_an_image_equal_to_the_original_has_no_number_for_its_psnr(tmp_path: Path, make_set: MakeSet) -> None:
    flat = make_set("A", {"a": np.full((64, 64, 3), 99, np.uint8), "b": np.full((70, 70, 3), 9, np.uint8)})
    (crop,) = run(tmp_path / "out", lambda name: flat, row="bicubic_x2").crops
    assert crop.psnr is None
    assert math.isclose(crop.ssim, 1)
