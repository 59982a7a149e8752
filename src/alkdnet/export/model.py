"""Networks with their weights as files for other programs.

ONNX for onnxruntime, OpenVINO, TensorRT and what builds on them, torch.export's .pt2 for PyTorch without this
library, C++ included; the weights alone, by the authors' names: authors.py.

Shape letters: B batch, C channels, H and W the LR size, s the scale.
"""

import copy
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from alkdnet.errors import UserError
from alkdnet.export.authors import save_authors_weights
from alkdnet.files import atomic_path, sha256_file

SUFFIXES = (".onnx", ".pt2", ".pth", ".safetensors")
OPSET = 18
INPUT, OUTPUT = "lr", "sr"
# Largest difference from PyTorch, of values in [0, 1]: a two-hundredth of a level of 255.
TOLERANCE = 1e-5
# H and W that the graph is traced with, and two more that it is checked on beside the smallest possible.
_TRACED, _CHECKED = (48, 40), ((61, 83), (96, 45))
_SMALLEST_PROGRAM = 24
_NEEDED = ("onnx", "onnxruntime", "onnxscript")


def export_model(model: nn.Module, path: Path, *, weights: Path) -> str:
    """Write a network in the format of the path's suffix, one of `SUFFIXES`; return a message.

    Args:
        model: the network, in float32.
        path: the file to write.
        weights: where its weights come from; ONNX's metadata has the name and the digest.

    Raises:
        UserError: as `export_onnx`, `export_program` and `save_authors_weights`.
    """
    if path.suffix in (".pth", ".safetensors"):
        save_authors_weights(path, model)
        return f"{path}: the weights of {weights} by the authors' names"
    if path.suffix == ".pt2":
        difference = export_program(model, path)
        return f"{path}: torch.export, any height and width from {_SMALLEST_PROGRAM}; {difference:.0e} off"
    metadata = {
        "network": type(model).__name__,
        "scale": str(model.scale),
        "weights": weights.name,
        "weights_sha256": sha256_file(weights),
    }
    difference = export_onnx(model, path, metadata=metadata)
    minimum = _minimum_size(model)
    return f"{path}: ONNX, opset {OPSET}, any height and width from {minimum}; {difference:.0e} off"


