"""Folders of runs: released weights imported into one, and the network of one loaded."""

import hashlib
from pathlib import Path

import pytest
import torch

from alkdnet.config.params import Released
from alkdnet.errors import UserError
from alkdnet.networks import build
from alkdnet.weights.runs import import_run, load_run

SMALL = {"blocks": 1, "channels": 8}
ROW = Released(network="alkdnet", scale=2, source="alkdnet_x2", options=SMALL)


def test_released_weights_become_a_run(tmp_path: Path) -> None:
    published = build("alkdnet", 2, SMALL)
    inputs = tmp_path / "in"
    inputs.mkdir()
    torch.save(published.state_dict(), inputs / "net.pth")
    import_run(ROW, inputs, tmp_path / "out")
    model, record = load_run(tmp_path / "out")
    assert torch.equal(model.tail.weight, published.tail.weight)
    assert record.published is not None
    assert record.published.sha256 == hashlib.sha256((inputs / "net.pth").read_bytes()).hexdigest()
    assert record.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("names", [[], ["a.pth", "b.pth"], ["a.bin", "b.param"]])
def test_other_than_one_file_is_rejected(tmp_path: Path, names: list[str]) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in names:
        (inputs / name).touch()
    with pytest.raises(UserError, match=f"expected one file of released weights, found {len(names)}"):
        import_run(ROW, inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pair_is_one_file(tmp_path: Path) -> None:
    for name in ("a.bin", "a.param"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"a\.param: not a \.param file of weights"):
        import_run(ROW, tmp_path, tmp_path / "out")
