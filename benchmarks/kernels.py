"""Each CUDA kernel against plain PyTorch and against its traffic, in one run.

    PYTHONPATH=src python -m benchmarks.kernels [--batch 64] [--size 48] [--dtype float32] [--rounds 50]

prints a Markdown table: forward pass, and forward and backward together. An ALKConv includes its 1x1
convolution, and its floor the traffic of that. The floor is what the device needs
to copy as many bytes as the operation must read and write, at the copy bandwidth measured here.
"""

import argparse
import copy
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from alkdnet.device import arithmetic
from alkdnet.kernels.cuda.exchange import exchange_kernels, self_check
from alkdnet.layers.convolution import ALKConv

# Passes over the features, forward and backward: a 1x1 convolution 2 and 4, the rest of ALKConv 2 and 9.
ALKCONV_PASSES = (4, 13)
DEPTHWISE_PASSES = (2, 4)


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


def steps(layer: nn.Module, x_BCHW: Tensor) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the forward pass without gradients, and forward and backward."""
    leaf = x_BCHW.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    wanted = [leaf, *layer.parameters()]
    upstream = torch.ones_like(layer(leaf))

    def forward() -> object:
        with torch.no_grad():
            return layer(leaf)

    return forward, lambda: torch.autograd.grad(layer(leaf), wanted, upstream)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(1, "benchmarks.kernels: no CUDA device here; nothing was measured\n")
    device = torch.device("cuda")
    if problem := self_check(device):
        parser.exit(1, f"benchmarks.kernels: the kernels do not work here: {problem}\n")
    dtype = getattr(torch, arguments.dtype)
    source = torch.empty(2**28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * source.numel() / microseconds(lambda: target.copy_(source), arguments.rounds)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {bandwidth / 1e6:.2f} TB/s copied\n")
    print(f"({arguments.batch}, {arguments.size}, {arguments.size}, C) in {arguments.dtype}\n")
    print("| layer | pass | kernels, us | plain, us | times as fast | floor, us |\n|---|---|---|---|---|---|")
    cases: list[tuple[str, nn.Module, int, tuple[int, int]]] = [
        (f"ALKConv k = {k}", ALKConv(64, 64, kernel_size=k), 64, ALKCONV_PASSES) for k in (3, 5, 9, 11)
    ]
    cases += [
        (f"depthwise 3 x 3, C = {c}", nn.Conv2d(c, c, 3, padding=1, groups=c), c, DEPTHWISE_PASSES)
        for c in (16, 64)
    ]
    with arithmetic(device, "float32", threads=torch.get_num_threads()):
        for name, layer, channels, (forward_passes, backward_passes) in cases:
            shape = (arguments.batch, channels, arguments.size, arguments.size)
            x_BCHW = torch.randn(shape, device=device, dtype=dtype).to(memory_format=torch.channels_last)
            layer.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            fast = copy.deepcopy(layer)
            exchange_kernels(fast)
            both = forward_passes + backward_passes
            for label, ours, theirs, passes in zip(
                ("forward", "forward + backward"),
                steps(fast, x_BCHW),
                steps(layer, x_BCHW),
                (forward_passes, both),
                strict=True,
            ):
                quick, plain = (microseconds(step, arguments.rounds) for step in (ours, theirs))
                floor = passes * x_BCHW.nbytes / bandwidth
                print(f"| {name} | {label} | {quick:.0f} | {plain:.0f} | {plain / quick:.1f} | {floor:.0f} |")


if __name__ == "__main__":
    main()
