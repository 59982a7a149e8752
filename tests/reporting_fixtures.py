"""A parameter file and a results tree as the stages leave it, with made-up numbers."""

import dataclasses
import json
from collections.abc import Iterator
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

PARAMETERS = """
name: trial
root: .
params_file: params.yaml
dir: trial
datasets:
  photographs: {use: train, source: embedded_train}
  set5: {use: test, source: set5}
  urban100: {use: test, source: urban100}
  manga109: {use: test, source: manga109, path: manga109}
  imdn_x2: {use: weights, source: imdn_x2}
downscale: {scales: [2, 3, 4], border: replicate}
train:
  iterations: 300
  batch_size: 8
  patch_size: 24
  learning_rate: 1.0e-3
  final_learning_rate: 1.0e-7
  beta1: 0.9
  beta2: 0.999
  validation_set: set5
  validation_interval: 50
  log_interval: 10
  checkpoint_interval: 100
  precision: float32
  device: cpu
  compile: false
  threads: 1
  processes: 1
  hosts: 1
runs:
  bicubic_x2: {kind: interpolation, network: bicubic, scale: 2, inputs: checked/ok}
  bsrn_x2: &bsrn
    kind: trained
    network: bsrn
    scale: 2
    inputs: patches/x2
    blocks: 2
    convolution: bsconv
    residual: fsrl
    block_norm: false
  imdn_x2: {kind: released, network: imdn, scale: 2, inputs: raw/weights/imdn_x2}
  alkdnet_x2: {kind: trained, network: alkdnet, scale: 2, inputs: patches/x2, blocks: 2}
  kernel5_x2: {<<: *bsrn, convolution: alkconv, kernel_size: 5}
  kernel9_x2: {<<: *bsrn, convolution: alkconv, kernel_size: 9}
  bsrn_x2_seed1: {<<: *bsrn, seed: 1}
  alkdnet_x4: {kind: trained, network: alkdnet, scale: 4, inputs: patches/x4, blocks: 2}
evaluate:
  channel: y
  round_luma: false
  crop: null
  self_ensemble: false
  tile: null
  device: cpu
  threads: 1
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
  hardware: a test
  labels:
    bicubic_x2: Bicubic
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

# PSNR over bicubic of each run, and its share that varies from image to image.
LEVELS = {
    "bicubic_x2": 0.0,
    "bsrn_x2": 2.0,
    "imdn_x2": 1.5,
    "alkdnet_x2": 2.3,
    "kernel5_x2": 2.05,
    "kernel9_x2": 2.2,
    "bsrn_x2_seed1": 2.01,
    "alkdnet_x4": -4.0,
}
IMAGES = {"set5": 5, "urban100": 12}


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
def tree(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Write a whole results tree and return its paths; the working directory is its root."""
    monkeypatch.chdir(tmp_path)
    return make_tree(params)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of a whole results tree, once for all tests of a module that only read it."""
    root = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        params = make_params(root)
        paths = make_tree(params)
        write_report(params=params, paths=paths)
    return root / paths.report


def make_params(folder: Path) -> Params:
    """Return the parameters above, read from a file in a folder."""
    path = folder / "params.yaml"
    path.write_text(PARAMETERS, encoding="utf-8")
    return load_params(path)


def make_tree(params: Params) -> Paths:
    """Write a whole results tree below the working directory and return its paths."""
    paths = Paths(Path(params.dir), params.name)
    for index, name in enumerate(params.runs):
        _write_evaluation(paths.evaluation(name), LEVELS[name], index)
        if params.runs[name].kind == "trained":
            _write_model(paths.model(name), params, name)
    write(
        paths.complexity,
        {
            name: {
                "parameters": 0 if "bicubic" in name else 372_716 if "alkdnet" in name else 331_628,
                "multi_adds": 0 if "bicubic" in name else 81_756_500_000,
                "multi_adds_convolutions": 79_456_000_000,
                "activations": 423_014_808,
            }
            for name in params.runs
        },
    )
    _write_features(paths.features)
    return paths


def write(path: Path, content: object) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _write_evaluation(folder: Path, level: float, index: int) -> None:
    rows = []
    random = np.random.default_rng(index)
    for name, count in IMAGES.items():
        base = np.linspace(30, 36, count)
        for image in range(count):
            psnr = base[image] + level + 0.01 * random.standard_normal()
            rows.append([name, f"img_{image + 1:03d}", 256, 320, psnr, 0.9 + 0.002 * (psnr - 33)])
    images = pd.DataFrame(rows, columns=["set", "image", "height", "width", "psnr", "ssim"])
    folder.mkdir(parents=True)
    images.to_csv(folder / "images.csv", index=False)
    means = images.groupby("set", sort=False)[["psnr", "ssim"]].mean()
    sets = {
        name: {"images": IMAGES[name], "psnr": means["psnr"][name], "ssim": means["ssim"][name]}
        for name in IMAGES
    }
    write(folder / "sets.json", {"sets": sets, "missing": {"manga109": "not available"}})


def _write_model(folder: Path, params: Params, name: str) -> None:
    level, run = LEVELS[name], params.runs[name]
    iterations = np.arange(10, 301, 10)
    history = pd.DataFrame(
        {
            "iteration": iterations,
            "loss": 0.05 / np.sqrt(iterations),
            "learning_rate": 1e-3 * (1 + np.cos(np.pi * iterations / 300)) / 2,
            "validation_psnr": [
                33 + level * (1 - np.exp(-step / 60)) if step % 50 == 0 else None for step in iterations
            ],
        }
    )
    folder.mkdir(parents=True)
    history.to_csv(folder / "history.csv", index=False)
    record = {
        "network": run.network,
        "scale": run.scale,
        "options": dict(run.options),
        "seed": run.seed,
        "iterations": 300,
        "parameters": 1,
        "recipe": dataclasses.asdict(params.train),
        "torch": "2.13.0",
        "weights_sha256": "0" * 64,
    }
    write(folder / "run.json", record)


def _write_features(folder: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("maps", "fields", "crops/01"):
        (folder / name).mkdir(parents=True)
    maps = ("shallow", "before_fsrl", "after_fsrl", "before_abrl", "after_abrl")
    for name in maps:
        np.save(folder / "maps" / f"{name}.npy", random.random((20, 30), dtype=np.float32))
    for name in ("bsrn_x2", "alkdnet_x2", "removed_x2"):
        field = random.random((33, 33))
        np.save(folder / "fields" / f"{name}.npy", field / field.sum())
    tiles = ("bicubic_x2", "bsrn_x2", "alkdnet_x2", "kernel5_x2")
    for name in ("original", *tiles):
        pixels = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "crops" / "01" / f"{name}.png")
    write(
        folder / "features.json",
        {
            "maps": {
                "run": "alkdnet_x2",
                "set": "set5",
                "image": "img_001",
                "files": {name: f"maps/{name}.npy" for name in maps},
            },
            "fields": [
                {
                    "run": name,
                    "file": f"fields/{name}.npy",
                    "images": 1,
                    "radii": {"0.5": 4, "0.9": 12, "0.99": 16},
                }
                for name in ("bsrn_x2", "alkdnet_x2", "removed_x2")
            ],
            "crops": [
                {
                    "set": "set5",
                    "image": "img_001",
                    "scale": 2,
                    "top": 8,
                    "left": 8,
                    "height": 24,
                    "width": 32,
                    "original": "crops/01/original.png",
                    "tiles": [
                        {"run": name, "file": f"crops/01/{name}.png", "psnr": 33 + index, "ssim": 0.9}
                        for index, name in enumerate(tiles)
                    ],
                }
            ],
            "missing": ["Detail of EienNoWith: the licence of manga109 forbids showing it."],
        },
    )
