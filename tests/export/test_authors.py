from pathlib import Path

import pytest
import torch
from torch import nn

from alkdnet.errors import UserError
from alkdnet.export.authors import AUTHORS_NAMES, authors_state_dict, save_authors_weights
from alkdnet.networks import build
from alkdnet.sources.catalogue import SOURCES, Source
from alkdnet.weights.formats import read_tensors
from alkdnet.weights.released import import_released

FROM_PICKLES = [
    source
    for source in SOURCES.values()
    if source.network in AUTHORS_NAMES and source.files[0].name.endswith(".pth")
]


def _same(model: nn.Module, other: nn.Module) -> bool:
    other_state = other.state_dict()
    return all(torch.equal(tensor, other_state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("network", AUTHORS_NAMES)
def test_weights_come_back_by_the_authors_names(network: str, suffix: str, tmp_path: Path) -> None:
    model = build(network, 2, {})
    path = tmp_path / f"net_g{suffix}"
    save_authors_weights(path, model)
    assert not set(read_tensors(path)) & {name for name in model.state_dict() if name.startswith("blocks")}
    again = build(network, 2, {})
    import_released(path, again)
    assert _same(model, again)


def test_pickle_is_as_basicsr_writes_it(tmp_path: Path) -> None:
    save_authors_weights(tmp_path / "net_g.pth", build("alkdnet", 2, {"blocks": 1}))
    content = torch.load(tmp_path / "net_g.pth", weights_only=True)
    assert list(content) == ["params"]
    assert "B1.c1_r.LoRA1.weight" in content["params"]


def test_network_without_known_names_is_rejected() -> None:
    with pytest.raises(UserError, match="vdsr cannot be written as its authors have them"):
        authors_state_dict(build("vdsr", 2, {"layers": 2}))


@pytest.mark.data
@pytest.mark.parametrize("source", FROM_PICKLES, ids=lambda source: source.name)
def test_names_are_those_of_the_published_file(source: Source, data_dir: Path) -> None:
    file = data_dir / "mirror" / source.files[0].urls[0].removeprefix("https://")
    if not file.is_file():
        pytest.skip(f"the mirror lacks {file.name}")
    assert source.network is not None
    model = build(source.network, source.scales[0], {})
    import_released(file, model)
    published = read_tensors(file)
    written = authors_state_dict(model)
    assert written.keys() == published.keys()
    assert all(torch.equal(tensor, published[name].float()) for name, tensor in written.items())
