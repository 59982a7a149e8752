"""The backends that run a network: as functions of one image, loaded and ready.

Shape letters: H and W the LR size, s the scale.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alkdnet.device import Precision
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks import build

ImageBCHW = npt.NDArray[np.float32]
Call = Callable[[], ImageBCHW | Tensor]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What runs a network.

    Attributes:
        name: of the backend.
        package: needed beside PyTorch, or empty.
        precision: of its arithmetic; None: that of the `Task`.
    """

    name: str
    package: str = ""
    precision: Precision | None = None


PLAIN = Backend(name="plain")
UPSCALE = Backend(name="upscale")
BACKENDS = (
    PLAIN,
    UPSCALE,
    Backend(name="onnxruntime", package="onnxruntime", precision="float32"),
    Backend(name="openvino", package="openvino", precision="float32"),
    Backend(name="openvino_bf16", package="openvino", precision="bfloat16"),
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network and the image that it is measured with; can be sent to another process.

    The weights are random: they do not change the time of a pass. `onnx`: the exported network, or None.
    """

    network: str
    scale: int
    height: int
    width: int
    device: str
    precision: Precision
    threads: int
    onnx: Path | None = None

    def model(self) -> nn.Module:
        """Return the network, the same in every process."""
        torch.manual_seed(0)
        return build(self.network, self.scale, {}).eval().requires_grad_(False)

    def image(self) -> Tensor:
        """Return the image x_BCHW, one of noise in [0, 1]."""
        return torch.rand(1, 3, self.height, self.width, generator=torch.Generator().manual_seed(1))


def available_backends(device: str) -> list[Backend]:
    """Return the backends that can run here: on CUDA PyTorch's, on a CPU the installed ones."""
    return [
        backend for backend in BACKENDS if not backend.package or (device == "cpu" and _available(backend))
    ]


def _available(backend: Backend) -> bool:
    # The export needs onnx and onnxscript.
    if any(importlib.util.find_spec(name) is None for name in (backend.package, "onnx", "onnxscript")):
        return False
    if backend.name != "openvino_bf16":
        return True
    from openvino import Core

    return "BF16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def prepare(backend: str, task: Task) -> Call:
    """Load a network into a backend; return the function that computes one image and waits for it."""
    if backend.startswith("openvino"):
        return _openvino(task, "bf16" if backend.endswith("bf16") else "f32")
    if backend == "onnxruntime":
        return _onnxruntime(task)
    device = torch.device(task.device)
    x_BCHW = task.image().to(device)
    forward: Callable[[Tensor], Tensor]
    forward = (
        task.model().to(device) if backend == PLAIN.name else Upscaler(task.model(), device=device).forward
    )

    def call() -> Tensor:
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=task.precision == "bfloat16"),
        ):
            y_BCHW = forward(x_BCHW)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return y_BCHW

    return call


def _onnxruntime(task: Task) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    session = onnxruntime.InferenceSession(task.onnx, options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: task.image().numpy()}

    def call() -> ImageBCHW:
        out: ImageBCHW = session.run(None, inputs)[0]
        return out

    return call


def _openvino(task: Task, precision: str) -> Call:
    from openvino import Core

    core = Core()
    network = core.read_model(task.onnx)
    network.reshape([1, 3, task.height, task.width])
    settings = {
        "INFERENCE_NUM_THREADS": task.threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    image_BCHW = task.image().numpy()

    def call() -> ImageBCHW:
        out: ImageBCHW = request.infer({0: image_BCHW})[0]
        return out

    return call
