import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from alkdnet.arrays import ImageHWC
from alkdnet.data.images import write_png
from alkdnet.data.resize import crop_to_multiple, downscale, upscale
from alkdnet.evaluation.benchmark import BenchmarkSet, evaluate
from alkdnet.evaluation.metrics import score
from alkdnet.evaluation.protocol import Protocol
from alkdnet.results.scores import Scores

ROOT = Path(__file__).resolve().parents[2]
SCALE = 2
MakeSet = Callable[..., BenchmarkSet]
Photograph = Callable[..., ImageHWC]


def bicubic(lr_HWC: ImageHWC) -> ImageHWC:
    return upscale(lr_HWC, SCALE)


def run(*sets: BenchmarkSet, protocol: Protocol | None = None) -> Scores:
    return evaluate(bicubic, sets, scale=SCALE, protocol=protocol or Protocol())


def test_every_image_is_scored_and_averaged(make_set: MakeSet, photograph: Photograph) -> None:
    images = {f"img_{index:03}": photograph(index) for index in range(7)}
    first = make_set("First", images, expected=7)
    second = make_set("Second", {"z": photograph(9, 30, 44)})
    result = run(second, first)
    assert result.missing == {}
    assert list(result.images["set"]) == ["Second", *["First"] * 7]
    assert list(result.images["image"]) == ["z", *images]
    for row in result.images[result.images["set"] == "First"].itertuples():
        hr = crop_to_multiple(images[row.image], SCALE)
        expected = score(bicubic(downscale(hr, SCALE)), hr, scale=SCALE, protocol=Protocol())
        assert (row.psnr, row.ssim) == expected
        assert (row.height, row.width) == hr.shape[:2] == (40, 50)
    means = result.means()
    assert list(means) == ["Second", "First"]
    assert means["First"].images == 7
    assert means["First"].psnr == pytest.approx(np.mean(result.images["psnr"][1:]), abs=1e-12)
    assert means["First"].ssim == pytest.approx(np.mean(result.images["ssim"][1:]), abs=1e-12)


def test_the_protocol_is_used(make_set: MakeSet, photograph: Photograph) -> None:
    made = make_set("A", {"a": photograph(0), "b": photograph(1)})
    psnrs = [
        run(made, protocol=protocol).means()["A"].psnr
        for protocol in (Protocol(), Protocol(channel="rgb"), Protocol(round_luma=True), Protocol(crop=8))
    ]
    assert len(set(psnrs)) == 4


def test_the_rest_goes_on_and_what_is_missing_is_named(
    make_set: MakeSet, photograph: Photograph, tmp_path: Path
) -> None:
    made = make_set("A", {name: photograph(i) for i, name in enumerate("abcdefgh")}, expected=9)
    (made.lr_folder / "a.png").unlink()
    (made.hr_folder / "b.png").unlink()
    write_png(made.lr_folder / "c.png", photograph(3, 10, 25))
    (made.hr_folder / "d.png").write_bytes(b"")
    (made.lr_folder / "e.png").write_bytes((made.lr_folder / "e.png").read_bytes()[:60])
    write_png(made.hr_folder / "f.bmp", photograph(0))
    write_png(made.hr_folder / "g.png", photograph(0, 14, 50))
    write_png(made.lr_folder / "g.png", photograph(0, 7, 25))
    write_png(made.hr_folder / "h.png", np.full((41, 50, 3), 7, np.uint8))
    write_png(made.lr_folder / "h.png", np.full((20, 25, 3), 7, np.uint8))
    other = make_set("B", {"z": photograph(5)})
    result = run(made, other)
    assert list(result.images["image"]) == ["f", "z"]
    assert list(result.missing) == ["A"]
    reasons = result.missing["A"].split("; ")
    assert reasons[:4] == [
        "f.png is left out: f.bmp has the same name",
        "7 of 9 images",
        "a: no LR image",
        "b: no original",
    ]
    assert "c: the LR image has 25x10 pixels" in result.missing["A"]
    assert "at x2 the original asks for 25x20" in result.missing["A"]
    assert "d: the file is empty" in reasons
    assert "e: LR image: damaged" in result.missing["A"]
    assert "g: an image of 50x14 is too small" in result.missing["A"]
    assert "h: equal to the original: its PSNR is infinite and has no place in a mean" in reasons
    assert str(tmp_path) not in result.missing["A"]


