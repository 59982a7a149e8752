"""Wrong names and options, and weights to and from files."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from alkdnet import networks
from alkdnet.errors import UserError
from alkdnet.networks import build, check_options, network_class, network_names
from alkdnet.weights.files import load_weights, save_weights

SMALL = {"blocks": 1, "channels": 8}


def test_names_are_the_files_of_networks(repository):
    files = (repository / "src/alkdnet/networks").glob("[a-z]*.py")
    assert network_names() == sorted(file.stem for file in files)


def test_unknown_network_names_the_known():
    with pytest.raises(UserError, match=r"no network 'edsr'; there are: alkdnet, bicubic"):
        network_class("edsr")


@pytest.mark.parametrize(
    ("network", "options", "problem"),
    [
        ("edsr", {}, "no network 'edsr'"),
        ("alkdnet", {"block": 3}, "has no option 'block'; it has: blocks, channels, kernel_size"),
        ("alkdnet", {"scale": 3}, "has no option 'scale'"),
        ("alkdnet", {"blocks": 1.0}, "blocks must be a whole number, not 1.0"),
        ("alkdnet", {"blocks": True}, "blocks must be a whole number, not True"),
        ("alkdnet", {"blocks": None}, "blocks must be a whole number, not None"),
        ("bsrn", {"block_norm": 1}, "block_norm must be true or false, not 1"),
        ("bsrn", {"residual": "all"}, "residual must be one of 'fsrl', 'abrl', 'both', not 'all'"),
        ("bsrn", {"kernel_size": 5}, "kernel_size 5 has no effect with convolution bsconv"),
        ("alkdnet", {"kernel_size": 4}, "kernel_size must be odd"),
        ("alkdnet", {"channels": 63}, "channels must be a multiple of 4"),
        # Each of these took minutes or all memory.
        ("alkdnet", {"channels": 10**18}, "channels must be at most 4096, not 1000000000000000000"),
        ("alkdnet", {"blocks": 10**18}, "blocks must be at most 4096, not 1000000000000000000"),
        ("alkdnet", {"blocks": -(10**400)}, "blocks must be at most 4096, not -1000000000"),
        ("alkdnet", {"blocks": 4096}, "more than 5,000 modules"),
        ("cfsr", {"layers": 4096, "blocks": 4096}, "more than 5,000 modules"),
        ("alkdnet", {"channels": 4096}, "1,221,195,788 parameters are too many; at most 500,000,000"),
    ],
)
def test_problems_in_words(network, options, problem):
    (found,) = check_options(network, options)
    assert problem in found
    with pytest.raises(UserError) as error:
        build(network, 2, options)
    assert found in str(error.value)


class _Unclear(nn.Module):
    def __init__(self, *, scale, width: int, untyped=3, listed: list = (), fine: int | None = None):
        super().__init__()


def test_a_network_whose_arguments_cannot_be_options_is_told_so(monkeypatch):
    monkeypatch.setattr(networks, "network_class", lambda name: _Unclear)
    (found,) = check_options("alkdnet", {"width": 3})
    assert found.startswith(
        "alkdnet: width, untyped, listed of _Unclear.__init__ must have a default and a type"
    )


def test_every_problem_is_reported():
    assert len(check_options("alkdnet", {"blocks": "8", "kernel": 3})) == 2


def test_no_problem():
    assert check_options("bsrn", {"blocks": 2, "residual": "fsrl", "block_norm": False}) == []


def test_scale_is_checked():
    with pytest.raises(UserError, match="scale must be at least 1 and at most 16, not 0"):
        build("alkdnet", 0, {})
    with pytest.raises(UserError, match="not 1000000000000000000"):
        build("alkdnet", 10**18, {})


def test_checking_draws_no_random_numbers():
    """Or a check before training would change what is trained."""
    state = torch.random.get_rng_state()
    check_options("alkdnet", SMALL)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_weights_round_trip_and_bytes_are_equal(tmp_path):
    torch.manual_seed(0)
    model = build("alkdnet", 2, SMALL)
    save_weights(tmp_path / "a.safetensors", model)
    other = build("alkdnet", 2, SMALL).to(memory_format=torch.channels_last)
    load_weights(tmp_path / "a.safetensors", other)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    save_weights(tmp_path / "b.safetensors", other)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def _make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _edit(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return edit


@pytest.mark.parametrize(
    ("mutilate", "message"),
    [
        (Path.unlink, "no such file"),
        (lambda path: path.write_bytes(b""), "not a safetensors file"),
        (lambda path: path.write_bytes(b"<html>404</html>"), "not a safetensors file"),
        (_truncate, "not a safetensors file"),
        (_edit(lambda tensors: tensors.pop("tail.bias")), "missing tail.bias"),
        (_edit(lambda tensors: tensors.update(extra=torch.ones(1))), "unknown extra"),
        (_edit(lambda tensors: tensors["tail.bias"].fill_(torch.nan)), "tail.bias holds NaN or infinity"),
        (_edit(lambda tensors: tensors["tail.bias"].fill_(torch.inf)), "tail.bias holds NaN or infinity"),
        (
            _edit(lambda tensors: tensors.update({"tail.bias": torch.ones(12, dtype=torch.int32)})),
            "tail.bias has torch.int32, not floating-point numbers",
        ),
        (_make_directory, "is a directory, not a file of weights"),
        (
            _edit(lambda tensors: tensors.update({"tail.bias": torch.ones(3)})),
            r"wrong shape tail.bias \[3\] instead of \[12\]",
        ),
    ],
)
def test_wrong_files_are_rejected(tmp_path, mutilate, message):
    path = tmp_path / "w.safetensors"
    model = build("alkdnet", 2, SMALL)
    save_weights(path, model)
    mutilate(path)
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(UserError, match=message) as error:
        load_weights(path, model)
    assert str(path) in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
