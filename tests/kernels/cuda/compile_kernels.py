"""Compile all kernels for an H100 or H200 on a host without one, and print what each takes of it.

    PYTHONPATH=src python -m tests.kernels.cuda.compile_kernels [--all]

What the interpreter accepts and the compiler does not is found here: the front end, layouts, shared memory,
and registers that spill. The lines are JSON: kernel, sizes, registers and bytes of stack of a thread, bytes
of shared memory of a program. By default those of the paper's ALKDNet, in two minutes; with --all others too.
"""

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from alkdnet.kernels.cuda import alkconv, depthwise, pointwise, resampling
from alkdnet.kernels.cuda.launching import SIZES, power_of_two, tiling

# Channels, which are multiples of 16 here as addresses are.
MULTIPLES = {"outputs", "inputs"}
INTEGERS = {*SIZES, "pad", "columns", "pixels", "steps", *MULTIPLES}
FLOATS = {"eps", "ratio_h", "ratio_w"}
PARAMETERS = {"weight", "bias", "scale", "shift", "sums", "vertical", "horizontal", "square"}
TARGET = GPUTarget("cuda", 90, 32)


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
            signature[name] = "*i64"
        else:
            signature[name] = "*fp32" if name in PARAMETERS or name.endswith("_bias") else f"*{features}"
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*") or name in MULTIPLES
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


def alkconv_cases(channels: int, k: int) -> Iterator[Case]:
    """Yield the kernels of an ALKConv, as training on 48 x 48 patches launches them."""
    each = 1 if k > alkconv.WIDEST_OF_TWO else 2
    plan = tiling(64, 48, 48, channels, columns=each, per_thread=each)
    sizes, options = plan.constants | {"K": k}, {"num_warps": plan.warps}
    for kernel in (alkconv._forward, alkconv._backward_to_branches):
        for residual in (False, True):
            yield kernel, sizes | {"RESIDUAL": residual}, options
    yield alkconv._backward_to_features, sizes, options


def depthwise_cases(channels: int, k: int, stride: int) -> Iterator[Case]:
    """Yield the kernels of a depthwise convolution."""
    wide = k * k > depthwise.MOST_TAPS
    plan = tiling(64, 48, 48, channels, columns=depthwise.COLUMNS, per_thread=1 if wide else 2)
    sizes, options = plan.constants | {"KH": k, "KW": k, "S": stride}, {"num_warps": plan.warps}
    yield depthwise._forward, sizes | {"HAS_BIAS": True, "FLIP": False}, options
    yield depthwise._to_parameters, sizes | {"TAP_ROWS": 1 if wide else k}, options
    if stride > 1:
        yield depthwise._strided_to_features, sizes, options


def pointwise_cases(outputs: int, inputs: int) -> Iterator[Case]:
    """Yield the kernel of a 1x1 convolution."""
    sizes = {"TO": outputs, "TI": inputs, "N": pointwise.PIXELS}
    yield pointwise._to_parameters, sizes, {"num_warps": 4, "num_stages": 1}


def cases(*, more: bool) -> Iterator[Case]:
    """Yield kernels with their sizes and the options of their launch."""
    yield from alkconv_cases(64, 9)
    yield from depthwise_cases(64, 3, 1)
    yield from depthwise_cases(16, 3, 2)
    yield from pointwise_cases(64, 64)
    padded = {"C": 16, "CP": power_of_two(16)}
    yield resampling._bilinear_backward, padded | {"N": 32}, {"num_warps": 4}
    yield resampling._pool_backward, padded | {"K": 7, "S": 3, "N": 16}, {"num_warps": 4}
    if more:
        for channels, k in ((64, 3), (64, 11), (32, 9), (48, 5), (16, 31)):
            yield from alkconv_cases(channels, k)
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
            print(json.dumps(record), flush=True)  # noqa: T201
