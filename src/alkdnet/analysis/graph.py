"""What a module computes, as a graph of named steps, found by tracing the module itself.

The module is traced by torch.fx, and its graph is run on the meta device for the shapes: no arithmetic.
"""

import copy
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from alkdnet.layers.attention import CCA, ESA, Resize
from alkdnet.layers.convolution import ALKConv, BSConv
from alkdnet.layers.distillation import DistillationBlock
from alkdnet.layers.norm import PixelNorm
from alkdnet.layers.padding import pad_to_minimum

Kind = Literal[
    "input",
    "output",
    "convolution",
    "large kernel",
    "attention",
    "activation",
    "normalisation",
    "arrangement",
    "concatenation",
    "addition",
    "multiplication",
    "other",
]

_SIZE = 48  # H and W of the traced input: no network pads it
_ACTIVATIONS = (nn.GELU, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Sigmoid, nn.SiLU)
_ACTIVATION_FUNCTIONS: dict[Any, str] = {
    F.gelu: "GELU",
    F.relu: "ReLU",
    torch.relu: "ReLU",
    F.silu: "SiLU",
    torch.sigmoid: "Sigmoid",
}
_ALWAYS_WHOLE = (PixelNorm, Resize)
_SUMS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")
_PRODUCTS: tuple[Any, ...] = (operator.mul, operator.imul, torch.mul, "mul", "mul_")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One layer or operation.

    Attributes:
        name: of the step, unique in its graph.
        path: of the module within the traced one, such as "blocks.0"; empty for an operation.
        kind: what it is.
        title: what it is called, with its kernel.
        details: its channels, then what else decides it.
        inputs: names of the steps that it takes, in their order.
    """

    name: str
    path: str
    kind: Kind
    title: str
    details: tuple[str, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """The steps of a module, in the order in which it takes them: the input first, the output last."""

    steps: tuple[Step, ...]

    def find(self, key: str) -> Step:
        """Return the step of this path or name.

        Raises:
            ValueError: there is none.
        """
        found = next((step for step in self.steps if key in (step.path, step.name)), None)
        if found is None:
            raise ValueError(
                f"no step {key!r} among {', '.join(step.path or step.name for step in self.steps)}"
            )
        return found

    def users(self, name: str) -> tuple[Step, ...]:
        """Return the steps that take what the named one yields."""
        return tuple(step for step in self.steps if name in step.inputs)


def trace(module: nn.Module, *, channels: int, whole: Sequence[type[nn.Module]] = ()) -> Graph:
    """Return the graph of a module with one input and one output, both of shape (B, C, H, W).

    What changes nothing at the traced size (the padding of small inputs, the crop after it) is left out, and
    sums of sums are one addition.

    Args:
        module: any; it is not changed.
        channels: C of its input.
        whole: modules of these classes are one step each; all others are traced into.
    """
    shadow = copy.deepcopy(module).to("meta").eval()
    graph = _Tracer((*whole, *_ALWAYS_WHOLE)).trace(shadow)
    values = _Values(fx.GraphModule(shadow, graph))
    with torch.no_grad():
        values.run(torch.empty(1, channels, _SIZE, _SIZE, device="meta"))
    return _without_nested_sums(list(_steps(graph, shadow, values.of)))


class _Tracer(fx.Tracer):
    def __init__(self, whole: tuple[type[nn.Module], ...]) -> None:
        super().__init__(autowrap_functions=(pad_to_minimum,))  # it asks for the size: a step by itself
        self.whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.whole) or super().is_leaf_module(m, module_qualified_name)


class _Values(fx.Interpreter):
    """Runs a graph and keeps what each node yields."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.of: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.of[n] = super().run_node(n)
        return self.of[n]


def _steps(graph: fx.Graph, module: nn.Module, values: dict[fx.Node, Any]) -> Iterator[Step]:
    stands_for: dict[fx.Node, str] = {}  # the step that yields what a node yields
    for node in graph.nodes:
        inputs = [each for each in node.all_input_nodes if each in stands_for]
        if node.op == "placeholder":
            shape = values[node].shape
            step = Step(name="input", path="", kind="input", title="", details=_wide(shape[1]), inputs=())
        elif node.op == "output":
            (last,) = inputs
            shape = values[last].shape
            taken = (stands_for[last],)
            step = Step(
                name="output", path="", kind="output", title="", details=_wide(shape[1]), inputs=taken
            )
        elif not inputs or not _holds_tensors(values[node]):
            continue  # arithmetic of sizes
        elif _changes_nothing(node, module, values):
            stands_for[node] = stands_for[inputs[0]]
            continue
        else:
            step = _described(node, module, values, tuple(stands_for[each] for each in inputs))
        stands_for[node] = step.name
        yield step


