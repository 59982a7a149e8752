"""benchmarks/gpu.py on the CPU, at a tiny size: trained, cut short, brought back, continued."""

import csv
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from alkdnet.config.loading import load_pipeline
from alkdnet.data.images import list_images, read_rgb, write_png
from alkdnet.networks import build
from alkdnet.weights.files import save_weights
from benchmarks import gpu, gpu_pack
from tests.records import write_run_record
from tests.training.trainer import photograph

RUNS = ["alkdnet_x2", "bsrn_x2"]


@pytest.fixture
def data(tmp_path: Path, repository: Path) -> Path:
    """A folder with params.yaml, photos/ and tests/: what travels, made small."""
    params = yaml.safe_load((repository / "study" / "params.yaml").read_text())
    params["recipes"]["paper"] |= {
        "iterations": 60,
        "batch_size": 4,
        "patch_size": 14,
        "precision": "float32",
    }
    params["history"] |= {"validation_interval": 20, "log_interval": 5}
    params["execution"] |= {"checkpoint_interval": 1000, "device": "cpu", "threads": 1}
    for run in params["runs"].values():
        run |= {"blocks": 1, "channels": 8}
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for folder, count in (("photos", 3), ("tests/set5", 1), ("tests/set14", 1)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(count):
            write_png(tmp_path / folder / f"{number}.png", photograph(number + len(folder), 96))
    return tmp_path


def _visit(folder: Path, *, minutes_left: float = 1.0, runs: list[str] = RUNS) -> gpu.Visit:
    return gpu.Visit(
        params=load_pipeline("study", folder),
        runs=runs,
        photos=folder / "photos",
        tests=folder / "tests",
        work=folder / "work",
        device=torch.device("cpu"),
        deadline=time.monotonic() + 60 * minutes_left,
        least_s=20.0,
    )


def test_a_run_that_breaks_costs_the_next_one_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the compiler, or memory that does not suffice, is no UserError."""
    trained = []

    def train(*, output: Path, **_: object) -> None:
        trained.append(output.name)
        if output.name == "alkdnet_x2":
            raise torch.OutOfMemoryError("out of memory | tried\nmore")

    monkeypatch.setattr(gpu, "train", train)
    visit = _visit(data)
    assert "60 iterations on 3 photographs (digest " in gpu.prepare(visit)
    gpu.train_all(visit)
    assert trained == RUNS
    assert visit.outcome["alkdnet_x2"] == "failed: OutOfMemoryError: out of memory / tried"
    assert visit.outcome["bsrn_x2"].startswith("finished in")


def test_no_run_starts_in_the_last_seconds(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "train", lambda **_: pytest.fail("started"))
    visit = _visit(data, minutes_left=0.3)
    gpu.prepare(visit)
    gpu.train_all(visit)
    assert visit.outcome == dict.fromkeys(RUNS, "not started")


def test_only_the_scales_of_the_runs_are_made(data: Path) -> None:
    gpu.prepare(_visit(data, runs=["alkdnet_x3"]))
    assert sorted(path.name for path in (data / "work" / "patches").iterdir()) == ["hr", "x3"]
    assert [path.name for path in (data / "work" / "lr" / "photos").iterdir()] == ["x3"]


def test_what_there_is_comes_back_from_a_visit_that_breaks_off(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepare(visit: gpu.Visit) -> str:
        (visit.work / "checkpoints").mkdir()
        (visit.work / "checkpoints" / "bsrn_x2-0123456789abcdef.ckpt").write_bytes(b"state")
        raise RuntimeError("anything")

    monkeypatch.setattr(gpu, "prepare", prepare)
    monkeypatch.setattr(gpu, "device_rates", lambda _: "rates")
    where = ["--photos", "photos", "--tests", "tests", "--out", str(data / "out"), "--no-benchmark"]
    monkeypatch.setattr(sys, "argv", ["gpu", "study", "--runs", ",".join(RUNS), *where])
    monkeypatch.chdir(data)
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1
    assert "Broken off: RuntimeError: anything" in capsys.readouterr().out
    with tarfile.open(data / "out" / "runs-0.tar") as archive:
        assert archive.getnames() == ["checkpoints/bsrn_x2-0123456789abcdef.ckpt"]


def test_a_benchmark_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nsleep 100\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    arguments = gpu.argparse.Namespace(batch=8, steps=1)
    started = time.monotonic()
    shown = gpu.step_table(torch.device("cpu"), 1, -19.5, arguments)
    assert shown == "The benchmark took too long."
    assert time.monotonic() - started < 10


def test_what_travels_is_chosen_by_name_and_lossless(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("photos", *(f"data/{name}" for name in gpu_pack.TESTS)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(4):
            write_png(tmp_path / folder / f"{number}.png", photograph(number + len(folder), 48))
    (tmp_path / "earlier").mkdir()
    for name in ("checkpoints/a.ckpt", "models/b/run.json", "models/b/weights.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    with tarfile.open(tmp_path / "earlier" / "runs-0.tar", "w") as archive:
        archive.add(tmp_path / "checkpoints" / "a.ckpt", "checkpoints/a.ckpt")
        archive.add(tmp_path / "models" / "b" / "run.json", "models/b/run.json")
        archive.add(tmp_path / "models" / "b" / "weights.safetensors", "models/b/weights.safetensors")
    out = tmp_path / "out"
    arguments = gpu_pack.argparse.Namespace(
        photos=tmp_path / "photos", tests=tmp_path / "data", out=out, resume=tmp_path / "earlier", count=3
    )
    assert "3 photographs" in gpu_pack.assemble(arguments, repository)
    assert [path.name for path in list_images(out / "photos")] == ["0.png", "1.png", "2.png"]
    assert (out / "photos" / "0.png").read_bytes() == (tmp_path / "photos" / "0.png").read_bytes()
    packed = read_rgb(out / "tests" / "bsd100" / "3.webp")
    assert np.array_equal(packed, read_rgb(tmp_path / "data" / "bsd100" / "3.png"))
    with tarfile.open(out / "earlier" / "runs-0.tar") as archive:
        assert archive.getnames() == ["checkpoints/a.ckpt", "models/b/run.json"]

    monkeypatch.setattr(gpu_pack, "LIMIT_BYTES", 2**20)
    arguments.out = tmp_path / "second"
    with pytest.raises(gpu_pack.UserError, match="more than the 1 that may travel: "):
        gpu_pack.assemble(arguments, repository)
    assert not arguments.out.exists()
    arguments.count = 5
    with pytest.raises(gpu_pack.UserError, match="4 photographs; the study trains on 5"):
        gpu_pack.assemble(arguments, repository)
    arguments.out = repository / "not-ignored"
    with pytest.raises(gpu_pack.UserError, match="git does not ignore it"):
        gpu_pack.assemble(arguments, repository)


def test_without_scikit_image_there_is_psnr_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = _visit(data, runs=["alkdnet_x2"])
    gpu.prepare(visit)
    run = visit.params.runs["alkdnet_x2"]
    weights = visit.work / "models" / "alkdnet_x2" / "weights.safetensors"
    model = build(run.network, run.scale, run.options)
    save_weights(weights, model)
    write_run_record(weights.parent, network=run.network, scale=run.scale, options=run.options)
    full = gpu.evaluate_one(visit, "alkdnet_x2")
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None if name == "skimage" else name)
    alone = gpu.evaluate_one(visit, "alkdnet_x2")
    assert list(alone) == list(full) == ["set5", "set14"]
    for test in alone:
        psnr, ssim = full[test].split(" dB / ")
        assert 0 < float(ssim) < 1
        assert float(alone[test].removesuffix(" dB")) == pytest.approx(float(psnr), abs=5e-4)


@pytest.mark.slow
def test_two_visits(data: Path, repository: Path) -> None:
    def visit(out: str, *options: str) -> str:
        folders = ["--photos", str(data / "photos"), "--tests", str(data / "tests"), "--out", str(data / out)]
        finished = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.gpu", "study"),
                *("--runs", ",".join(RUNS), *folders, "--no-benchmark", *options),
            ],
            cwd=data,
            env={**os.environ, "PYTHONPATH": f"{repository / 'src'}:{repository}"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert len(list((data / out).iterdir())) <= 8
        return finished.stdout

    first = visit("first", "--minutes", "0")
    assert "| alkdnet_x2 | not started |" in first
    assert "matrix products at (TFLOP/s) float32 " in first
    second = visit("second", "--resume", str(data / "first"))
    assert "| alkdnet_x2 | finished in" in second
    assert "| run | outcome | set5 | set14 |" in second
    with tarfile.open(data / "second" / "runs-0.tar") as archive:
        names = archive.getnames()
    expected = [f"models/alkdnet_x2/{name}" for name in ("history.csv", "run.json", "weights.safetensors")]
    assert set(expected) <= set(names)
    with tarfile.open(data / "second" / "results.tar") as archive:
        images = archive.extractfile("results/evaluation/bsrn_x2/images.csv")
        assert images is not None
        rows = list(csv.DictReader(images.read().decode().splitlines()))
    assert [(row["set"], row["image"]) for row in rows] == [("set5", "0"), ("set14", "0")]
    assert all(float(row["psnr"]) > 0 and float(row["ssim"]) < 1 for row in rows)
    third = visit("third", "--resume", str(data / "second"))
    scores = [line.split("|")[3:] for line in second.splitlines() if line.startswith("| bsrn_x2")]
    assert "| alkdnet_x2 | finished before |" in third
    assert scores == [line.split("|")[3:] for line in third.splitlines() if line.startswith("| bsrn_x2")]

    # A visit that ends in the middle leaves a checkpoint, from which the next one goes on.
    cut = visit("cut", "--iterations", "1000000", "--minutes", "0.5", "--least", "0")
    assert "| alkdnet_x2 | stopped after" in cut
    with tarfile.open(data / "cut" / "runs-0.tar") as archive:
        assert any(name.startswith("checkpoints/alkdnet_x2-") for name in archive.getnames())
