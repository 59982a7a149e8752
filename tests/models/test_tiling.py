import itertools

import pytest
import torch
from torch import Tensor

from alkdnet.models.tiling import GRID, OVERLAP, Tiled


def nearest(x_BCHW: Tensor) -> Tensor:
    """A network without surroundings: its tiles are the whole."""
    return x_BCHW.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.mark.parametrize("size", [(1, 1), (36, 36), (37, 36), (41, 100), (97, 61), (150, 13)])
@pytest.mark.parametrize(("tile", "overlap"), [(36, 24), (41, 18), (32, 0)])
def test_weights_of_the_tiles_add_up_to_one(size: tuple[int, int], tile: int, overlap: int) -> None:
    torch.manual_seed(0)
    x_BCHW = torch.rand(2, 3, *size)
    found = Tiled(nearest, tile=tile, overlap=overlap)(x_BCHW)
    torch.testing.assert_close(found, nearest(x_BCHW), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [36, 37, 42, 61, 100, 1000])
def test_tiles_start_on_the_grid_overlap_and_cover(size: int) -> None:
    seen = []

    def record(x_BCHW: Tensor) -> Tensor:
        seen.append((int(x_BCHW[0, 0, 0, 0]), int(x_BCHW[0, 0, 0, -1]) + 1))
        return x_BCHW

    Tiled(record, tile=36, overlap=24)(torch.arange(size).float().expand(1, 1, 5, size))
    assert seen[0][0] == 0
    assert seen[-1][1] == size
    for start, end in seen:
        assert start % GRID == 0
        assert end - start <= 36
    for (_, end), (start, _) in itertools.pairwise(seen):
        assert end - start >= 24


def test_blending_leaves_no_seam() -> None:
    """Tiles that disagree by 1 meet in a ramp over the overlap."""
    calls = iter(range(100))
    tiled = Tiled(lambda x_BCHW: torch.full_like(x_BCHW, float(next(calls))), tile=96)
    y_W = tiled(torch.zeros(1, 3, 20, 168))[0, 0, 0]
    assert y_W[0] == 0
    assert y_W[-1] == 1
    assert y_W.diff().abs().max() <= 1 / OVERLAP + 1e-6


@pytest.mark.parametrize(("tile", "overlap", "message"), [(24, 24, "at least 30"), (96, 10, "multiple of 6")])
def test_impossible_tiles_are_refused(tile: int, overlap: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tiled(nearest, tile=tile, overlap=overlap)
