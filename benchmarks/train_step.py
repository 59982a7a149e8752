"""A training step of ALKDNet against the plain way, in one run, beside what the device could do at best.

    PYTHONPATH=src python -m benchmarks.train_step [--device cpu] [--threads 2] [--batch 8] [--rounds 3]

prints a Markdown table for docs/training.md, and on stderr each time as it is measured. `plain` is
benchmarks/plain.py in NCHW memory, not compiled, with torch's default Adam and a loader that reads an image
for every patch; `float32` and the others are alkdnet.training.loop.train as the pipeline calls it. On CUDA
each precision is timed eagerly, with the Triton kernels and these as one CUDA graph, compiled too, and with
only one of kernels and compilation; images are read once there. Each is timed in processes of its own, in
turn, so that a busy machine disturbs all alike; on one that is never quiet, read the processor time with
`--threads 1`.

`arithmetic` and `traffic` are the seconds that a step cannot do without at the device's own measured rates;
`reached` is the greater of the two as a part of the step's time.
"""

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from alkdnet.analysis.complexity import count
from alkdnet.config.params import Execution, History, Recipe, Run
from alkdnet.data.images import list_images, read_rgb, write_png
from alkdnet.data.lr import downscale_folder
from alkdnet.data.packing import TrainingSet, pack
from alkdnet.data.packs import PackedImages
from alkdnet.device import arithmetic
from alkdnet.networks import build
from alkdnet.training import step
from alkdnet.training.loop import train
from alkdnet.training.runtime.monitor import NullMonitor
from benchmarks.plain import PlainALKDNet

SCALE, PATCH = 2, 48
WARM_UP = 2
# On CUDA, where a step is short and logging waits for it.
STEPS_PER_ROW = 10
# What a step cannot do without: the inputs and outputs of these, with all elementwise work fused into them.
HEAVY = ("convolution", "layer_norm", "std_mean", "cat", "max_pool2d", "upsample")
COLUMNS = (
    *("variant", "s per step", "iterations/s", "of plain", "CPU s", "of plain"),
    *("arithmetic, s", "traffic, s", "reached"),
)

Precision = Literal["float32", "tf32", "bfloat16"]


class StepTimes(NullMonitor):
    """Notes wall and processor time at every row of the history."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.processor: list[float] = []

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Take the time of a finished row."""
        self.wall.append(time.perf_counter())
        self.processor.append(time.process_time())

    def per_row(self) -> tuple[float, float]:
        """Return the median seconds of a row after the warm-up: (wall, processor)."""
        wall, processor = (np.diff(values)[WARM_UP - 1 :] for values in (self.wall, self.processor))
        return float(np.median(wall)), float(np.median(processor))


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that operations with one of the names in theirs read and write."""

    def __init__(self, names: Sequence[str] = HEAVY) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self._names = names

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run the operation and add its tensors' sizes."""
        out = func(*args, **(kwargs or {}))
        if any(name in str(func) for name in self._names):
            tensors = (leaf for leaf in tree_leaves((args, out)) if isinstance(leaf, torch.Tensor))
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return out


def copy_bandwidth(device: torch.device) -> float:
    """Return the bytes per second that a copy reads and writes."""
    source = torch.zeros(2**28 if device.type == "cuda" else 2**24, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / _seconds(lambda: target.copy_(source), device)


def matrix_rate(device: torch.device, precision: Precision | Literal["float16"]) -> float:
    """Return the FLOP per second of a square matrix product."""
    size = 8192 if device.type == "cuda" else 1536
    dtype = getattr(torch, precision.replace("tf32", "float32"))
    a = torch.randn(size, size, device=device).to(dtype)
    with arithmetic(device, "tf32" if precision == "tf32" else "float32", threads=torch.get_num_threads()):
        return 2 * size**3 / _seconds(lambda: a @ a, device)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(7):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - start)
    return min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def step_cost(batch: int) -> tuple[float, float]:
    """Return FLOP and bytes of a step: those of the convolutions and of the operations in HEAVY, in float32.

    A backward pass costs twice the products of the forward pass. The bytes are counted with one patch on the
    CPU: they are proportional to the batch but for the weights.
    """
    model = build("alkdnet", SCALE, {})
    flop = 6 * count(model, lr_height=PATCH, lr_width=PATCH).multi_adds_convolutions * batch
    with Traffic() as traffic:
        loss = model(torch.rand(1, 3, PATCH, PATCH)).mean()
        torch.autograd.backward(loss)
    return float(flop), float(traffic.bytes * batch)


def make_data(folder: Path) -> None:
    """Write six images of 510 x 340 pixels and their packs."""
    (folder / "hr").mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        blocks_HWC = random.integers(0, 256, (68, 102, 3), dtype=np.uint8)
        write_png(folder / "hr" / f"{number}.png", blocks_HWC.repeat(5, axis=0).repeat(5, axis=1))
    downscale_folder(folder / "hr", folder / "lr", [SCALE])
    pack([TrainingSet("photographs", folder / "hr", folder / "lr")], folder / "patches", {SCALE: 1})


