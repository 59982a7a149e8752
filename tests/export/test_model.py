import inspect
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alkdnet.errors import UserError
from alkdnet.export import model as export
from alkdnet.export.model import OPSET, export_onnx, export_program
from alkdnet.networks import build, network_class, network_names

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SMALL = {"blocks": 1, "layers": 2, "units": 1}
NETWORKS = [name for name in network_names() if name != "bicubic"]


def _small(network: str, scale: int) -> nn.Module:
    options = inspect.signature(network_class(network)).parameters
    torch.manual_seed(0)
    return build(network, scale, {name: value for name, value in SMALL.items() if name in options})


def _written(network: str, scale: int, path: Path) -> None:
    assert export_onnx(_small(network, scale), path, metadata={"network": network}) <= 1e-5
    file = onnx.load(path)
    onnx.checker.check_model(file)
    shapes = [
        [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*file.graph.input, *file.graph.output)
    ]
    assert shapes[0] == ["batch", 3, "height", "width"]
    assert shapes[1] == ["batch", 3, f"{scale}*height", f"{scale}*width"]
    assert [(entry.domain, entry.version) for entry in file.opset_import] == [("", OPSET)]
    assert {"network": network}.items() <= {entry.key: entry.value for entry in file.metadata_props}.items()


def test_alkdnet_has_free_sizes_and_agrees_with_onnxruntime(tmp_path: Path) -> None:
    _written("alkdnet", 2, tmp_path / "small.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]


def test_program_has_free_sizes(tmp_path: Path) -> None:
    model = _small("bsrn", 2).eval()
    assert export_program(model, tmp_path / "small.pt2") <= 1e-5
    program = torch.export.load(tmp_path / "small.pt2").module()
    x_BCHW = torch.rand(3, 3, 24, 57)
    with torch.no_grad():
        torch.testing.assert_close(program(x_BCHW), model(x_BCHW), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_free_sizes_and_agrees_with_onnxruntime(network: str, tmp_path: Path) -> None:
    _written(network, 3, tmp_path / "small.onnx")


@pytest.mark.parametrize("size", [(8, 15), (15, 16), (23, 40), (61, 83)])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_gathered_pool_is_the_adaptive_pool(size: tuple[int, int], reduction: int) -> None:
    x_BCHW = torch.rand(2, 3, *size)
    cells = size[0] // reduction, size[1] // reduction
    assert torch.equal(export._adaptive_max_pool(x_BCHW, cells), F.adaptive_max_pool2d(x_BCHW, cells))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_convolution_is_the_bicubic_interpolation(scale: int) -> None:
    x_BCHW = torch.rand(2, 3, 17, 12)
    expected_BCHW = F.interpolate(x_BCHW, scale_factor=scale, mode="bicubic", antialias=True)
    inner = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    torch.testing.assert_close(
        export._bicubic(x_BCHW, scale=scale)[inner], expected_BCHW[inner], atol=1e-6, rtol=0
    )


class _NotAsTraced(nn.Conv2d):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = super().forward(x_BCHW)
        return y_BCHW if torch.compiler.is_compiling() else y_BCHW + 2e-5


def test_file_that_disagrees_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"differs from PyTorch by 2\..*e-05"):
        export_onnx(_NotAsTraced(3, 3, 1), tmp_path / "wrong.onnx", metadata={})
    assert not list(tmp_path.iterdir())


def test_bicubic_interpolation_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no weights"):
        export_onnx(build("bicubic", 2, {}), tmp_path / "bicubic.onnx", metadata={})


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None if name == "onnx" else True)
    with pytest.raises(UserError, match=r"needs onnx: pip install 'alkdnet\[onnx\]'"):
        export_onnx(_small("alkdnet", 2), tmp_path / "small.onnx", metadata={})
