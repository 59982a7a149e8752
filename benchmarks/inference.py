"""The forward pass: the plain network against the ways to compute it faster, in one run.

    PYTHONPATH=src python -m benchmarks.inference [--device cpu] [--threads 2] [--rounds 5] [--profile]

prints Markdown tables for docs/inference.md. On CUDA: benchmarks/inference_cuda.py. On a CPU: the plain
network, the module, and the default of every inference, which divides the image into strips. Every variant
has a process of its own, since what one does to the memory of the C library helps the next; they take turns,
and medians are taken. A measurement during which others took more than a twentieth of the machine does not
count and is made again, for --patience seconds at most; the table says how many counted, and takes all where
none did.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from statistics import median

import torch
from torch import Tensor

from alkdnet.analysis.complexity import count
from alkdnet.efficiency.clock import timed
from alkdnet.inference.upscaler import Upscaler
from alkdnet.networks.alkdnet import ALKDNet
from benchmarks import inference_cuda
from benchmarks.plain import PlainALKDNet, copy_weights

Forward = Callable[[Tensor], Tensor]

# The LR sizes of Set14 at x4, in the set's order: eleven different ones.
SET14 = (
    (120, 125), (144, 180), (128, 128), (72, 88), (90, 62), (69, 69), (90, 125),
    (72, 88), (128, 128), (128, 128), (128, 192), (128, 128), (164, 132), (97, 146),
)  # fmt: skip
TOLERATED = 0.05
VARIANTS = ("plain", "module", "fast")


def build(name: str) -> Forward:
    """Return one of the ways to compute the same network, x4, and leave nothing of the others."""
    torch.manual_seed(0)
    model = ALKDNet(scale=4).eval()
    if name == "plain":
        plain = PlainALKDNet(scale=4).eval()
        copy_weights(model, plain)
        return plain
    return model if name == "module" else Upscaler(model).forward


def _serve(name: str, threads: int, pipe: Connection) -> None:
    """Answer every request for a measurement, in a process of its own; the first answer is the output."""
    torch.set_num_threads(threads)
    call: Callable[[], Tensor]
    if name == "matrix":
        matrix = torch.rand(2000, 2000)
        call = partial(torch.mm, matrix, matrix)
    else:
        forward = build(name)
        torch.manual_seed(1)
        call = partial(forward, torch.rand(1, 3, 180, 320))
    with torch.inference_mode():
        pipe.send(call().numpy())
        while pipe.recv():
            pipe.send(timed(call, processors=torch.get_num_threads()))


def forward_table(threads: int, rounds: int, patience: float) -> None:
    """Print what a warm forward pass takes, beside the arithmetic at the rate of a matrix product."""
    context = multiprocessing.get_context("spawn")
    pipes, outputs = {}, {}
    for name in (*VARIANTS, "matrix"):
        pipes[name], other = context.Pipe()
        context.Process(target=_serve, args=(name, threads, other), daemon=True).start()
        outputs[name] = pipes[name].recv()
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in pipes}
    end = time.monotonic() + patience
    while time.monotonic() < end and min(map(_undisturbed, samples.values())) < rounds:
        for name, pipe in pipes.items():
            pipe.send(True)
            samples[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    seconds = {name: _median(found) for name, found in samples.items()}
    rate = 2 * 2000**3 / seconds["matrix"]
    flop = 2 * count(ALKDNet(scale=4), lr_height=180, lr_width=320).multi_adds_convolutions
    print(f"180 x 320 to 720 x 1280, {threads} threads, float32\n")
    print(
        "| variant | median | quickest | times as fast as plain | largest difference to plain | undisturbed |"
    )
    print("|---|---|---|---|---|---|")
    for name in VARIANTS:
        quickest = min(sample[0] for sample in samples[name])
        difference = abs(outputs[name] - outputs["plain"]).max()
        print(
            f"| {name} | {seconds[name]:.3f} s | {quickest:.3f} s | {seconds['plain'] / seconds[name]:.2f} | "
            f"{difference:.1e} | {_undisturbed(samples[name])} of {len(samples[name])} |"
        )
    print(
        f"| lower bound: {flop / 1e9:.1f} GFLOP at {rate / 1e9:.0f} GFLOP/s | {flop / rate:.3f} s | | | | |"
    )


def _fresh(name: str, threads: int, queue: "multiprocessing.Queue[tuple[float, float, float]]") -> None:
    torch.set_num_threads(threads)
    images = [torch.rand(1, 3, *size) for size in SET14]
    forward: Forward

    def begin() -> None:
        nonlocal forward
        forward = build(name)
        forward(images[0])

    with torch.inference_mode():
        first, _ = timed(begin, processors=threads)
        rest, others = timed(lambda: [forward(image) for image in images[1:]], processors=threads)
    queue.put((first, first + rest, others))


def set_table(threads: int, rounds: int, patience: float) -> None:
    """Print what a benchmark set takes in a fresh process, building of the network and new sizes included."""
    context = multiprocessing.get_context("spawn")
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
    firsts: dict[str, list[float]] = {name: [] for name in VARIANTS}
    end = time.monotonic() + patience
    while time.monotonic() < end and min(map(_undisturbed, samples.values())) < rounds:
        for name, found in samples.items():
            queue: multiprocessing.Queue[tuple[float, float, float]] = context.Queue()
            process = context.Process(target=_fresh, args=(name, threads, queue))
            process.start()
            first, seconds, others = queue.get()
            firsts[name].append(first)
            found.append((seconds, others))
            process.join()
    print(f"\nThe {len(SET14)} LR images of Set14 at x4, one after the other in a fresh process\n")
    print("| variant | network built and first image | all images | times as fast as plain | undisturbed |")
    print("|---|---|---|---|---|")
    total = {name: _median(found) for name, found in samples.items()}
    for name, found in samples.items():
        print(
            f"| {name} | {median(firsts[name]):.2f} s | {total[name]:.2f} s | "
            f"{total['plain'] / total[name]:.2f} | {_undisturbed(found)} of {len(found)} |"
        )


def _undisturbed(samples: list[tuple[float, float]]) -> int:
    return sum(others < TOLERATED for _, others in samples)


def _median(samples: list[tuple[float, float]]) -> float:
    """Return the median of the undisturbed seconds, or of all if there are none."""
    chosen = [seconds for seconds, others in samples if others < TOLERATED]
    return median(chosen or [seconds for seconds, _ in samples])


def profiles() -> None:
    """Print where the time goes, by operator."""
    x_BCHW = torch.rand(1, 3, 180, 320)
    for name in ("plain", "fast"):
        forward = build(name)
        with torch.inference_mode():
            forward(x_BCHW)
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                forward(x_BCHW)
        events = sorted(profile.key_averages(), key=lambda event: -event.self_cpu_time_total)
        total = sum(event.self_cpu_time_total for event in events)
        print(
            f"\n{name}: {total / 1e6:.2f} s under the profiler\n\n| operator | calls | share |\n|---|---|---|"
        )
        for event in events[:10]:
            print(f"| `{event.key}` | {event.count} | {event.self_cpu_time_total / total:.1%} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="on a CPU")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for each table, on a CPU")
    parser.add_argument("--profile", action="store_true", help="on a CPU")
    parser.add_argument("--passes", type=int, default=100, help="timed passes of each variant, on CUDA")
    arguments = parser.parse_args()
    if arguments.device == "cuda":
        if not torch.cuda.is_available():
            parser.exit(1, "benchmarks.inference: no CUDA device here; nothing was measured\n")
        device = torch.device("cuda")
        for line in inference_cuda.table(device, passes=arguments.passes, threads=arguments.threads):
            print(line, flush=True)
        return
    torch.set_num_threads(arguments.threads)
    forward_table(arguments.threads, arguments.rounds, arguments.patience)
    set_table(arguments.threads, arguments.rounds, arguments.patience)
    if arguments.profile:
        profiles()


if __name__ == "__main__":
    main()