def test_absent_sets_are_named(make_set: MakeSet, photograph: Photograph, tmp_path: Path) -> None:
    gated = make_set("Manga109", {}, expected=109)
    (gated.hr_folder / "NOT_AVAILABLE.txt").write_text("Apply for it.\n")
    empty = make_set("Empty", {})
    nowhere = BenchmarkSet(name="Nowhere", hr_folder=tmp_path / "no", lr_folder=tmp_path / "no")
    no_lr = make_set("NoLR", {"a": photograph(0)})
    (no_lr.lr_folder / "a.png").unlink()
    no_lr.lr_folder.rmdir()
    result = run(gated, empty, nowhere, no_lr)
    assert result.images.empty
    assert result.means() == {}
    assert result.missing == {
        "Manga109": "not available",
        "Empty": "no images",
        "Nowhere": "the folder of its images is missing",
        "NoLR": "a: no LR image",
    }


def test_files_are_complete_and_the_same_every_time(
    make_set: MakeSet, photograph: Photograph, tmp_path: Path
) -> None:
    made = make_set("A", {"001": photograph(0), "002": photograph(1)}, expected=3)
    result = run(made)
    result.write(tmp_path / "one")
    result.write(tmp_path / "one")
    run(made).write(tmp_path / "two")
    for name in ("scores.json", "images.csv", "record.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    means = json.loads((tmp_path / "one" / "scores.json").read_text())
    mean = result.means()["A"]
    assert means == {"A": {"images": 2, "psnr": mean.psnr, "ssim": mean.ssim}}
    read = Scores.read(tmp_path / "one")
    assert read.missing == {"A": "2 of 3 images"}
    pd.testing.assert_frame_equal(read.images, result.images, check_exact=True)


def test_an_error_of_the_upscaler_is_not_swallowed(make_set: MakeSet, photograph: Photograph) -> None:
    made = make_set("A", {str(index): photograph(index) for index in range(6)})

    def broken(lr_HWC: ImageHWC) -> ImageHWC:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(broken, [made], scale=SCALE, protocol=Protocol())


def test_workers_change_nothing_but_the_time(make_set: MakeSet, photograph: Photograph) -> None:
    made = make_set("A", {f"{index:02}": photograph(index) for index in range(8)})
    one = run(made)
    three = evaluate(bicubic, [made], scale=SCALE, protocol=Protocol(), workers=3)
    pd.testing.assert_frame_equal(three.images, one.images, check_exact=True)


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_the_workers_upscale_at_a_time(
    make_set: MakeSet, photograph: Photograph, workers: int
) -> None:
    made = make_set("A", {f"{index:02}": photograph(index) for index in range(12)})
    lock, at_work, most = threading.Lock(), 0, 0

    def slow(lr_HWC: ImageHWC) -> ImageHWC:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.01)
        with lock:
            at_work -= 1
        return bicubic(lr_HWC)

    evaluate(slow, [made], scale=SCALE, protocol=Protocol(), workers=workers)
    assert most == workers


def test_transparent_originals_are_laid_on_the_set_s_background(
    make_set: MakeSet, photograph: Photograph
) -> None:
    made = make_set("A", {"a": photograph(0)})
    transparent = np.dstack([photograph(0), np.full((41, 50), 255, np.uint8)])
    transparent[:, :25, 3] = 0
    Image.fromarray(transparent).save(made.hr_folder / "a.png")
    assert "transparent" in run(made).missing["A"]
    white = dataclasses.replace(made, alpha="white")
    hr = photograph(0)
    hr[:, :25] = 255
    lr = downscale(crop_to_multiple(photograph(0), SCALE), SCALE)
    expected = score(bicubic(lr), crop_to_multiple(hr, SCALE), scale=SCALE, protocol=Protocol())
    assert tuple(run(white).images.loc[0, ["psnr", "ssim"]]) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluation", "inference"])
def test_a_measurement_starts_as_its_file_says(name: str) -> None:
    text = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    found = re.search(r"^    PYTHONPATH=(\S+) python (.+?) \[", text, re.MULTILINE)
    assert found is not None
    path, arguments = found.groups()
    subprocess.run(
        [sys.executable, *arguments.split(), "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        capture_output=True,
    )
