"""Compile all kernels for an H100 or H200 on a host without one, and print what each takes of it.

    PYTHONPATH=src python -m tests.kernels.cuda.compile_kernels [--all]

What the interpreter accepts and the compiler does not is found here: the front end, layouts, shared memory,
and registers that spill. The lines are JSON: kernel, sizes, registers and bytes of stack of a thread, bytes
of shared memory of a program, and how many programs a multiprocessor holds by their registers. By default
those of the paper's ALKDNet, in two minutes; with --all others too.
"""

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from alkdnet.kernels.cuda import alkconv, attention, depthwise, pointwise, resampling, sums
from alkdnet.kernels.cuda.launching import SIZES, power_of_two

INTEGERS = {*SIZES, "pad", "columns", "pixels", "steps", "programs", "length"}
INTEGERS |= {"coarse_height", "coarse_width", "per_program"}
FLOATS = {"eps", "ratio_h", "ratio_w"}
PARAMETERS = {"weight", "bias", "scale", "shift", "sums", "vertical", "horizontal", "square"}
PARAMETERS |= {
    "skip",
    "expand",
    "squeeze",
    "excite",
    "moments",
    "statistics",
    "to_statistics",
    "to_parameters",
}
TARGET = GPUTarget("cuda", 90, 32)
# A quarter of a multiprocessor, which holds whole warps.
REGISTERS, QUARTERS, WARP = 16384, 4, 32


Case = tuple[object, dict[str, int | bool], dict[str, int]]


def usage(
    kernel, sizes: dict[str, int | bool], options: dict[str, int], *, features: str
) -> tuple[int, int, int]:
    """Compile a kernel for features of a type; return registers, bytes of stack and of shared memory."""
    signature = {}
    for name in kernel.arg_names:
        if name in sizes:
            signature[name] = "constexpr"
        elif name in INTEGERS:
            signature[name] = "i32"
        elif name in FLOATS:
            signature[name] = "fp32"
        elif name == "index":
            signature[name] = "*i32"
        else:
            parameter = name.rstrip("12") in PARAMETERS or name.endswith("_bias")
            signature[name] = "*fp32" if parameter else f"*{features}"
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*")
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=dict(sizes), attrs=aligned)
    compiled = triton.compile(source, target=TARGET, options=options)
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [tools / "cuobjdump", "-res-usage", file.name]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = re.findall(r"REG:(\d+) STACK:(\d+)", listing)[-1]
    return int(registers), int(stack), compiled.metadata.shared


def resident(registers: int, warps: int) -> int:
    """Return how many programs a multiprocessor holds; registers are allotted by eight to a thread."""
    return REGISTERS // (-(-registers // 8) * 8 * WARP) * QUARTERS // warps


def alkconv_cases(channels: int, k: int) -> Iterator[Case]:
    """Yield the kernels of an ALKConv, as training on 48 x 48 patches launches them."""
    x_BHWC, vertical = torch.empty(64, 48, 48, channels, device="meta"), torch.empty(channels, 1, k, 1)
    for kernel, backward, with_sums in (
        (alkconv._forward, False, False),
        (alkconv._backward_to_branches, True, True),
        (alkconv._backward_to_features, True, False),
    ):
        plan = alkconv._plan(x_BHWC, vertical, backward=backward, sums=with_sums)
        options = {"num_warps": plan.warps}
        if kernel is alkconv._backward_to_features:
            yield kernel, plan.constants, options
        else:
            for residual in (False, True):
                yield kernel, plan.constants | {"RESIDUAL": residual, "STRIDE": channels}, options


def depthwise_cases(channels: int, k: int, stride: int) -> Iterator[Case]:
    """Yield the kernels of a depthwise convolution."""
    out_BHWC, weight = torch.empty(64, 48, 48, channels, device="meta"), torch.empty(channels, 1, k, k)
    tap_rows = 1 if k * k > depthwise.MOST_TAPS else k
    for kernel, more in (
        (depthwise._forward, {"HAS_BIAS": True, "FLIP": False}),
        (depthwise._to_parameters, {"TAP_ROWS": tap_rows}),
        *([(depthwise._strided_to_features, {})] if stride > 1 else []),
    ):
        plan = depthwise._plan(out_BHWC, weight, sums="TAP_ROWS" in more)
        yield kernel, plan.constants | {"S": stride} | more, {"num_warps": plan.warps}


