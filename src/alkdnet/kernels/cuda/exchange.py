"""The one place where layers of a network get their fast forms on CUDA; triton is imported when it is used.

    problem = self_check(model, "tf32")   # None, or what is wrong with the kernels there, in words
    if problem is None:
        exchange_layers(model)            # before torch.compile and before a graph is captured

Methods of modules are exchanged, not calls: after its 1x1 convolution an ALKConv is one kernel for what are
nine calls of PyTorch, and a module with a method of its own is traced by torch.compile, captured in a graph
and copied by `copy.deepcopy` like any other. Hooks of layers within such a module are not called. Names,
values and layout of the parameters stay, so checkpoints and optimizers notice nothing.

Shape letters: B batch, C channels, H height, W width.
"""

import copy
import functools
import importlib.util
import logging
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from alkdnet.device import Precision, arithmetic
from alkdnet.layers.distillation import DistillationBlock

logger = logging.getLogger(__name__)

# Height and width of the image that shows which features the layers take: no tile or strip divides them.
SIZE = (25, 29)
# Of the largest value, by what is rounded most; what a wrong kernel computes is nowhere near.
TOLERANCES = {"float32": 1e-4, "tf32": 1e-2, "float16": 1e-2, "bfloat16": 0.1}


def exchange_layers(model: nn.Module) -> None:
    """Give every layer of the network that has a fast form that form; on a CPU it computes as before.

    A layer whose method was replaced before (`forward`, as `keep_tail_in_float32` does) is left alone. So are
    layers that have no fast form. Calling it twice changes nothing.

    Raises:
        ImportError: triton is not installed; `self_check` says so without raising.
    """
    from alkdnet.kernels.cuda.layers import fast_forms

    for module in model.modules():
        for name, function in fast_forms(module).items():
            if name not in vars(module):
                setattr(module, name, MethodType(function, module))


def exchange_kernels(model: nn.Module) -> None:
    """Exchange the layers of a network for inference if they compute the right values; else say why not."""
    if problem := self_check(model, "float32", gradients=False):
        _warn(problem)
    else:
        exchange_layers(model)


def works_for_inference(device: torch.device) -> bool:
    """Return whether the kernels may be tried on a device: `exchange_kernels` checks those of a network."""
    return device.type == "cuda"


@functools.cache
def _warn(problem: str) -> None:
    """Warn, once for each problem and process."""
    logger.warning("computing with plain PyTorch, slower, since the kernels do not work: %s", problem)


def self_check(model: nn.Module, *precisions: Precision, gradients: bool = True) -> str | None:
    """Compare the fast form of each of a network's different layers with PyTorch's in float64.

    The layers get random features and parameters, of the sizes and types that they have in the network. This
    compiles the very kernels that the network then uses, which takes a while the first time on a host.

    Args:
        model: on the device to check, with its weights in the type to check.
        precisions: that the network will compute in; bfloat16 as automatic mixed precision.
        gradients: compare gradients too; inference needs none, and their kernels take longest to compile.

    Returns:
        What is wrong, for a message to the user; None if nothing is. It raises nothing: a compiler that is
        missing or fails is something that is wrong, and plain PyTorch can go on without it.
    """
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    name = type(model).__name__
    try:
        for layer, x_BCHW, *inputs in _layers_with_inputs(model):
            for precision in precisions:
                name = f"{type(layer).__name__} on {tuple(x_BCHW.shape)} in {precision}"
                error = largest_difference(layer, x_BCHW, *inputs, precision=precision, gradients=gradients)
                stored = str(x_BCHW.dtype).removeprefix("torch.")
                if not error < max(TOLERANCES[precision], TOLERANCES[stored]):
                    return f"{name}: differs from PyTorch by {error:.1e} of the largest value"
    except Exception as problem:  # whatever a compiler or driver raises
        first_line = (str(problem).strip().splitlines() or [""])[0]
        return f"{name}: {type(problem).__name__}: {first_line}"
    return None