def time_plain(folder: Path, device: torch.device, batch: int, iterations: int) -> tuple[float, float]:
    """Return the median seconds of a step, loading included: (wall, processor)."""
    torch.manual_seed(0)
    model = PlainALKDNet(scale=SCALE).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    random = np.random.default_rng(0)
    paths = list_images(folder / "hr")
    # Beside a GPU other processes would read: the time is that of the step.
    read = functools.cache(read_rgb) if device.type == "cuda" else read_rgb

    def load() -> tuple[torch.Tensor, torch.Tensor]:
        pairs = []
        for _ in range(batch):
            path = paths[random.integers(len(paths))]
            hr_HWC = read(path)
            lr_HWC = read(folder / "lr" / f"x{SCALE}" / path.name)
            row, column = (random.integers(side - PATCH + 1) for side in lr_HWC.shape[:2])
            lr_patch = lr_HWC[row : row + PATCH, column : column + PATCH]
            top, left, side = row * SCALE, column * SCALE, PATCH * SCALE
            pairs.append((lr_patch, hr_HWC[top : top + side, left : left + side]))
        lr_BHWC, hr_BHWC = (
            torch.from_numpy(np.stack(images)).float() / 255 for images in zip(*pairs, strict=True)
        )
        return lr_BHWC.permute(0, 3, 1, 2).contiguous(), hr_BHWC.permute(0, 3, 1, 2).contiguous()

    times = StepTimes()
    for iteration in range(iterations):
        lr_BCHW, hr_BCHW = (images.to(device) for images in load())
        optimizer.zero_grad()
        loss = F.l1_loss(model(lr_BCHW), hr_BCHW)
        torch.autograd.backward(loss)
        optimizer.step()
        times.log(iteration, {"loss": loss.item()})
    return times.per_row()


def time_ours(
    folder: Path, recipe: Recipe, execution: Execution, *, steps_per_row: int
) -> tuple[float, float]:
    """Return the median seconds of a step of the real loop: (wall, processor)."""
    times = StepTimes()
    packed = PackedImages.open(folder / "patches", SCALE)
    with tempfile.TemporaryDirectory() as outputs:
        train(
            run=Run(network="alkdnet", scale=SCALE, recipe="paper", options={}),
            recipe=recipe,
            history=History(
                log_interval=steps_per_row,
                validation_interval=recipe.iterations + 1,
                validation_sets=(),
            ),
            execution=execution,
            packed=packed,
            validation=[],
            output=Path(outputs) / "run",
            checkpoints=Path(outputs) / "checkpoints",
            monitor=times,
        )
    wall, processor = times.per_row()
    return wall / steps_per_row, processor / steps_per_row


def recipe_of(*, batch: int, precision: Precision, iterations: int) -> Recipe:
    """Return the paper's recipe with few iterations."""
    return Recipe(
        iterations=iterations,
        batch_size=batch,
        patch_size=PATCH,
        learning_rate=1e-3,
        final_learning_rate=1e-7,
        beta1=0.9,
        beta2=0.999,
        precision=precision,
    )


def variants(device: str) -> list[str]:
    """Return the names of what is timed: `plain`, then precision and means of ours, the default first."""
    if device == "cpu":
        return ["plain", "float32"]
    # Compilation takes a minute each time: what it is alone comes last, if there is time.
    means = ("", " kernels graph", " kernels graph compiled", " kernels", " compiled")
    precisions: tuple[Precision, ...] = ("tf32", "bfloat16", "float32")
    return ["plain", *(f"{precision}{each}" for each in means for precision in precisions)]


def time_variant(name: str, folder: Path, arguments: argparse.Namespace) -> tuple[float, float]:
    """Time one variant in this process."""
    device = torch.device(arguments.device)
    row = 1 if device.type == "cpu" else STEPS_PER_ROW
    if name == "plain":
        # PyTorch's default lets convolutions use TF32 on CUDA, and the table calls this row float32.
        with arithmetic(device, "float32", threads=arguments.threads):
            torch.backends.cudnn.deterministic = False  # PyTorch's default
            return time_plain(folder, device, arguments.batch, arguments.steps + WARM_UP)
    iterations = (arguments.steps + WARM_UP) * row
    recipe = recipe_of(batch=arguments.batch, precision=precision_of(name), iterations=iterations)
    means = name.split()
    execution = Execution(
        device="cuda" if arguments.device == "cuda" else "cpu",
        compile="compiled" in means,
        kernels="triton" if "kernels" in means else "torch",
        threads=arguments.threads,
        processes=1,
        checkpoint_interval=iterations + 1,
    )
    if "graph" not in means:
        # On CUDA the loop always records its step.
        step.GraphedFunction = lambda function: function  # type: ignore[attr-defined, assignment, return-value]
    return time_ours(folder, recipe, execution, steps_per_row=row)


