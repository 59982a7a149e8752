import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alkdnet.inference.tiling import GRID, OVERLAP, Tiled, _cores
from alkdnet.layers.attention import CCA, ESA


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
    """Tiles that disagree by 1 meet in a ramp over the middle half of the overlap."""
    calls = iter(range(100))
    tiled = Tiled(lambda x_BCHW: torch.full_like(x_BCHW, float(next(calls))), tile=96)
    y_W = tiled(torch.zeros(1, 3, 20, 144))[0, 0, 0]
    assert y_W[0] == 0
    assert y_W[-1] == 1
    assert y_W.diff().abs().max() <= 2 / OVERLAP + 1e-6


def test_channel_attentions_see_the_statistics_of_the_image() -> None:
    """A network that is nothing but channel attentions becomes equal to the whole, one after another."""
    torch.manual_seed(0)
    attention = CCA(4, reduction=2)
    x_BCHW = torch.rand(2, 4, 70, 131) * torch.linspace(0, 3, 131)
    with torch.inference_mode():
        whole_BCHW = attention(x_BCHW)
        own_BCHW = Tiled(attention, tile=36, overlap=24)(x_BCHW)
        shared_BCHW = Tiled(attention, tile=36, overlap=24, attentions=[attention])(x_BCHW)
        assert (own_BCHW - whole_BCHW).abs().max() > 0.01
        torch.testing.assert_close(shared_BCHW, whole_BCHW, atol=1e-6, rtol=0)
        # The hook is silent outside.
        assert torch.equal(attention(x_BCHW), whole_BCHW)


@pytest.mark.parametrize("padding", [0, 1])
def test_the_grid_of_a_spatial_attention_is_aligned_as_over_the_image(padding: int) -> None:
    torch.manual_seed(0)
    attention = ESA(8, 4, padding=padding)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter *= 3  # a mask with contrast
    x_BCHW = F.avg_pool2d(torch.rand(1, 8, 260, 320), 9, 1, 4) * 10
    with torch.inference_mode():
        whole_BCHW = attention(x_BCHW)
        own = (Tiled(attention, tile=156)(x_BCHW) - whole_BCHW).abs()
        laid = (Tiled(attention, tile=156, attentions=[attention])(x_BCHW) - whole_BCHW).abs()
        assert laid.mean() < own.mean() / 5
        # One tile is the image.
        tiled = Tiled(attention, tile=330, attentions=[attention])
        torch.testing.assert_close(tiled(x_BCHW), whole_BCHW, atol=1e-4, rtol=0)


def test_threads_do_not_share_their_statistics() -> None:
    torch.manual_seed(0)
    attention = CCA(4, reduction=2)
    tiled = Tiled(attention, tile=36, overlap=24, attentions=[attention])
    images = [torch.rand(1, 4, 60, 60) * (number + 1) for number in range(6)]
    with ThreadPoolExecutor(3) as pool, torch.inference_mode():
        alone = [tiled(x_BCHW) for x_BCHW in images]
        for found, expected in zip(pool.map(tiled, images), alone, strict=True):
            assert torch.equal(found, expected)


@pytest.mark.parametrize("size", [30, 61, 100])
def test_cores_are_the_image_once(size: int) -> None:
    spans = [(start, min(start + 36, size)) for start in range(0, max(size - 12, 1), 12)]
    covered = [
        x for (start, _), core in _cores(spans).items() for x in range(start + core.start, start + core.stop)
    ]
    assert covered == list(range(size))


@pytest.mark.parametrize(("tile", "overlap", "message"), [(24, 24, "at least 30"), (96, 10, "multiple of 6")])
def test_impossible_tiles_are_rejected(tile: int, overlap: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tiled(nearest, tile=tile, overlap=overlap)
