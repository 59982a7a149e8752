from pathlib import Path

import pytest
import torch

from alkdnet.kernels.cpu import strips
from alkdnet.kernels.cpu.strips import LEAST_PIXELS, MOST_PIXELS, SUMMED_PIXELS, best_strip_pixels, moments


@pytest.mark.parametrize("pixels", [1, SUMMED_PIXELS, 3 * SUMMED_PIXELS + 5])
def test_moments_are_those_of_float64_far_from_zero(pixels: int) -> None:
    torch.manual_seed(0)
    x_PC = 100 + torch.randn(2 * pixels + 3, 5)
    std_C, mean_C = moments([x_PC[:pixels], x_PC[pixels:]])
    double_C, exact_C = torch.std_mean(x_PC.double(), 0, correction=0)
    # A plain sum of squares would leave nothing of the deviation: 100 squared times 6e-8 is 6e-4.
    torch.testing.assert_close(std_C.double(), double_C, rtol=2e-5, atol=0)
    torch.testing.assert_close(mean_C.double(), exact_C, rtol=2e-6, atol=0)


@pytest.mark.parametrize(
    ("cache", "pixels"),
    [("8192K\n", LEAST_PIXELS), ("32768K\n", 21_845), ("491520K\n", MOST_PIXELS), ("", LEAST_PIXELS)],
)
def test_strips_are_as_long_as_the_cache_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str, pixels: int
) -> None:
    (tmp_path / "size").write_text(cache)
    monkeypatch.setattr(strips, "LAST_LEVEL_CACHE", tmp_path / "size")
    assert best_strip_pixels() == pixels


def test_strips_without_a_known_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "LAST_LEVEL_CACHE", tmp_path / "none")
    assert best_strip_pixels() == LEAST_PIXELS
