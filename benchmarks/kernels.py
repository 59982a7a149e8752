"""Each CUDA kernel against plain PyTorch and against its traffic, in one run.

    PYTHONPATH=src python -m benchmarks.kernels [--batch 64] [--size 48] [--rounds 50]

prints a Markdown table for each precision, row by row: forward pass without gradients, and forward and
backward together. An ALKConv includes its 1x1 convolution; the second half of a block is one operator only
where there are gradients. Both sides are timed as CUDA graphs, as a training runs them: the host
takes longer to start a kernel than most kernels run. The floor is the time to copy as many bytes as the
kernels must read and write, at the copy bandwidth measured here; `difference` is the largest one to float64,
of output and gradients, relative to the largest value. Cases that fail have no numbers; stderr says why.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from alkdnet.device import Precision, arithmetic
from alkdnet.errors import in_one_line
from alkdnet.kernels.cuda.exchange import exchange_layers, largest_difference
from alkdnet.layers.attention import Resize
from alkdnet.layers.convolution import ALKConv
from alkdnet.layers.distillation import DistillationBlock
from alkdnet.training.cuda_graph import WARM_UP, Recording

# Calls in a graph, whose own start takes microseconds.
CALLS = 10
PRECISIONS: tuple[Precision, ...] = ("tf32", "bfloat16")
COLUMNS = ("layer", "pass", "kernels, us", "plain, us", "times as fast", "floor, us", "reached", "difference")


@dataclass(frozen=True)
class Case:
    """A layer and its traffic.

    Attributes:
        name: for the table.
        layer: with float32 weights.
        inputs: channels of each, and its sides in parts of the image's.
        forward: how often inputs and outputs are read and written, both together, in the forward pass.
        backward: the same in the backward pass.
        size: to resize to; None: the layer does not resize.
    """

    name: str
    layer: nn.Module
    inputs: tuple[tuple[int, int], ...]
    forward: float
    backward: float
    size: tuple[int, int] | None = None

    def features(self, batch: int, size: int, device: torch.device) -> list[Tensor]:
        """Return random features for every input."""
        shapes = [(batch, channels, size // coarse, size // coarse) for channels, coarse in self.inputs]
        return [torch.randn(each, device=device).to(memory_format=torch.channels_last) for each in shapes]

    def others(self) -> list[object]:
        """Return what the layer takes beside features."""
        return [] if self.size is None else [self.size]


def cases(size: int) -> list[Case]:
    """Return the layers of ALKDNet, ALKConvs of other widths among them."""
    from alkdnet.kernels.cuda.layers import Distillation, Enhancement  # needs triton

    def pointwise(inputs: int, outputs: int) -> Case:
        # Backward, the gradient and the features are read once, and the features' gradient is written.
        backward = (outputs + 2 * inputs) / (inputs + outputs)
        return Case(f"1x1, {inputs} to {outputs}", nn.Conv2d(inputs, outputs, 1), ((inputs, 1),), 1, backward)

    def depthwise(channels: int, stride: int) -> Case:
        layer = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, stride=stride)
        return Case(f"depthwise 3 x 3, C = {channels}, stride {stride}", layer, ((channels, 1),), 1, 2)

    # After the 1x1 convolution: 2 passes forward and 9 backward.
    alkconvs = [
        Case(f"ALKConv k = {k}", ALKConv(64, 64, kernel_size=k), ((64, 1),), 2, 6) for k in (9, 3, 5, 11)
    ]
    # Three steps of 5.5 and 15.5 passes, and the last part and the condensation of 5.5 and 12.
    block = DistillationBlock(
        channels=64, convolution=partial(ALKConv, kernel_size=9), block_norm=True, esa_padding=1
    )
    distillation = Case("first half of a block", Distillation(block), ((64, 1),), 11, 29.25)
    # Of 208 channels in and out, 96 and 208 are read or written forward, 144 and 272 backward.
    inputs = ((64, 1), (16, 1), (16, 8), (64, 1))
    enhancement = Case("second half of a block", Enhancement(block), inputs, 304 / 208, 416 / 208)
    return [
        *alkconvs,
        distillation,
        enhancement,
        *(pointwise(inputs, outputs) for inputs, outputs in ((64, 64), (64, 32), (128, 64), (64, 16))),
        *(depthwise(channels, stride) for channels, stride in ((64, 1), (16, 1), (16, 2))),
        Case("maximum of 7 x 7, stride 3, C = 16", nn.MaxPool2d(7, stride=3), ((16, 2),), 1, 1),
        Case("resize by 8, C = 16", Resize(), ((16, 8),), 1, 1, size=(size, size)),
    ]


def microseconds(function: Callable[[], object], rounds: int) -> float:
    """Return the median time of a call on the device."""
    for _ in range(3):
        function()
    pairs = [
        [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
        for _ in range(rounds)
    ]
    for start, end in pairs:
        start.record()
        function()
        end.record()
    torch.cuda.synchronize()
    return 1000 * median(float(start.elapsed_time(end)) for start, end in pairs)


def microseconds_on_device(function: Callable[[], Tensor], rounds: int) -> float:
    """Return the median time of a call without the host's part."""

    def calls() -> Tensor:
        for _ in range(CALLS):
            last = function()
        return last

    for _ in range(WARM_UP):
        function()
    return microseconds(Recording(calls).replay, rounds) / CALLS


