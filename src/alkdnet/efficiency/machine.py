"""The machine of a measurement."""

import importlib.metadata
import importlib.util
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from alkdnet.results.efficiency import Machine

_PACKAGES = ("torch", "triton", "onnx", "onnxruntime", "openvino")
# Names in /proc/cpuinfo, widest first.
_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")


def this_machine(device: torch.device, *, threads: int) -> Machine:
    """Return this machine with the packages that compute on it; no name of a host or user is in it."""
    on_cuda = device.type == "cuda"
    versions = {"Python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in _PACKAGES if importlib.util.find_spec(name)
    }
    memory = (
        torch.cuda.get_device_properties(device).total_memory
        if on_cuda
        else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )
    return Machine(
        date=datetime.now(UTC).date().isoformat(),
        device=device.type,
        processor=torch.cuda.get_device_name(device) if on_cuda else _processor(),
        threads=threads,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(memory / 2**30, 1),
        system=f"{platform.system()} {platform.machine()}",
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )


def _processor() -> str:
    """Return the CPU's model and widest instruction sets, where the system reports them."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor() or platform.machine()
    lines = dict(
        [part.strip() for part in line.split(":", 1)] for line in path.read_text().splitlines() if ":" in line
    )
    flags = set(lines.get("flags", "").split())
    known = [name for name in _INSTRUCTIONS if name in flags]
    family = f"family {lines['cpu family']} model {lines['model']}" if "cpu family" in lines else ""
    parts = [lines.get("model name", platform.machine()), family, " ".join(known)]
    return ", ".join(part for part in parts if part)
