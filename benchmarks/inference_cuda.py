"""The forward pass on CUDA: plain, with the kernels, compiled, and both, in every precision, in one run.

`python -m benchmarks.inference --device cuda` calls it. `plain` is benchmarks/plain.py in NCHW memory with
PyTorch's defaults, the others are the module in channels-last memory, `kernels` as every inference on CUDA
has it. Floating-point types of 16 bits are those of weights and features.

`arithmetic` and `traffic` are the milliseconds that a pass cannot do without at the device's own measured
rates; `reached` is the greater of the two as a part of the pass's time.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from alkdnet.analysis.complexity import count
from alkdnet.device import arithmetic
from alkdnet.errors import in_one_line
from alkdnet.kernels.cuda.exchange import exchange_layers, self_check
from alkdnet.layers.convolution import ALKConv
from alkdnet.networks.alkdnet import ALKDNet
from benchmarks.kernels import microseconds
from benchmarks.plain import PlainALKDNet, copy_weights
from benchmarks.train_step import HEAVY, Traffic, copy_bandwidth, device_name, matrix_rate, rates_in_words

SCALE, HEIGHT, WIDTH = 2, 360, 640
Precision = Literal["float32", "tf32", "bfloat16", "float16"]
DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
VARIANTS = ("plain", "kernels", "compiled + kernels", "compiled")
WARM_UP = 10
COLUMNS = (
    *("variant", "precision", "median, ms", "times as fast as plain", "largest difference to plain float32"),
    *("arithmetic, ms", "traffic, ms", "reached"),
)


def build(variant: str, dtype: torch.dtype, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of the same network in one of the VARIANTS, for inputs of the type."""
    torch.manual_seed(0)
    model = ALKDNet(scale=SCALE).eval().requires_grad_(False)
    if variant == "plain":
        plain = PlainALKDNet(scale=SCALE).eval().requires_grad_(False)
        copy_weights(model, plain)
        return plain.to(device, dtype)
    model.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if "kernels" in variant:
        if problem := self_check(model, "float32", gradients=False):
            raise RuntimeError(f"the kernels do not work here: {problem}")
        exchange_layers(model)
    # A compiled function is bound to what it was made for: others must not count against its recompilations.
    torch.compiler.reset()
    forward: Callable[[Tensor], Tensor] = torch.compile(model) if "compiled" in variant else model
    return lambda x_BCHW: forward(x_BCHW.contiguous(memory_format=torch.channels_last))


def pass_cost(height: int = HEIGHT, width: int = WIDTH) -> tuple[float, float]:
    """Return FLOP and bytes of a pass: those of the convolutions and of the operations in HEAVY, in float32.

    An ALKConv reads and writes the features once beside its 1x1 convolution, as one kernel can.
    Concatenations are not counted: what follows could read the parts.
    """
    model = ALKDNet(scale=SCALE).eval().requires_grad_(False)
    flop = 2 * count(model, lr_height=height, lr_width=width).multi_adds_convolutions
    for name, module in list(model.named_modules()):
        if isinstance(module, ALKConv):
            channels = module.pointwise.out_channels
            once = nn.Conv2d(channels, channels, 1, groups=channels)
            model.set_submodule(name, nn.Sequential(module.pointwise, once))
    with Traffic([name for name in HEAVY if name != "cat"]) as traffic, torch.no_grad():
        model.to("meta")(torch.empty(1, 3, height, width, device="meta"))
    return float(flop), float(traffic.bytes)


def measure(
    variant: str, precision: Precision, x_BCHW: Tensor, *, passes: int, threads: int
) -> tuple[float, Tensor]:
    """Return the median milliseconds of a warm pass, and its output as float32 on the CPU."""
    # Nothing of the variants before stays on the device.
    gc.collect()
    torch.cuda.empty_cache()
    float32 = "tf32" if precision == "tf32" else "float32"
    with arithmetic(x_BCHW.device, float32, threads=threads), torch.inference_mode():  # type: ignore[arg-type]
        torch.backends.cudnn.deterministic = variant != "plain"  # off is PyTorch's default
        forward = build(variant, DTYPES[precision], x_BCHW.device)
        x_BCHW = x_BCHW.to(DTYPES[precision])
        output_BCHW = forward(x_BCHW).float().cpu()
        for _ in range(WARM_UP):
            forward(x_BCHW)
        return microseconds(lambda: forward(x_BCHW), passes) / 1000, output_BCHW


def table(
    device: torch.device, *, passes: int, threads: int, height: int = HEIGHT, width: int = WIDTH
) -> Iterator[str]:
    """Measure all and yield the Markdown by line; what fails has no numbers, and its reason is on stderr."""
    x_BCHW = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)).to(device)
    flop, traffic = pass_cost(height, width)
    bandwidth = copy_bandwidth(device)
    rates: dict[str, float] = {precision: matrix_rate(device, precision) for precision in DTYPES}
    yield (
        f"{device_name(device)}, torch {torch.__version__.partition('+')[0]}, {width} x {height}, x{SCALE}: "
        f"{flop / 1e9:.1f} GFLOP and {traffic / 1e9:.2f} GB a pass in float32; "
        f"{rates_in_words(bandwidth, rates)}."
    )
    yield from ("", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS))
    reference_BCHW: Tensor | None = None
    for precision, dtype in DTYPES.items():
        arithmetic_ms = 1000 * flop / rates[precision]
        traffic_ms = 1000 * traffic * dtype.itemsize / 4 / bandwidth
        floors = f"{arithmetic_ms:.2f} | {traffic_ms:.2f}"
        plain_ms: float | None = None
        for variant in VARIANTS:
            name = f"{variant} | {precision}"
            try:
                ms, output_BCHW = measure(variant, precision, x_BCHW, passes=passes, threads=threads)
            except Exception as error:  # of a compiler or driver, any: the other variants are measured
                sys.stderr.write(f"{name}: {in_one_line(error)}\n")
                yield f"| {name} | not timed | | | {floors} | |"
                continue
            if variant == "plain":
                plain_ms = ms
                reference_BCHW = output_BCHW if reference_BCHW is None else reference_BCHW
            faster = f"{plain_ms / ms:.2f}" if plain_ms is not None else ""
            difference = ""
            if reference_BCHW is not None:
                difference = f"{(output_BCHW - reference_BCHW).abs().max().item():.1e}"
            reached = max(arithmetic_ms, traffic_ms) / ms
            yield f"| {name} | {ms:.2f} | {faster} | {difference} | {floors} | {reached:.0%} |"
