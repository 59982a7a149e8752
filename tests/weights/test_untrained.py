"""Runs that need no training."""

import hashlib
from pathlib import Path

import pytest
import torch
from alkdnet.weights.untrained import write_untrained_run

from alkdnet.config.params import Run
from alkdnet.errors import UserError
from alkdnet.files import read_json
from alkdnet.networks import build
from alkdnet.weights.files import load_weights

SMALL = {"blocks": 1, "channels": 8}


def row(kind: str = "released") -> Run:
    return Run(kind=kind, network="alkdnet", scale=2, inputs="raw/weights/mine", options=SMALL)


def test_released_weights_become_a_run(tmp_path: Path) -> None:
    published = build("alkdnet", 2, SMALL)
    inputs = tmp_path / "in"
    inputs.mkdir()
    torch.save(published.state_dict(), inputs / "net.pth")
    write_untrained_run(row(), inputs, tmp_path / "out")
    model = build("alkdnet", 2, SMALL)
    load_weights(tmp_path / "out" / "weights.safetensors", model)
    assert torch.equal(model.tail.weight, published.tail.weight)
    record = read_json(tmp_path / "out" / "run.json")
    assert record["published_sha256"] == hashlib.sha256((inputs / "net.pth").read_bytes()).hexdigest()
    assert record["parameters"] == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("names", [[], ["a.pth", "b.pth"], ["a.bin", "b.param"]])
def test_other_than_one_file_is_rejected(tmp_path: Path, names: list[str]) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in names:
        (inputs / name).touch()
    with pytest.raises(UserError, match=f"expected one file of released weights, found {len(names)}"):
        write_untrained_run(row(), inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pair_is_one_file(tmp_path: Path) -> None:
    for name in ("a.bin", "a.param"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"a\.param: not a \.param file of weights"):
        write_untrained_run(row(), tmp_path, tmp_path / "out")


def test_an_interpolation_has_a_record_and_no_weights(tmp_path: Path) -> None:
    run = Run(kind="interpolation", network="bicubic", scale=2, inputs="checked/ok", options={})
    write_untrained_run(run, tmp_path, tmp_path / "out")
    record = read_json(tmp_path / "out" / "run.json")
    assert (record["parameters"], record["published_sha256"]) == (0, None)
