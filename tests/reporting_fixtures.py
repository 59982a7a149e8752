"""A parameter file and a results tree as the stages leave it, with made-up numbers."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from alkdnet.config.loading import load_params
from alkdnet.config.params import Params
from alkdnet.config.paths import Paths
from alkdnet.reporting.figures import style
from alkdnet.reporting.report import write_report
from alkdnet.reporting.study import Study
from alkdnet.results.costs import Cost, write_costs
from alkdnet.results.features import CropImage, FeaturesRecord, Field, Maps
from alkdnet.results.history import HistoryRow, write_history
from alkdnet.results.run import HISTORY, Published, RunRecord, Training
from alkdnet.results.scores import COLUMNS, Scores

PARAMETERS = """
datasets:
  photographs: {use: train, source: embedded_train}
  set5: {use: test, source: set5}
  urban100: {use: test, source: urban100}
  manga109: {use: test, source: manga109, path: manga109}
downscale: {scales: [2, 3, 4], border: replicate}
recipes:
  paper:
    iterations: 300
    batch_size: 8
    patch_size: 24
    learning_rate: 1.0e-3
    final_learning_rate: 1.0e-7
    beta1: 0.9
    beta2: 0.999
    precision: float32
history: {log_interval: 10, validation_interval: 50, validation_sets: [set5]}
execution: {device: cpu, compile: false, threads: 1, processes: 1, checkpoint_interval: 100}
runs:
  bsrn_x2: {network: bsrn, scale: 2, recipe: paper, blocks: 2}
  alkdnet_x2: {network: alkdnet, scale: 2, recipe: paper, blocks: 2}
  kernel5_x2: {network: bsrn, scale: 2, recipe: paper, blocks: 2, convolution: alkconv, kernel_size: 5}
  kernel9_x2: {network: bsrn, scale: 2, recipe: paper, blocks: 2, convolution: alkconv, kernel_size: 9}
  bsrn_x2_seed1: {network: bsrn, scale: 2, recipe: paper, blocks: 2, seed: 1}
  alkdnet_x4: {network: alkdnet, scale: 4, recipe: paper, blocks: 2}
finetuned: {}
released:
  imdn_x2: {network: imdn, scale: 2, source: imdn_x2}
evaluate: {channel: y, round_luma: false, crop: null, self_ensemble: false, tile: null}
complexity: {width: 1280, height: 720}
features:
  maps_run: alkdnet_x2
  maps_set: set5
  maps_image: img_001
  field_runs: [bsrn_x2, alkdnet_x2]
  field_size: 33
  field_images: 1
  crops:
    - {set: set5, image: img_001, scale: 2, top: 8, left: 8, height: 24, width: 32}
report:
  title: A trial
  summary: Made-up numbers.
  labels:
    bsrn_x2: BSRN
    imdn_x2: IMDN
    alkdnet_x2: ALKDNet
    alkdnet_x4: ALKDNet
    kernel5_x2: ALKConv, k = 5
  table1: {title: Kernel size, baseline: bsrn_x2, rows: [bsrn_x2, kernel5_x2, kernel9_x2]}
  table2: {title: Residual learning, baseline: bsrn_x2, rows: []}
  table3: {title: Pixel normalisation, baseline: bsrn_x2, rows: [bsrn_x2, absent_x2]}
  table4:
    Bicubic: [bicubic_x2]
    IMDN: [imdn_x2]
    BSRN: [bsrn_x2]
    ALKDNet: [alkdnet_x2, alkdnet_x4]
  curves: [bsrn_x2, kernel9_x2]
  seeds: {bsrn_x2: [bsrn_x2_seed1]}
"""

# PSNR over bicubic of each row at x2, and what varies from image to image is added.
LEVELS = {
    "bicubic_x2": 0.0,
    "bicubic_x3": -3.0,
    "bicubic_x4": -5.0,
    "imdn_x2": 1.5,
    "bsrn_x2": 2.0,
    "alkdnet_x2": 2.3,
    "kernel5_x2": 2.05,
    "kernel9_x2": 2.2,
    "bsrn_x2_seed1": 2.01,
    "alkdnet_x4": -4.0,
}
IMAGES = {"set5": 5, "urban100": 12}
MAPS = ("shallow", "before_fsrl", "after_fsrl", "before_abrl", "after_abrl")


@pytest.fixture(scope="session", autouse=True)
def small_figures() -> Iterator[None]:
    """Draw figures coarsely: most of the time of a report goes into their pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 40)
        yield


@pytest.fixture
def params(tmp_path: Path) -> Params:
    """Return the parameters above."""
    return make_params(tmp_path)


@pytest.fixture
def tree(params: Params, tmp_path: Path) -> Paths:
    """Write a whole results tree and return its paths."""
    return make_tree(params, tmp_path)


