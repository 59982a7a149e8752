import dataclasses
import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from alkdnet.analysis.features import write_features
from alkdnet.analysis.intermediates import intermediates
from alkdnet.arrays import ImageHWC
from alkdnet.config.params import Crop, Features, load_params
from alkdnet.config.paths import Paths
from alkdnet.data.images import read_rgb
from alkdnet.data.resize import crop_to_multiple, downscale, upscale
from alkdnet.evaluation.benchmark import BenchmarkSet
from alkdnet.evaluation.metrics import score
from alkdnet.evaluation.protocol import Protocol
from alkdnet.networks import build

ROOT = Path(__file__).resolve().parents[2]
MakeSet = Callable[..., BenchmarkSet]
Photograph = Callable[..., ImageHWC]

CROP = Crop(set="A", image="a", scale=2, top=10, left=20, height=16, width=24)
SETTINGS = Features(
    maps_run="small_x2",
    maps_set="A",
    maps_image="b",
    field_runs=("small_x2", "plain_x2"),
    field_size=33,
    field_images=2,
    crops=(CROP,),
)
SCALES = {"small_x2": 2, "bicubic_x2": 2, "plain_x2": 2, "small_x3": 3}


def load(run: str) -> nn.Module:
    torch.manual_seed(0)
    if run == "bicubic_x2":
        return build("bicubic", 2, {})
    if run == "plain_x2":
        return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    return build("alkdnet", SCALES[run], {"channels": 16, "blocks": 2, "kernel_size": 5})


