"""Folders of runs: importing released weights into one, loading the network of one."""

from pathlib import Path

import pytest
import torch

from alkdnet.config.params import Released
from alkdnet.errors import UserError
from alkdnet.files import sha256_file
from alkdnet.networks import build
from alkdnet.results.run import Published, RunRecord
from alkdnet.weights.files import load_weights, save_weights
from alkdnet.weights.runs import import_run, load_run

SMALL = {"blocks": 1, "channels": 8}


def row() -> Released:
    return Released(network="alkdnet", scale=2, source="mine", options=SMALL)


def test_released_weights_become_a_run(tmp_path: Path) -> None:
    published = build("alkdnet", 2, SMALL)
    inputs = tmp_path / "in"
    inputs.mkdir()
    torch.save(published.state_dict(), inputs / "net.pth")
    import_run(row(), inputs, tmp_path / "out")
    model = build("alkdnet", 2, SMALL)
    load_weights(tmp_path / "out" / "weights.safetensors", model)
    assert torch.equal(model.tail.weight, published.tail.weight)
    record = RunRecord.read(tmp_path / "out")
    assert record.training is None
    assert record.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("names", [[], ["a.pth", "b.pth"], ["a.bin", "b.param"]])
def test_other_than_one_file_is_rejected(tmp_path: Path, names: list[str]) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in names:
        (inputs / name).touch()
    with pytest.raises(UserError, match=f"expected one file of released weights, found {len(names)}"):
        import_run(row(), inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pair_is_one_file(tmp_path: Path) -> None:
    for name in ("a.bin", "a.param"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"a\.param: not a \.param file of weights"):
        import_run(row(), tmp_path, tmp_path / "out")


def test_the_network_of_a_run_is_loaded_with_its_weights(tmp_path: Path) -> None:
    published = build("alkdnet", 2, SMALL)
    (tmp_path / "in").mkdir()
    torch.save(published.state_dict(), tmp_path / "in/net.pth")
    import_run(row(), tmp_path / "in", tmp_path / "out")
    model, record = load_run(tmp_path / "out")
    assert torch.equal(model.tail.weight, published.tail.weight)
    assert record.published == Published(source="mine", sha256=sha256_file(tmp_path / "in/net.pth"))
    with torch.no_grad():
        model.tail.weight += 1
    save_weights(tmp_path / "out/weights.safetensors", model)
    with pytest.raises(UserError, match=r"weights\.safetensors: not the weights that run\.json describes"):
        load_run(tmp_path / "out")