def pointwise_cases(outputs: int, inputs: int, second: int = 0, *, gelu: bool = False) -> Iterator[Case]:
    """Yield the kernels of a 1x1 convolution, or of two of the same features."""
    sizes = {"CI": inputs, "C1": outputs, "C2": second, "SI": inputs, "S1": outputs, "S2": 128, "GELU": gelu}
    sizes |= {"T1": max(outputs, pointwise.LEAST), "T2": max(second or outputs, pointwise.LEAST)}
    options = {"num_warps": 4, "num_stages": 1}
    forward = {"TI": inputs, "N": pointwise.FORWARD_PIXELS, "HAS_BIAS": not second}
    yield pointwise._forward, sizes | forward, options
    backward = {"TI": min(inputs, pointwise.MOST), "N": pointwise.BACKWARD_PIXELS, "RESIDUAL": second > 0}
    yield pointwise._backward, sizes | backward, options


def attention_cases(channels: int) -> Iterator[Case]:
    """Yield the kernels of the second half of a block."""
    width, hidden = channels // 4, channels // 16
    padded = {"C": channels, "CP": pointwise.tile_of(channels)}
    of_esa = padded | {"F": width, "FP": pointwise.tile_of(width)}
    of_cca = padded | {"R": hidden, "RP": power_of_two(hidden), "K": attention.TOGETHER}
    options = {"num_warps": 4, "num_stages": 1}
    forward, backward = ({"N": each} for each in (pointwise.FORWARD_PIXELS, pointwise.BACKWARD_PIXELS))
    yield attention._attend, of_esa | forward, options
    yield attention._weigh, of_cca, {"num_warps": 4}
    yield attention._finish, of_esa | forward | {"NORM": True}, options
    yield attention._to_weight, of_esa | backward | {"NORM": True}, options
    yield attention._to_statistics, of_cca | {"NORM": True}, {"num_warps": 4}
    yield attention._to_features, of_esa | backward | {"NORM": True}, options


def cases(*, more: bool) -> Iterator[Case]:
    """Yield kernels with their sizes and the options of their launch."""
    yield from alkconv_cases(64, 9)
    yield from depthwise_cases(64, 3, 1)
    yield from depthwise_cases(16, 3, 2)
    yield from pointwise_cases(64, 64)
    yield from pointwise_cases(64, 64, 32)
    yield from pointwise_cases(64, 128, gelu=True)
    yield from attention_cases(64)
    yield sums._add_up, {"L": sums.COLUMNS, "N": sums.ROWS}, {"num_warps": 8}
    padded = {"C": 16, "CP": power_of_two(16)}
    gathered = {"M": resampling.GATHERED, "N": 64, "STAGES": resampling.STAGES}
    yield resampling._bilinear_forward, padded | {"N": 64}, {"num_warps": 4}
    yield resampling._bilinear_backward, padded | gathered, {"num_warps": 8}
    yield resampling._pool_forward, padded | {"K": 7, "S": 3, "N": 8}, {"num_warps": 4}
    yield resampling._pool_backward, padded | {"K": 7, "S": 3, "N": 16}, {"num_warps": 4}
    if more:
        for channels, k in ((64, 3), (64, 11), (32, 9), (48, 5), (16, 31)):
            yield from alkconv_cases(channels, k)
        yield from attention_cases(48)
        for channels, k in ((48, 5), (16, 9)):
            yield from depthwise_cases(channels, k, 1)
        for outputs, inputs in ((32, 64), (16, 64), (16, 16)):
            yield from pointwise_cases(outputs, inputs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--all", action="store_true", help="other sizes too, in ten minutes")
    for kernel, sizes, options in cases(more=parser.parse_args().all):
        for features in ("fp32", "bf16"):
            registers, stack, shared = usage(kernel, sizes, options, features=features)
            name = f"{kernel.fn.__module__.rpartition('.')[2]}.{kernel.fn.__name__}"
            record = {"kernel": name, "features": features, **sizes, **options}
            record |= {"registers": registers, "stack": stack, "shared": shared}
            record["resident"] = resident(registers, options["num_warps"])
            print(json.dumps(record), flush=True)  # noqa: T201