def export_onnx(model: nn.Module, path: Path, *, metadata: Mapping[str, str]) -> float:
    """Write a network with its weights as an ONNX file; return its largest difference from PyTorch.

    The file takes `lr`, float32 RGB in [0, 1] of shape (B, 3, H, W) with any B, H and W, and gives `sr`,
    (B, 3, Hs, Ws), not clipped. H and W are `minimum_size` or more, as the file's metadata says: PyTorch's
    network pads what is smaller. It is kept only if onnxruntime agrees with PyTorch within `TOLERANCE` on
    three sizes, the smallest among them.

    Args:
        model: the network, in float32. It is copied.
        path: the file, usually *.onnx.
        metadata: texts by name for the file's `metadata_props`.

    Raises:
        UserError: a package of the extra `onnx` is missing, the network has no parameters (bicubic
            interpolation is computed outside PyTorch), or onnxruntime disagrees.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise UserError(f"export to ONNX needs {', '.join(missing)}: pip install 'alkdnet[onnx]'")
    model = _prepared(model)
    minimum = _minimum_size(model)
    proto = _traced(model).model_proto
    for name, text in {**metadata, "minimum_size": str(minimum)}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, text
    content = proto.SerializeToString()
    difference = _difference(_onnxruntime(content), model, minimum)
    _require_agreement(path, "onnxruntime", difference)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return difference


def export_program(model: nn.Module, path: Path) -> float:
    """Write a network with its weights as torch.export's archive; return its difference from the network.

    The program takes and gives what the network does, for any batch, height and width from
    `_SMALLEST_PROGRAM`: torch.export excludes sizes at which a layer's output has one pixel. It is kept only
    if it agrees with the network within `TOLERANCE` on three sizes.

    Args:
        model: the network, in float32. It is copied.
        path: the file, usually *.pt2.

    Raises:
        UserError: the network has no parameters, or the program disagrees.
    """
    model = _prepared(model)
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    with _quiet(), torch.no_grad(), _Replacements():
        program = torch.export.export(model, (torch.rand(2, 3, *_TRACED),), dynamic_shapes=(free,))
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            torch.export.save(program, file)
        with temporary.open("rb") as file:
            loaded = torch.export.load(file).module()
        difference = _difference(loaded, model, _SMALLEST_PROGRAM)
        _require_agreement(path, "the saved program", difference)
    return difference


def _prepared(model: nn.Module) -> nn.Module:
    """Return a copy to trace; raise UserError for bicubic interpolation, which is computed by NumPy."""
    if not any(True for _ in model.parameters()):
        raise UserError(f"{type(model).__name__} has no weights to export")
    return copy.deepcopy(model).cpu().eval().requires_grad_(False)


def _minimum_size(model: nn.Module) -> int:
    """Return the smallest H and W that a network does not pad."""
    return int(getattr(model, "minimum_size", 1))


def _traced(model: nn.Module) -> Any:
    """Return the network as PyTorch's ONNX program."""
    sizes = {0: "batch", 2: "height", 3: "width"}
    with _quiet(), torch.no_grad(), _Replacements():
        return torch.onnx.export(
            model,
            (torch.rand(2, 3, *_TRACED),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(sizes,),
            verbose=False,
        )


def _onnxruntime(content: bytes) -> Callable[[Tensor], Tensor]:
    """Return an ONNX file as a function."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda x_BCHW: torch.from_numpy(session.run([OUTPUT], {INPUT: x_BCHW.numpy()})[0])


def _difference(exported: Callable[[Tensor], Tensor], model: nn.Module, smallest: int) -> float:
    """Return the largest absolute difference of two networks' outputs, on noise of three sizes."""
    generator = torch.Generator().manual_seed(0)
    largest = torch.zeros(())
    for height, width in ((smallest, smallest + 6), *_CHECKED):
        x_BCHW = torch.rand(1, 3, height, width, generator=generator)
        with torch.no_grad():
            largest = torch.maximum(largest, (exported(x_BCHW) - model(x_BCHW)).abs().max())  # NaN stays
    return float(largest)


def _require_agreement(path: Path, exported: str, difference: float) -> None:
    if not difference <= TOLERANCE:
        raise UserError(
            f"{path}: not written: {exported} differs from PyTorch by {difference:.1e}, more than {TOLERANCE}"
        )


class _Replacements(TorchFunctionMode):
    """Replaces, during tracing, operations that torch.export or ONNX cannot express exactly."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, or its replacement."""
        if func is F.adaptive_max_pool2d:
            return _adaptive_max_pool(*args)
        if func is F.interpolate and kwargs and kwargs.get("antialias"):
            return _bicubic(*args, scale=kwargs["scale_factor"])
        return func(*args, **(kwargs or {}))


def _adaptive_max_pool(x_BCHW: Tensor, output_size: tuple[int, int]) -> Tensor:
    """Return `F.adaptive_max_pool2d` for an output at least an eighth of the input's size, by gathering.

    Cell i of n along a side of N pixels has the pixels from floor(i N / n) to ceil((i + 1) N / n).
    """
    most = 15  # pixels of a cell: a side of 15 becomes one cell
    for axis, cells in zip((2, 3), output_size, strict=True):
        size = x_BCHW.shape[axis]
        cell_N = torch.arange(cells, device=x_BCHW.device)
        first_N = cell_N * size // cells
        last_N = ((cell_N + 1) * size + cells - 1) // cells - 1
        pixel_NK = torch.minimum(first_N[:, None] + torch.arange(most), last_N[:, None])
        gathered = x_BCHW.index_select(axis, pixel_NK.flatten())
        x_BCHW = torch.unflatten(gathered, axis, (cells, most)).amax(axis + 1)
    return x_BCHW


def _bicubic(x_BCHW: Tensor, *, scale: int) -> Tensor:
    """Return the image enlarged by `F.interpolate` with mode "bicubic" and antialias, by a convolution.

    The convolution's weights are exact where onnxruntime's Resize has the positions of x3 in float32. The
    outermost two pixels times s differ, for which the border counts; layers/luma.py cuts them off.
    """
    phase_S = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    distance_SK = (phase_S[:, None] - torch.arange(-2, 3)).abs()
    near_SK = (1.5 * distance_SK - 2.5) * distance_SK**2 + 1
    far_SK = ((-0.5 * distance_SK + 2.5) * distance_SK - 4) * distance_SK + 2
    weight_SK = torch.where(distance_SK < 1, near_SK, far_SK) * (distance_SK < 2)
    kernel = torch.einsum("sk,tl->stkl", weight_SK, weight_SK).reshape(scale**2, 1, 5, 5)
    channels = x_BCHW.shape[1]
    kernel = kernel.repeat(channels, 1, 1, 1).to(x_BCHW)
    return F.pixel_shuffle(F.conv2d(x_BCHW, kernel, padding=2, groups=channels), scale)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporters' logs and deprecation warnings, hundreds of lines."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