def largest_difference(
    layer: nn.Module,
    x_BCHW: Tensor,
    *inputs: object,
    precision: Precision = "float32",
    gradients: bool = True,
) -> float:
    """Return how far the fast form of a layer is from its own in float64, relative to the largest value.

    The output, and if wanted the gradients of features and parameters. The layer is not changed.
    """
    fast, plain = copy.deepcopy(layer), copy.deepcopy(layer).double()
    exchange_layers(fast)
    device, mixed = x_BCHW.device, precision == "bfloat16"
    # Inference may call this within `torch.inference_mode`.
    with torch.inference_mode(False), torch.set_grad_enabled(gradients):
        dtype = torch.bfloat16 if mixed else x_BCHW.dtype
        features = [each.detach().to(dtype) for each in (x_BCHW, *inputs) if isinstance(each, Tensor)]
        others = [each for each in inputs if not isinstance(each, Tensor)]
        theirs = _results(plain, [each.double() for each in features], others)
        with (
            arithmetic(device, "float32" if mixed else precision, threads=torch.get_num_threads()),
            torch.autocast(device.type, torch.bfloat16, enabled=mixed),
        ):
            ours = _results(fast, features, others)
    smallest = torch.finfo(torch.float64).tiny  # where all should be zero, and is
    differences = [
        (our.double() - their).abs().max() / their.abs().max().clamp(min=smallest)
        for our, their in zip(ours, theirs, strict=True)
    ]
    return torch.stack(differences).max().item()  # NaN, if one of them is


def _results(layer: nn.Module, features: list[Tensor], others: list[object]) -> list[Tensor]:
    """Return the output and, where gradients are enabled, all of them at an uneven upstream gradient."""
    if not torch.is_grad_enabled():
        return [layer(*features, *others)]
    leaves = [each.clone().requires_grad_() for each in features]
    y_BCHW = layer(*leaves, *others)
    upstream = torch.linspace(-1, 1, y_BCHW.numel(), dtype=y_BCHW.dtype, device=y_BCHW.device).cos()
    gradients = torch.autograd.grad(y_BCHW, [*leaves, *layer.parameters()], upstream.view(y_BCHW.shape))
    return [y_BCHW, *gradients]


def _layers_with_inputs(model: nn.Module) -> list[tuple[Any, ...]]:
    """Return copies of the different layers that have a fast form, with random inputs.

    Layers within such a layer are left out, for its fast form does not call them; but of a distillation block
    the halves have one, and the second half calls its layers in inference.
    """
    from alkdnet.kernels.cuda.layers import Distillation, Enhancement, fast_forms

    found: dict[str, tuple[Any, ...]] = {}

    def note(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        forms = [(layer, *inputs)]
        if isinstance(layer, DistillationBlock):
            (x_BCHW,) = inputs
            reduced_BCHW = layer.esa.reduce(x_BCHW)
            coarse_BCHW = layer.esa.context(layer.esa.pool(layer.esa.stride(reduced_BCHW)))
            features = x_BCHW, reduced_BCHW, coarse_BCHW, x_BCHW
            forms = [(Distillation(layer), x_BCHW), (Enhancement(layer), *features)]
        for form in forms:
            if fast_forms(form[0]):
                found.setdefault(f"{form[0]} {inputs[0].shape}", form)

    # The CPU's random numbers: the same on every device, and none of a GPU's state is changed.
    random = torch.Generator().manual_seed(0)

    def random_like(tensor: Tensor) -> Tensor:
        return torch.empty_like(tensor).copy_(2 * torch.rand(tensor.shape, generator=random) - 1)

    with torch.inference_mode(False), torch.no_grad():
        model = copy.deepcopy(model)
        covered: tuple[str, ...] = ()
        for name, module in model.named_modules():
            if (forms := fast_forms(module)) and not name.startswith(covered):
                inside = {"forward": ("",), "distil": ("distill", "refine", "condense"), "enhance": ()}
                covered += tuple(f"{name}.{each}" for form in forms for each in inside[form])
                module.register_forward_pre_hook(note)
        image_BCHW = torch.rand(2, 3, *SIZE, generator=random)
        model(image_BCHW.to(next(model.parameters(), image_BCHW)))
        for layer, *_ in found.values():
            for parameter in layer.parameters():
                parameter.copy_(random_like(parameter))
        return [
            (layer, *(random_like(each) if isinstance(each, Tensor) else each for each in inputs))
            for layer, *inputs in found.values()
        ]
