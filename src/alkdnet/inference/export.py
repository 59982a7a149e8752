"""Networks as ONNX files, for onnxruntime, OpenVINO, TensorRT and programs that build on them.

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
from alkdnet.files import atomic_path

OPSET = 18
INPUT, OUTPUT = "lr", "sr"
# Largest difference from PyTorch, of values in [0, 1]: a two-hundredth of a level of 255.
TOLERANCE = 1e-5
# H and W that the graph is traced with, and two more that it is checked on beside the smallest possible.
_TRACED, _CHECKED = (48, 40), ((61, 83), (96, 45))
_NEEDED = ("onnx", "onnxruntime", "onnxscript")


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
    if not any(True for _ in model.parameters()):
        raise UserError(f"{type(model).__name__} has no weights to export")
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    minimum = int(getattr(model, "minimum_size", 1))
    program = _traced(model)
    proto = program.model_proto
    for name, text in {**metadata, "minimum_size": str(minimum)}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, text
    content = proto.SerializeToString()
    difference = _difference(content, model, ((minimum, minimum + 6), *_CHECKED))
    if not difference <= TOLERANCE:
        raise UserError(
            f"{path}: not written: onnxruntime differs from PyTorch by {difference:.1e}, "
            f"more than {TOLERANCE}"
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return difference


def _traced(model: nn.Module) -> Any:
    """Return the network as PyTorch's ONNX program."""
    sizes = {0: "batch", 2: "height", 3: "width"}
    with _quiet(), torch.no_grad(), _Expressible():
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


def _difference(content: bytes, model: nn.Module, sizes: Sequence[tuple[int, int]]) -> float:
    """Return the largest absolute difference of onnxruntime's output from PyTorch's, on noise."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for height, width in sizes:
        x_BCHW = torch.rand(1, 3, height, width, generator=generator)
        with torch.inference_mode():
            expected_BCHW = model(x_BCHW)
        (found_BCHW,) = session.run([OUTPUT], {INPUT: x_BCHW.numpy()})
        difference = float((torch.from_numpy(found_BCHW) - expected_BCHW).abs().max())
        largest = max(largest, difference) if difference == difference else difference
    return largest


class _Expressible(TorchFunctionMode):
    """Exchanges, while a network is traced, what torch.export or ONNX cannot express, or not exactly."""

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
    most = 15  # pixels of a cell: of a side of 15 that becomes one
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
    """Keep back what the exporter says about its own matters: torchvision's absence, its deprecations."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
