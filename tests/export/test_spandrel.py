from pathlib import Path

import pytest
import torch

from alkdnet.export.authors import AUTHORS_NAMES, save_authors_weights
from alkdnet.networks import build
from alkdnet.sources.catalogue import SOURCES
from alkdnet.weights.files import save_weights

try:
    import spandrel
except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that is of another torch
    pytest.skip(f"spandrel cannot be imported: {error}", allow_module_level=True)

from alkdnet.export.spandrel import ARCHITECTURES


@pytest.fixture
def loader() -> spandrel.ModelLoader:
    registry = spandrel.MAIN_REGISTRY.copy()
    registry.add(*ARCHITECTURES)
    return spandrel.ModelLoader(registry=registry)


@pytest.mark.parametrize("save", [save_authors_weights, save_weights])
@pytest.mark.parametrize("network", sorted(set(AUTHORS_NAMES) - {"safmn"}))
def test_exported_weights_are_recognised(network, save, loader, tmp_path: Path) -> None:
    model = build(network, 3, {}).eval()
    save(tmp_path / "weights.safetensors", model)
    loaded = loader.load_from_file(tmp_path / "weights.safetensors")
    assert (loaded.architecture.id, loaded.scale) == (f"alkdnet.{network}", 3)
    x_BCHW = torch.rand(1, 3, 10, 17)
    with torch.inference_mode():
        assert torch.equal(loaded(x_BCHW), model(x_BCHW).clamp(0, 1))


def test_own_architecture_of_spandrel_takes_the_exported_safmn(loader, tmp_path: Path) -> None:
    model = build("safmn", 2, {}).eval()
    save_authors_weights(tmp_path / "weights.pth", model)
    loaded = loader.load_from_file(tmp_path / "weights.pth")
    x_BCHW = torch.rand(1, 3, 16, 24)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(x_BCHW), model(x_BCHW).clamp(0, 1), atol=1e-5, rtol=0)


def test_weights_of_other_options_are_not_taken_for_the_network(loader, tmp_path: Path) -> None:
    save_authors_weights(tmp_path / "weights.pth", build("alkdnet", 2, {"channels": 32}))
    with pytest.raises(spandrel.UnsupportedModelError):
        loader.load_from_file(tmp_path / "weights.pth")


@pytest.mark.data
@pytest.mark.parametrize("name", ["alkdnet_x4", "bsrn_x4", "imdn_x4", "cfsr_x4", "lkdn_x4", "smfanet_x4"])
def test_published_file_is_recognised(name: str, loader, data_dir: Path) -> None:
    source = SOURCES[name]
    file = data_dir / "mirror" / source.files[0].urls[0].removeprefix("https://")
    if not file.is_file():
        pytest.skip(f"the mirror lacks {file.name}")
    loaded = loader.load_from_file(file)
    assert (loaded.architecture.id, loaded.scale) == (f"alkdnet.{source.network}", 4)