def steps(
    layer: nn.Module, features: list[Tensor], others: list[object]
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Return the forward pass without gradients, and forward and backward with those of the inputs."""
    leaves = [each.detach().clone(memory_format=torch.preserve_format).requires_grad_() for each in features]
    wanted = [*leaves, *layer.parameters()]
    upstream = torch.ones_like(layer(*leaves, *others))

    def forward() -> Tensor:
        with torch.no_grad():
            out: Tensor = layer(*leaves, *others)
        return out

    return forward, lambda: torch.autograd.grad(layer(*leaves, *others), wanted, upstream)[0]


def rows(
    case: Case,
    precision: Precision,
    bandwidth: float,
    device: torch.device,
    *,
    batch: int,
    size: int,
    rounds: int,
) -> Iterator[str]:
    """Yield the table's two rows of a case.

    Args:
        case: what to measure.
        precision: of products and features.
        bandwidth: bytes that are read and written in a microsecond.
        device: where.
        batch: B.
        size: sides of the features.
        rounds: timed replays of a graph.
    """
    layer = case.layer.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    features, others = case.features(batch, size, device), case.others()
    error = largest_difference(layer, *(each[:1] for each in features), *others, precision=precision)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    features, layer = [each.to(dtype) for each in features], layer.to(dtype)
    fast = copy.deepcopy(layer)
    exchange_layers(fast)
    moved = sum(each.nbytes for each in features) + layer(*features, *others).nbytes
    ours, theirs = steps(fast, features, others), steps(layer, features, others)
    for i, (label, times) in enumerate(
        (("forward", case.forward), ("forward + backward", case.forward + case.backward))
    ):
        quick, plain = (microseconds_on_device(each[i], rounds) for each in (ours, theirs))
        floor = times * moved / bandwidth
        yield (
            f"| {case.name} | {label} | {quick:.0f} | {plain:.0f} | {plain / quick:.1f} | {floor:.0f} | "
            f"{floor / quick:.0%} | {error:.0e} |"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(1, "benchmarks.kernels: no CUDA device here; nothing was measured\n")
    device = torch.device("cuda")
    source = torch.zeros(2**28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * source.numel() / microseconds(lambda: target.copy_(source), arguments.rounds)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {bandwidth / 1e6:.2f} TB/s copied")
    for precision in PRECISIONS:
        print(f"\n({arguments.batch}, {arguments.size}, {arguments.size}, C) in {precision}\n")
        print(f"| {' | '.join(COLUMNS)} |\n|" + "---|" * len(COLUMNS), flush=True)
        for case in cases(arguments.size):
            options = {"batch": arguments.batch, "size": arguments.size, "rounds": arguments.rounds}
            try:
                with arithmetic(device, precision, threads=torch.get_num_threads()):
                    for row in rows(case, precision, bandwidth, device, **options):
                        print(row, flush=True)
            except Exception as error:  # of a compiler or driver, any: the other kernels are measured
                sys.stderr.write(f"{case.name} in {precision}: {in_one_line(error)}\n")


if __name__ == "__main__":
    main()
