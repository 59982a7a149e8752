"""Measured efficiency: `measurements.csv` and `machine.json` in a folder for each machine."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from alkdnet.errors import UserError
from alkdnet.results.records import damaged, read_record, write_record

MEASUREMENTS, MACHINE = "measurements.csv", "machine.json"
# Backends, as tables name them.
TITLES = {
    "plain": "PyTorch",
    "upscale": "alkdnet upscale",
    "onnxruntime": "onnxruntime",
    "openvino": "OpenVINO",
    "openvino_bf16": "OpenVINO, bfloat16",
}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What was measured on, with what, and when.

    Attributes:
        date: of the measurement (UTC), YYYY-MM-DD.
        device: cpu or cuda.
        processor: model and instruction sets of the CPU, or model of the GPU.
        threads: of the CPU that were used.
        cores: of the CPU that were available.
        memory_gib: of the device.
        system: operating system and architecture.
        versions: of Python and of what computed, by name, in one line.
    """

    date: str
    device: str
    processor: str
    threads: int
    cores: int
    memory_gib: float
    system: str
    versions: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A network by one backend on one machine; None: not measured.

    Attributes:
        network: its name.
        scale: super-resolution factor.
        height: H of the LR image.
        width: W of the LR image.
        parameters: trainable values.
        multi_adds: by thop 0.1.1's rule, the paper's.
        multi_adds_convolutions: of convolutions only.
        multi_adds_torch: half of what torch.utils.flop_counter counts.
        activations: elements of the outputs of all convolutions.
        backend: plain, upscale, onnxruntime, openvino, ...
        precision: float32, tf32 or bfloat16.
        median_ms: of the time of a forward pass.
        low_ms: its lower quartile.
        high_ms: its upper quartile.
        samples: passes that were timed.
        memory_mib: the most memory of a forward pass, beyond that of the loaded network.
        difference: the largest from the plain backend, of an output of values around 0 to 1.
        disturbed: median share of the machine that other processes took meanwhile.
        remark: why it was not measured, or empty.
    """

    network: str
    scale: int
    height: int
    width: int
    parameters: int
    multi_adds: int
    multi_adds_convolutions: int
    multi_adds_torch: int
    activations: int
    backend: str
    precision: str
    median_ms: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    samples: int = 0
    memory_mib: float | None = None
    difference: float | None = None
    disturbed: float | None = None
    remark: str = ""


def write_efficiency(folder: Path, machine: Machine, measurements: Sequence[Measurement]) -> None:
    """Write both files into a folder that is there."""
    write_record(folder / MACHINE, machine)
    frame = pd.DataFrame([dataclasses.asdict(each) for each in measurements])
    frame.to_csv(folder / MEASUREMENTS, index=False, float_format="%.4g", lineterminator="\n")


def read_efficiency(root: Path) -> list[tuple[Machine, list[Measurement]]]:
    """Return what the folders in `root` hold, by name; empty if there is no such folder.

    Raises:
        UserError: a file is missing or damaged.
    """
    folders = sorted(path.parent for path in root.glob(f"*/{MACHINE}")) if root.is_dir() else []
    return [(read_record(folder / MACHINE, Machine), _measurements(folder)) for folder in folders]


def _measurements(folder: Path) -> list[Measurement]:
    path = folder / MEASUREMENTS
    fields = [field.name for field in dataclasses.fields(Measurement)]
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise damaged(path, str(error)) from None
    if list(frame.columns) != fields:
        raise damaged(path, f"its columns are not {', '.join(fields)}")
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [
        Measurement(**{str(key): value for key, value in row.items()} | {"remark": row["remark"] or ""})
        for row in records
    ]
