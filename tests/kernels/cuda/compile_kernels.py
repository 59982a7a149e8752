"""Compile all kernels for an H100 or H200 on a host without one, and print what each takes of it.

    PYTHONPATH=src python -m tests.kernels.cuda.compile_kernels

What the interpreter accepts and the compiler does not is found here: the front end, layouts, shared memory,
and registers that spill. The lines are JSON: kernel, sizes, registers and bytes of stack of a thread.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from alkdnet.kernels.cuda import alkconv, depthwise, resampling
from alkdnet.kernels.cuda.launching import power_of_two, tiling

INTEGERS = {"H", "W", "bands", "out_height", "out_width", "pad_above", "pad_left", "pad"}
FLOATS = {"eps", "ratio_h", "ratio_w"}
PARAMETERS = {"weight", "bias", "scale", "shift", "sums", "vertical", "horizontal", "square"}
TARGET = GPUTarget("cuda", 90, 32)


def usage(kernel, sizes: dict[str, int | bool], *, warps: int, features: str) -> tuple[int, int]:
    """Compile a kernel for features of a type; return registers and bytes of stack of a thread."""
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
        if signature[name].startswith("*")
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=dict(sizes), attrs=aligned)
    compiled = triton.compile(source, target=TARGET, options={"num_warps": warps})
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [tools / "cuobjdump", "-res-usage", file.name]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = re.findall(r"REG:(\d+) STACK:(\d+)", listing)[-1]
    return int(registers), int(stack)


def cases() -> Iterator[tuple[object, dict[str, int | bool], int]]:
    """Yield kernels with their sizes and warps, as training on 48 x 48 patches launches them."""
    for channels, k in ((64, 9), (64, 3), (64, 11), (32, 9), (48, 5), (16, 31)):
        wide = k > alkconv.WIDEST_OF_TWO
        plan = tiling(64, 48, 48, channels, columns=1 if wide else 2, per_thread=1 if wide else 2)
        sizes = {
            "C": channels,
            "CP": plan.channels,
            "K": k,
            "P": plan.columns,
            "G": plan.strips,
            "ROWS": plan.rows,
        }
        for kernel in (alkconv._forward, alkconv._backward_to_branches, alkconv._backward_to_features):
            yield kernel, sizes, plan.warps
    for channels, k, stride in ((64, 3, 1), (16, 3, 2), (48, 5, 1), (16, 9, 1)):
        wide = k * k > depthwise.MOST_TAPS
        plan = tiling(64, 48, 48, channels, columns=depthwise.COLUMNS, per_thread=1 if wide else 2)
        sizes = {
            "C": channels,
            "CP": plan.channels,
            "KH": k,
            "KW": k,
            "S": stride,
            "P": plan.columns,
            "G": plan.strips,
            "ROWS": plan.rows,
        }
        yield depthwise._forward, sizes | {"HAS_BIAS": True, "FLIP": False}, plan.warps
        yield depthwise._to_parameters, sizes | {"TAP_ROWS": 1 if wide else k}, plan.warps
        if stride > 1:
            yield depthwise._strided_to_features, sizes, plan.warps
    padded = {"C": 16, "CP": power_of_two(16)}
    yield resampling._bilinear_backward, padded | {"ROWS": 21, "COLUMNS": 21, "N": 32}, 4
    yield resampling._pool_backward, padded | {"K": 7, "S": 3, "N": 16}, 4


if __name__ == "__main__":
    for kernel, sizes, warps in cases():
        for features in ("fp32", "bf16"):
            registers, stack = usage(kernel, sizes, warps=warps, features=features)
            name = f"{kernel.fn.__module__.rpartition('.')[2]}.{kernel.fn.__name__}"
            record = {"kernel": name, **sizes, "warps": warps, "features": features}
            print(json.dumps(record | {"registers": registers, "stack": stack}), flush=True)  # noqa: T201
