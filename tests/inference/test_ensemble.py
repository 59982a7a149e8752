import pytest
import torch
from torch import Tensor, nn

from alkdnet.inference.ensemble import SelfEnsemble
from alkdnet.networks import build


def enlarged(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_a_network_that_knows_the_symmetries_is_left_as_it_is() -> None:
    x_BCHW = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(SelfEnsemble(enlarged)(x_BCHW), enlarged(x_BCHW), rtol=0, atol=1e-6)


def test_every_symmetry_is_asked_once() -> None:
    seen: list[Tensor] = []

    def network(x_BCHW: Tensor) -> Tensor:
        seen.append(x_BCHW.clone())
        return x_BCHW

    x_BCHW = torch.arange(4.0).reshape(1, 1, 2, 2)
    y_BCHW = SelfEnsemble(network)(x_BCHW)
    assert len({tuple(each.flatten().tolist()) for each in seen}) == 8
    torch.testing.assert_close(y_BCHW, x_BCHW)


def test_the_result_rotates_with_the_image() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    x_BCHW = torch.rand(1, 3, 6, 9)
    with torch.no_grad():
        y_BCHW = SelfEnsemble(model)(x_BCHW)
        for turned in (lambda t: t.rot90(1, (2, 3)), lambda t: t.flip(3), lambda t: t.transpose(2, 3)):
            assert not torch.allclose(model(turned(x_BCHW)), turned(model(x_BCHW)), atol=1e-3)
            torch.testing.assert_close(SelfEnsemble(model)(turned(x_BCHW)), turned(y_BCHW), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (13, 20)])
def test_it_takes_a_network_of_the_library(size: tuple[int, int]) -> None:
    model = build("alkdnet", 3, {"channels": 16, "blocks": 1}).eval()
    x_BCHW = torch.rand(1, 3, *size)
    with torch.no_grad():
        y_BCHW = SelfEnsemble(model)(x_BCHW)
    assert y_BCHW.shape == (1, 3, 3 * size[0], 3 * size[1])
    assert y_BCHW.isfinite().all()
