from collections.abc import Callable
from pathlib import Path

import pytest

from alkdnet.arrays import ImageHWC
from alkdnet.data.resize import upscale
from alkdnet.evaluation.benchmark import BenchmarkSet, evaluate
from alkdnet.evaluation.protocol import Protocol
from alkdnet.results.unfinished import Unfinished

Photograph = Callable[..., ImageHWC]


def test_an_evaluation_that_was_cut_off_goes_on(
    make_set: Callable[..., BenchmarkSet], photograph: Photograph, tmp_path: Path
) -> None:
    made = make_set("A", {f"{index}": photograph(index) for index in range(6)})
    upscaled = []

    def bicubic(lr_HWC: ImageHWC) -> ImageHWC:
        upscaled.append(1)
        return upscale(lr_HWC, 2)

    def cut_off(lr_HWC: ImageHWC) -> ImageHWC:
        if len(upscaled) == 4:
            raise KeyboardInterrupt
        return bicubic(lr_HWC)

    path = tmp_path / "scores" / "row.jsonl"
    whole = evaluate(bicubic, [made], scale=2, protocol=Protocol())
    upscaled.clear()
    with pytest.raises(KeyboardInterrupt):
        evaluate(cut_off, [made], scale=2, protocol=Protocol(), unfinished=Unfinished(path))
    with path.open("a") as file:
        file.write('["cut o')
    kept = Unfinished(path)
    assert kept.images == 4
    upscaled.clear()
    found = evaluate(bicubic, [made], scale=2, protocol=Protocol(), unfinished=kept)
    assert len(upscaled) == 2
    assert found.images.equals(whole.images)
    assert Unfinished(path).images == 6
    kept.remove()
    assert Unfinished(path).images == 0


@pytest.mark.parametrize(
    "damaged",
    [b"\0" * 40, b"\xff\n", b"[]\n", b'["b", 1]\n', b'["b", {"psnr": "x"}]\n', b'["b", {"psnr": NaN}]\n'],
)
def test_a_damaged_line_is_left_out(damaged: bytes, tmp_path: Path) -> None:
    path = tmp_path / "row.jsonl"
    whole = b'["a", {"psnr": 30.5}]\n'
    path.write_bytes(whole + damaged)
    assert (Unfinished(path).images, Unfinished(path).get("a")) == (1, {"psnr": 30.5})
    assert path.read_bytes() == whole


def test_an_image_that_has_changed_is_measured_again(
    make_set: Callable[..., BenchmarkSet], photograph: Photograph, tmp_path: Path
) -> None:
    path = tmp_path / "row.jsonl"
    for index in (0, 1):
        made = make_set(f"set{index}", {"a": photograph(index)})
        evaluate(
            lambda lr_HWC: upscale(lr_HWC, 2),
            [made],
            scale=2,
            protocol=Protocol(),
            unfinished=Unfinished(path),
        )
    assert Unfinished(path).images == 2
