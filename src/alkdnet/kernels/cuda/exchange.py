"""The one place where layers of a network get their fast forms on CUDA; triton is imported when it is used.

    problem = self_check(device)      # None, or what is wrong with the kernels on this device, in words
    if problem is None:
        exchange_kernels(model)       # before torch.compile and before a graph is captured

Modules are exchanged, not calls: `ALKConv` is one kernel for what are eight calls of PyTorch, and a module
whose `forward` is its own is traced by torch.compile, captured in a graph and copied by `copy.deepcopy` like
any other. Names, values and layout of the parameters stay, so checkpoints and optimizers notice nothing.

Shape letters: B batch, C channels, H height, W width.
"""

import copy
import functools
import logging
from types import MethodType

import torch
from torch import Tensor, nn

from alkdnet.device import arithmetic
from alkdnet.layers.attention import Resize
from alkdnet.layers.convolution import ALKConv, BSConv

logger = logging.getLogger(__name__)

# Of the largest value. Sums of float32 are within 1e-6; what a wrong kernel computes is nowhere near.
TOLERANCE = 1e-4


def exchange_kernels(model: nn.Module) -> None:
    """Give every layer of the network that has a fast form that form; on a CPU it computes as before.

    A layer whose `forward` was replaced before (as `keep_tail_in_float32` does) is left alone. So are layers
    that have no fast form. Calling it twice changes nothing.

    Raises:
        ImportError: triton is not installed; `self_check` says so without raising.
    """
    from alkdnet.kernels.cuda.layers import fast_form

    for module in model.modules():
        if "forward" not in vars(module) and (forward := fast_form(module)) is not None:
            module.forward = MethodType(forward, module)


@functools.cache
def works_for_inference(device: torch.device) -> bool:
    """Return whether the kernels compute the right values on a device; warn once if they do not."""
    if (problem := self_check(device, gradients=False)) is None:
        return True
    logger.warning("%s: computing with plain PyTorch, since the kernels do not work: %s", device, problem)
    return False


def self_check(device: torch.device, *, gradients: bool = True) -> str | None:
    """Compare every kernel with plain PyTorch in float64, on a small random input.

    The kernels are compiled for it, which takes a while the first time on a host.

    Args:
        device: where to check.
        gradients: compare gradients too; inference needs none, and their kernels take longest to compile.

    Returns:
        What is wrong, for a message to the user; None if nothing is. It raises nothing: a compiler that is
        missing or fails is something that is wrong, and plain PyTorch can go on without it.
    """
    try:
        import triton  # noqa: F401
    except ImportError:
        return "triton is not installed"
    with arithmetic(device, "float32", threads=torch.get_num_threads()):
        for name, (layer, x_BCHW, *others) in _cases(device).items():
            try:
                error = largest_difference(layer, x_BCHW, *others, gradients=gradients)
            except Exception as problem:  # whatever a compiler or driver raises
                first_line = (str(problem).strip().splitlines() or [""])[0]
                return f"{name}: {type(problem).__name__}: {first_line}"
            if not error < TOLERANCE:
                return f"{name}: differs from PyTorch by {error:.1e} of the largest value"
    return None


def largest_difference(layer: nn.Module, x_BCHW: Tensor, *inputs: object, gradients: bool = True) -> float:
    """Return how far the fast form of a layer is from its own in float64, relative to the largest value.

    The output, and if wanted the gradients of features and parameters. The layer is not changed.
    """
    fast, plain = copy.deepcopy(layer), copy.deepcopy(layer).double()
    exchange_kernels(fast)
    # Inference may call this within `torch.inference_mode`.
    with torch.inference_mode(False), torch.set_grad_enabled(gradients):
        ours, theirs = (
            _results(module, x_BCHW.detach().to(dtype, copy=True), *inputs)
            for module, dtype in ((fast, x_BCHW.dtype), (plain, torch.float64))
        )
    return max(
        ((our.double() - their).abs().max() / their.abs().max()).item()
        for our, their in zip(ours, theirs, strict=True)
    )


def _results(layer: nn.Module, x_BCHW: Tensor, *inputs: object) -> list[Tensor]:
    """Return the output and, where gradients are enabled, all of them at an uneven upstream gradient."""
    if not torch.is_grad_enabled():
        return [layer(x_BCHW, *inputs)]
    x_BCHW.requires_grad_()
    y_BCHW = layer(x_BCHW, *inputs)
    upstream = torch.linspace(-1, 1, y_BCHW.numel(), dtype=y_BCHW.dtype, device=y_BCHW.device).cos()
    gradients = torch.autograd.grad(y_BCHW, [x_BCHW, *layer.parameters()], upstream.view(y_BCHW.shape))
    return [y_BCHW, *gradients]


def _cases(device: torch.device) -> dict[str, tuple[nn.Module, Tensor, *tuple[object, ...]]]:
    """Return a layer of each kind with its inputs, the same at every call; no random state is changed."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        x_BCHW = torch.randn(1, 8, 7, 9).to(memory_format=torch.channels_last)
        cases: dict[str, tuple[nn.Module, Tensor, *tuple[object, ...]]] = {
            "ALKConv": (ALKConv(8, 8, kernel_size=5), x_BCHW),
            "depthwise convolution": (BSConv(8, 8), x_BCHW),
            "depthwise convolution, stride 2": (BSConv(8, 8, stride=2, padding=1), x_BCHW),
            "bilinear resize": (Resize(), x_BCHW, (10, 13)),
            "maximum pooling": (nn.MaxPool2d(7, stride=3), x_BCHW),
        }
        return {
            name: (layer.to(device), x.to(device), *inputs) for name, (layer, x, *inputs) in cases.items()
        }