@pytest.fixture
def study(params: Params, tree: Paths) -> Study:
    """Return the study of the whole results tree."""
    return Study.read(params, tree)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of a whole results tree, once for all tests of a module that only read it."""
    root = tmp_path_factory.mktemp("report")
    params = make_params(root)
    paths = make_tree(params, root)
    write_report(params=params, paths=paths)
    return paths.report


def make_params(folder: Path) -> Params:
    """Return the parameters above, read from a file in a folder."""
    path = folder / "params.yaml"
    path.write_text(PARAMETERS, encoding="utf-8")
    return load_params(path, "trial")


def make_tree(params: Params, root: Path) -> Paths:
    """Write a whole results tree below a folder and return its paths."""
    paths = Paths(params.pipeline, root)
    for index, name in enumerate(params.rows):
        make_scores(LEVELS[name], index).write(paths.evaluation(name))
        _write_model(paths.model(name), params, name)
        _write_features(paths.features(name), params, name)
    write_costs(
        paths.complexity,
        {
            name: Cost(
                parameters=0 if "bicubic" in name else 372_716 if "alkdnet" in name else 331_628,
                multi_adds=0 if "bicubic" in name else 81_756_500_000,
                multi_adds_convolutions=79_456_000_000,
                activations=423_014_808,
            )
            for name in params.rows
        },
    )
    return paths


def make_scores(level: float, seed: int, images: Mapping[str, int] = IMAGES) -> Scores:
    """Return scores of a row that is `level` dB above bicubic at x2."""
    rows = []
    random = np.random.default_rng(seed)
    for name, count in images.items():
        base = np.linspace(30, 36, count)
        for image in range(count):
            psnr = base[image] + level + 0.01 * random.standard_normal()
            rows.append([name, f"img_{image + 1:03d}", 256, 320, psnr, 0.9 + 0.002 * (psnr - 33)])
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return Scores(images=frame, missing={"manga109": "not available"})


def _write_model(folder: Path, params: Params, name: str) -> None:
    row = params.rows[name]
    if row.kind == "interpolation":
        return
    training = Training(
        seed=params.trained[name].seed if row.kind == "trained" else 0,
        recipe=params.recipes["paper"],
        data="0" * 64,
        sets=("photographs",),
        validation_sets=("set5",),
        identity="0" * 64,
    )
    record = RunRecord(
        network=row.network,
        scale=row.scale,
        options=dict(row.options),
        parameters=1,
        weights_sha256="0" * 64,
        torch="2.13.0",
        training=training if row.kind == "trained" else None,
        published=None if row.kind == "trained" else Published(source=name, sha256="0" * 64),
    )
    record.write(folder)
    if row.kind == "trained":
        write_history(folder / HISTORY, _history(LEVELS[name]))


def _history(level: float) -> list[HistoryRow]:
    return [
        HistoryRow(
            iteration,
            0.05 / iteration**0.5,
            1e-3 * (1 + math.cos(math.pi * iteration / 300)) / 2,
            33 + level * (1 - math.exp(-iteration / 60)) if iteration % 50 == 0 else None,
        )
        for iteration in range(10, 301, 10)
    ]


def _write_features(folder: Path, params: Params, name: str) -> None:
    settings, scale = params.features, params.rows[name].scale
    random = np.random.default_rng(0)
    (folder / "maps").mkdir(parents=True)
    maps, field = None, None
    if name == settings.maps_run:
        for each in MAPS:
            np.save(folder / "maps" / f"{each}.npy", random.random((20, 30), dtype=np.float32))
        maps = Maps(set="set5", image="img_001", files={each: f"maps/{each}.npy" for each in MAPS})
    if name in settings.field_runs:
        values = random.random((33, 33))
        np.save(folder / "field.npy", values / values.sum())
        field = Field(file="field.npy", images=1, radii={"0.5": 4, "0.9": 12, "0.99": 16})
    crops = []
    for crop in settings.crops if scale == 2 else ():
        files = ("crop.png", "original.png", "whole.png") if "bicubic" in name else ("crop.png",)
        for file in files:
            pixels = random.integers(0, 256, (crop.height, crop.width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / file)
        crops.append(
            CropImage(
                set=crop.set,
                image=crop.image,
                top=crop.top,
                left=crop.left,
                height=crop.height,
                width=crop.width,
                file="crop.png",
                original="original.png" if "bicubic" in name else None,
                whole="whole.png" if "bicubic" in name else None,
                image_height=2 * crop.height,
                image_width=2 * crop.width,
                psnr=33 + LEVELS[name],
                ssim=0.9,
            )
        )
    missing = ("Crop of EienNoWith: the licence of manga109 forbids showing it.",) if scale == 2 else ()
    FeaturesRecord(maps=maps, field=field, crops=tuple(crops), missing=missing).write(folder)