def _wide(channels: int) -> tuple[str, ...]:
    return (f"{channels} channels",)


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, tuple | list) and any(isinstance(each, Tensor) for each in value)
    )


def _changes_nothing(node: fx.Node, module: nn.Module, values: dict[fx.Node, Any]) -> bool:
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), nn.Identity)
    if node.target not in (pad_to_minimum, operator.getitem):
        return False
    before = values[node.all_input_nodes[0]]
    return not isinstance(before, Tensor) or before.shape == values[node].shape


def _described(node: fx.Node, module: nn.Module, values: dict[fx.Node, Any], inputs: tuple[str, ...]) -> Step:
    before, after = values[node.all_input_nodes[0]], values[node]
    channels = (
        f"{before.shape[1]} → {after.shape[1]}"
        if isinstance(before, Tensor) and isinstance(after, Tensor)
        else ""
    )
    path = str(node.target) if node.op == "call_module" else ""
    if path:
        kind, title, details = _of_module(module.get_submodule(path), path, channels)
    else:
        kind, title, details = _of_operation(node, channels)
    return Step(name=node.name, path=path, kind=kind, title=title, details=details, inputs=inputs)


_Description = tuple[Kind, str, tuple[str, ...]]


def _of_module(layer: nn.Module, path: str, channels: str) -> _Description:
    count = sum(parameter.numel() for parameter in layer.parameters())
    size = f"{count:,} parameters"
    index = path.rpartition(".")[2]
    number = f" {int(index) + 1}" if index.isdigit() else ""
    match layer:
        case nn.Conv2d():
            depthwise = layer.groups == layer.in_channels > 1
            title = f"{'DWConv' if depthwise else 'Conv'} {_by(*layer.kernel_size)}"
            stride = () if max(layer.stride) == 1 else (f"stride {max(layer.stride)}",)
            bias = () if layer.bias is not None else ("no bias",)
            return "convolution", title, (channels, *stride, *bias, size)
        case BSConv():
            return "convolution", f"BSConv {_by(*layer.depthwise.kernel_size)}", (channels, size)
        case ALKConv():
            return "large kernel", f"ALKConv, k = {layer.vertical.kernel_size[0]}", (channels, size)
        case DistillationBlock():
            name = "ALKDB" if isinstance(layer.distill_last, ALKConv) else "ESDB"
            return "large kernel" if name == "ALKDB" else "other", f"{name}{number}", ()
        case ESA() | CCA():
            return "attention", type(layer).__name__, (channels, size)
        case PixelNorm():
            return "normalisation", "Pixel norm", (size,)
        case Resize():
            return "arrangement", "Bilinear", ()
        case nn.MaxPool2d():
            return "arrangement", f"Max pool {layer.kernel_size}", (f"stride {layer.stride}",)
        case nn.PixelShuffle():
            return "arrangement", "Pixel shuffle", (f"×{layer.upscale_factor}",)
    if isinstance(layer, _ACTIVATIONS):
        return "activation", type(layer).__name__, ()
    return "other", type(layer).__name__, (channels, size)


def _of_operation(node: fx.Node, channels: str) -> _Description:
    target: Any = node.target
    if target in _SUMS:
        return "addition", "+", ()
    if target in _PRODUCTS:
        return "multiplication", "×", ()
    if target in _ACTIVATION_FUNCTIONS:
        return "activation", _ACTIVATION_FUNCTIONS[target], ()
    if target in (torch.cat, torch.concat):
        return "concatenation", "Concat", (f"→ {channels.rpartition(' ')[2]}",)
    if target == "repeat":  # of (B, C, H, W), along C
        return "arrangement", f"Concat ×{node.args[2]}", (channels,)
    if target == "repeat_interleave":
        return "arrangement", f"Repeat ×{node.args[1]}", (channels,)
    name = target if isinstance(target, str) else _name_of(target)
    return "other", name, (channels,) if channels else ()


def _name_of(function: Callable) -> str:
    return getattr(function, "__name__", str(function))


def _by(height: int, width: int) -> str:
    return f"{height}×{width}"


def _without_nested_sums(steps: list[Step]) -> Graph:
    by_name = {step.name: step for step in steps}
    uses = [name for step in steps for name in step.inputs]
    inner = {
        name
        for step in steps
        if step.kind == "addition"
        for name in step.inputs
        if by_name[name].kind == "addition" and uses.count(name) == 1
    }

    def terms(step: Step) -> Iterator[str]:
        for name in step.inputs:
            yield from terms(by_name[name]) if name in inner else (name,)

    return Graph(tuple(replace(step, inputs=tuple(terms(step))) for step in steps if step.name not in inner))