def upscaler(model: nn.Module) -> Callable[[ImageHWC], ImageHWC]:
    def apply(lr_HWC: ImageHWC) -> ImageHWC:
        with torch.no_grad():
            y_BCHW = model(torch.from_numpy(lr_HWC).permute(2, 0, 1)[None].float() / 255)
        return (y_BCHW[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()

    return apply


@pytest.fixture
def sets(make_set: MakeSet, photograph: Photograph) -> Callable[[str, int], BenchmarkSet]:
    images = {"a": photograph(0, 71, 80), "b": photograph(1, 80, 75), "c": photograph(2, 30, 90)}
    made = {("A", scale): make_set("A", images, scale=scale) for scale in (2, 3)}
    return lambda name, scale: (
        made[name, scale]
        if (name, scale) in made
        else BenchmarkSet(name=name, hr_folder=Path("no"), lr_folder=Path("no"))
    )


def run(folder: Path, sets: Callable[[str, int], BenchmarkSet], settings: Features) -> dict[str, object]:
    write_features(
        folder,
        settings=settings,
        scales=SCALES,
        load=load,
        upscaler=upscaler,
        test_set=sets,
        unpublishable={"manga109"},
        protocol=Protocol(),
    )
    return json.loads((folder / "features.json").read_text())


def test_maps_are_channel_means_of_the_named_features(
    tmp_path: Path, sets: Callable, photograph: Photograph
) -> None:
    content = run(tmp_path / "out", sets, SETTINGS)
    assert content["maps"]["image"] == "b"
    lr_HWC = downscale(crop_to_multiple(photograph(1, 80, 75), 2), 2)
    x_BCHW = torch.from_numpy(lr_HWC).permute(2, 0, 1)[None].float() / 255
    expected = intermediates(load("small_x2"), x_BCHW)
    assert list(content["maps"]["files"]) == list(expected)
    for name, file in content["maps"]["files"].items():
        map_HW = np.load(tmp_path / "out" / file)
        assert map_HW.dtype == np.float32
        assert map_HW.shape == (40, 37)
        np.testing.assert_allclose(map_HW, expected[name][0].numpy().mean(0), atol=1e-6)


def test_fields_sum_to_one_and_say_how_far_they_reach(tmp_path: Path, sets: Callable) -> None:
    content = run(tmp_path / "out", sets, SETTINGS)
    small, plain = content["fields"]
    # "c" is too low for a square of 33.
    assert (small["run"], plain["run"], small["images"]) == ("small_x2", "plain_x2", 2)
    field_HW = np.load(tmp_path / "out" / plain["file"])
    assert field_HW.shape == (33, 33)
    assert field_HW.sum() == pytest.approx(1)
    # One 3x3 convolution sees its neighbours and nothing more.
    assert np.count_nonzero(field_HW) == 9
    assert field_HW[15:18, 15:18].sum() == pytest.approx(1)
    assert plain["radii"]["0.99"] == 1
    assert small["radii"]["0.99"] > 1


def test_crops_show_the_original_and_every_run_of_the_scale(
    tmp_path: Path, sets: Callable, photograph: Photograph
) -> None:
    content = run(tmp_path / "out", sets, SETTINGS)
    (row,) = content["crops"]
    assert {key: row[key] for key in dataclasses.asdict(CROP)} == dataclasses.asdict(CROP)
    hr_HWC = crop_to_multiple(photograph(0, 71, 80), 2)
    inside = (slice(10, 26), slice(20, 44))
    np.testing.assert_array_equal(read_rgb(tmp_path / "out" / row["original"]), hr_HWC[inside])
    assert [tile["run"] for tile in row["tiles"]] == ["small_x2", "bicubic_x2", "plain_x2"]
    bicubic = row["tiles"][1]
    sr_HWC = upscale(downscale(hr_HWC, 2), 2)
    np.testing.assert_array_equal(read_rgb(tmp_path / "out" / bicubic["file"]), sr_HWC[inside])
    assert (bicubic["psnr"], bicubic["ssim"]) == score(sr_HWC, hr_HWC, scale=2, protocol=Protocol())
    assert content["missing"] == []


def test_what_cannot_be_shown_is_a_sentence(tmp_path: Path, sets: Callable) -> None:
    settings = dataclasses.replace(
        SETTINGS,
        maps_run="plain_x2",
        field_runs=("bicubic_x2", "small_x2"),
        crops=(
            dataclasses.replace(CROP, set="manga109"),
            dataclasses.replace(CROP, image="z"),
            dataclasses.replace(CROP, set="urban100"),
            dataclasses.replace(CROP, top=60),
            dataclasses.replace(CROP, scale=3),
        ),
    )
    content = run(tmp_path / "out", sets, settings)
    assert content["maps"] is None
    assert [field["run"] for field in content["fields"]] == ["small_x2"]
    assert [[tile["run"] for tile in row["tiles"]] for row in content["crops"]] == [["small_x3"]]
    assert content["missing"][0] == "Detail of a (manga109, x2): the licence of the set forbids showing it."
    assert content["missing"][1].startswith("Feature maps of plain_x2: Sequential has no ")
    assert content["missing"][2].startswith("Receptive field of bicubic_x2: Bicubic has no gradient")
    assert content["missing"][3:] == [
        "Detail of z (A, x2): A has no image of this name with an LR image.",
        "Detail of a (urban100, x2): urban100: the folder of its images is missing.",
        "Detail of a (A, x2): 24x16 pixels from row 60, column 20 reach beyond the 80x70 of the image.",
    ]


def test_nothing_of_an_unpublishable_set_is_written(
    tmp_path: Path, make_set: MakeSet, photograph: Photograph
) -> None:
    manga = make_set("manga109", {"a": photograph(0, 71, 80), "b": photograph(1, 80, 80)})
    settings = dataclasses.replace(
        SETTINGS, maps_set="manga109", crops=(dataclasses.replace(CROP, set="manga109"),)
    )
    content = run(tmp_path / "out", lambda name, scale: manga, settings)
    assert content["maps"] is None
    assert content["crops"] == []
    written = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written == ["features.json", "plain_x2.npy", "small_x2.npy"]


def test_the_folder_is_the_same_every_time(tmp_path: Path, sets: Callable) -> None:
    for name in ("one", "two", "two"):
        run(tmp_path / name, sets, SETTINGS)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) > 10
    assert files == sorted(path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*.*"))
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_an_image_equal_to_the_original_has_no_number_for_its_psnr(tmp_path: Path, make_set: MakeSet) -> None:
    flat = make_set("A", {"a": np.full((64, 64, 3), 99, np.uint8), "b": np.full((70, 70, 3), 9, np.uint8)})
    content = run(tmp_path / "out", lambda name, scale: flat, SETTINGS)
    bicubic = content["crops"][0]["tiles"][1]
    assert bicubic["psnr"] is None
    assert math.isclose(bicubic["ssim"], 1)


def test_a_receptive_field_of_a_run_taken_out_is_a_sentence(tmp_path: Path, sets: Callable) -> None:
    settings = dataclasses.replace(SETTINGS, field_runs=("gone",))
    content = run(tmp_path / "out", sets, settings)
    assert content["fields"] == []
    assert "Receptive field of gone: there is no such run." in content["missing"]


def test_the_stage_measures_details_as_the_stage_evaluate_measures_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Self-ensemble and tiles change the PSNR, which stands below a detail and in the tables.

    And when a run is evaluated it is recorded: its finished checkpoint goes, and no other.
    """
    # What importing the stages' common module would leave in the environment.
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"):
        monkeypatch.setenv(name, "avx2" if name.startswith("ATEN") else "AVX2")
    monkeypatch.syspath_prepend(ROOT / "pipeline")
    stages = {name: importlib.import_module(name) for name in ("features", "evaluate")}
    settings = load_params(ROOT / "params.yaml")
    settings = dataclasses.replace(
        settings,
        evaluate=dataclasses.replace(
            settings.evaluate, self_ensemble=True, tile=64, crop=3, round_luma=True, channel="rgb"
        ),
    )
    seen: dict[str, list[object]] = {name: [] for name in stages}
    for name, module in stages.items():
        monkeypatch.setattr(module, "Upscaler", lambda model, _to=seen[name], **given: _to.append(given))
        monkeypatch.setattr(module, "load_weights", lambda path, model: None)
    monkeypatch.setattr(
        stages["features"],
        "write_features",
        lambda folder, *, upscaler, protocol, **_: (upscaler(None), seen["features"].append(protocol)),
    )
    result = SimpleNamespace(write=lambda folder: None)
    monkeypatch.setattr(
        stages["evaluate"],
        "measure",
        lambda upscale, sets, *, protocol, **_: (seen["evaluate"].append(protocol), result)[1],
    )
    monkeypatch.setattr(stages["evaluate"], "benchmark_set", lambda *_: None)
    paths = Paths(tmp_path, settings.name)
    paths.model("bicubic_x2").mkdir(parents=True)
    (paths.model("bicubic_x2") / "run.json").write_text(json.dumps({"config_hash": "a" * 64}))
    own, other = (tmp_path / f"bicubic_x2-{letter * 16}.finished" for letter in "ab")
    own.touch()
    other.touch()
    for name, module in stages.items():
        stage = SimpleNamespace(params=settings, paths=paths, key="bicubic_x2", checkpoints=tmp_path)
        getattr(module, name)(stage)
    assert (own.exists(), other.exists()) == (False, True)
    assert len(seen["features"]) == 2
    assert seen["features"] == seen["evaluate"]
