"""What a training takes of the weights of another row, and what it records of them."""

from pathlib import Path

import pytest
import torch

from alkdnet.errors import UserError
from alkdnet.files import sha256_file
from alkdnet.networks import build
from alkdnet.training.initialisation import start_from
from alkdnet.weights.files import save_weights
from tests.training.trainer import SMALL


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Weights of the small network at x2."""
    torch.manual_seed(1)
    (tmp_path / "alkdnet_x2").mkdir()
    file = tmp_path / "alkdnet_x2" / "weights.safetensors"
    save_weights(file, build("alkdnet", 2, SMALL))
    return file


def test_all_but_the_tail_of_another_scale_is_taken(start: Path) -> None:
    parent = build("alkdnet", 2, SMALL)
    start_from(start, parent)
    torch.manual_seed(2)
    model = build("alkdnet", 4, SMALL)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    record = start_from(start, model)
    assert (record.row, record.weights_sha256) == ("alkdnet_x2", sha256_file(start))
    assert sorted(record.new) == sorted(record.unused)
    assert str(record) == (
        "starts from alkdnet_x2; new: tail.weight, tail.bias; not taken: tail.bias, tail.weight"
    )
    for name, tensor in model.state_dict().items():
        expected = before[name] if name in record.new else parent.state_dict()[name]
        assert torch.equal(tensor, expected), name


def test_the_same_network_is_taken_whole(start: Path) -> None:
    record = start_from(start, build("alkdnet", 2, SMALL))
    assert (record.new, record.unused) == ((), ())


def test_weights_of_which_nothing_fits_are_rejected(start: Path) -> None:
    with pytest.raises(UserError, match=r"weights.safetensors: no tensor fits SRCNN by name and shape"):
        start_from(start, build("srcnn", 2, {}))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file of weights"):
        start_from(tmp_path / "x.safetensors", build("alkdnet", 2, SMALL))
