from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.inference.upscaler import Upscaler
from alkdnet.kernels.cpu.alkdnet import FastALKDNet
from alkdnet.networks import build
from alkdnet.upscaling import memory
from alkdnet.upscaling.memory import PeakBytes, check_tiles, free_memory

WIDTH, SCALE = 60, 4


class Nearest(nn.Module):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.interpolate(x_BCHW, scale_factor=SCALE)


def peak_bytes(height: int) -> int:
    with PeakBytes() as counted:
        Upscaler(Nearest(), tile=96)(np.zeros((height, WIDTH, 3), np.uint8))
    return counted.peak


def test_in_tiles_no_more_than_the_source_is_held_as_floats() -> None:
    more = 1000 * WIDTH  # pixels of the source
    growth = (peak_bytes(1200) - peak_bytes(200)) / more
    # Three channels of 8 bits and as float32; the large image as float32 would be 192 bytes more.
    assert 12 <= growth < 20


@pytest.mark.parametrize(
    ("network", "dtype", "is_fast"),
    [
        ("alkdnet", torch.float32, True),
        ("bsrn", torch.float32, True),
        ("imdn", torch.float32, False),
        ("bsrn", torch.bfloat16, False),
    ],
)
def test_the_estimate_is_that_of_the_form_that_inference_takes(
    network: str, dtype: torch.dtype, is_fast: bool
) -> None:
    model = build(network, 2, {"blocks": 1})
    upscaler = Upscaler(model, dtype=None if dtype == torch.float32 else dtype)
    assert isinstance(upscaler._forward, FastALKDNet) == is_fast
    estimate = memory.bytes_per_pixel(model, torch.device("cpu"), dtype)
    assert (estimate == memory._FAST) == is_fast


def test_a_picture_that_does_not_fit_even_in_tiles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: 2 * 2**30)
    check_tiles(2500, 2500, 4, tile=192)  # 100 megapixels
    with pytest.raises(MemoryError, match="10000x10000 pixels, 40000x40000 when enlarged, need about 1"):
        check_tiles(10_000, 10_000, 4, tile=192)


def test_the_limit_of_a_container_or_job_is_kept(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("1:cpu:/other\n0::/job/step\n")
    step = tmp_path / "job" / "step"
    step.mkdir(parents=True)
    for folder, limit in ((step, "max"), (step.parent, "4000")):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("3000\n")
        (folder / "memory.stat").write_text("anon 2000\ninactive_file 500\n")
    assert list(memory._free_in_groups(membership, tmp_path)) == [1500]
    assert list(memory._free_in_groups(tmp_path / "none", tmp_path)) == []


def test_memory_that_pytorch_keeps_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second picture of a size is computed as the first one was."""
    for name, value in (
        ("mem_get_info", (10, 80)),
        ("memory_reserved", 50),
        ("memory_allocated", 20),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert free_memory(torch.device("cuda")) == 40