def table(folder: Path, arguments: argparse.Namespace) -> str:
    """Time all variants in turn and return the Markdown table; what fails or finds no time has no numbers."""
    device = torch.device(arguments.device)
    torch.set_num_threads(arguments.threads)
    deadline = time.monotonic() + arguments.seconds
    flop, traffic = step_cost(arguments.batch)
    names = arguments.only or variants(arguments.device)
    bandwidth = copy_bandwidth(device)
    precisions = {name: precision_of(name) for name in names}
    rates: dict[str, float] = {each: matrix_rate(device, each) for each in dict.fromkeys(precisions.values())}
    if device.type == "cuda":
        torch.cuda.empty_cache()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(arguments.rounds):
        for name in names:
            if time.monotonic() < deadline and (times := time_child(name, folder, deadline)) is not None:
                seconds[name].append(times)
                note = f"round {turn + 1} of {arguments.rounds}, {name}: {times[0]:.4f} s per step"
                print(note, file=sys.stderr, flush=True)
    wall = {name: median(pair[0] for pair in pairs) for name, pairs in seconds.items() if pairs}
    processor = {name: median(pair[1] for pair in pairs) for name, pairs in seconds.items() if pairs}
    device_line = (
        f"torch {torch.__version__.partition('+')[0]}, {device_name(device)}, {arguments.threads} thread(s), "
        f"batch {arguments.batch}, {PATCH}x{PATCH}, x{SCALE}: {flop / 1e9:.1f} GFLOP and "
        f"{traffic / 1e9:.2f} GB a step; {rates_in_words(bandwidth, rates)}."
    )
    lines = [
        device_line,
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
    ]
    for name, precision in precisions.items():
        share = 0.5 if precision == "bfloat16" else 1.0
        arithmetic_s, traffic_s = flop / rates[precision], share * traffic / bandwidth
        if name not in wall:
            lines.append(f"| {name} | not timed | | | | | {arithmetic_s:.4f} | {traffic_s:.4f} | |")
            continue
        of_plain = [
            f"{times[name] / times['plain']:.2f}" if "plain" in times else "" for times in (wall, processor)
        ]
        lines.append(
            f"| {name} | {wall[name]:.4f} | {1 / wall[name]:.2f} | {of_plain[0]} | {processor[name]:.3f} | "
            f"{of_plain[1]} | {arithmetic_s:.4f} | {traffic_s:.4f} | "
            f"{max(arithmetic_s, traffic_s) / wall[name]:.0%} |"
        )
    return "\n".join(lines)


def time_child(name: str, folder: Path, deadline: float) -> tuple[float, float] | None:
    """Time one variant in a process of its own, until the deadline at most; None if that gave no numbers."""
    command = [sys.executable, "-m", "benchmarks.train_step", *sys.argv[1:]]
    try:
        child = subprocess.run(
            [*command, "--variant", name, "--folder", str(folder)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=max(deadline - time.monotonic(), 0),
        )
        wall, processor = json.loads(child.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        # Its traceback, out of memory or out of the compiler, is on stderr already.
        sys.stderr.write(f"{name}: {error}\n")
        return None
    return wall, processor


def precision_of(variant: str) -> Precision:
    """Return the precision that a variant computes in."""
    return "float32" if variant == "plain" else variant.partition(" ")[0]  # type: ignore[return-value]


def rates_in_words(bandwidth: float, rates: Mapping[str, float]) -> str:
    """Return the measured limits of the device: bytes per second of copies, FLOP per second of products."""
    products = ", ".join(f"{precision} {rate / 1e12:.3g}" for precision, rate in rates.items())
    return f"copies run at {bandwidth / 1e9:.0f} GB/s, matrix products at (TFLOP/s) {products}"


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or the CPU's capability."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU with {torch.backends.cpu.get_cpu_capability()}"


def main() -> None:
    """Read the command line; time one variant as a child, all of them otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="64 is the paper's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=5, help=f"timed steps (rows of {STEPS_PER_ROW} on CUDA) in a round"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=540.0,
        help="for all; variants that do not start in it are skipped",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="VARIANT", help="time these variants: 'tf32 kernels' ..."
    )
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "benchmarks.train_step: no CUDA device here; nothing was measured\n")
    if unknown := set(arguments.only or ()) - set(variants(arguments.device)):
        parser.error(
            f"--only: {', '.join(sorted(unknown))}: not among {', '.join(variants(arguments.device))}"
        )
    if arguments.variant is not None:
        print(json.dumps(time_variant(arguments.variant, arguments.folder, arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder))
        print(table(Path(folder), arguments))


if __name__ == "__main__":
    main()
