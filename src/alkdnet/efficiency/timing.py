"""Latency and memory of a network by backend, each in a process of its own, which take turns.

In one process, memory that one backend leaves to the C library would speed up the next. Taking turns spreads
disturbances, such as a changing clock frequency, over all backends alike.
"""

import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import torch

from alkdnet.device import arithmetic
from alkdnet.efficiency.backends import PLAIN, Call, ImageBCHW, Task, prepare
from alkdnet.efficiency.clock import timed
from alkdnet.errors import in_one_line

WARM_UPS = 2
# OpenVINO takes far longer to compile LKFMixer.
_PREPARATION_S = 120
# Thread pools spin before they sleep: the next backend must not share the CPU with them.
_PAUSE_S = 0.1
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class BackendTiming:
    """Measurements of a backend, times in milliseconds; see `results.efficiency.Measurement`."""

    median_ms: float
    low_ms: float
    high_ms: float
    samples: int
    memory_mib: float | None
    difference: float
    disturbed: float


@dataclass(frozen=True)
class _Ready:
    """A backend after its warm-up: its output, and the most memory of a pass in bytes."""

    output: ImageBCHW
    memory: int | None


def time_backends(task: Task, backends: Sequence[str], *, rounds: int) -> dict[str, BackendTiming | str]:
    """Return the timing of every backend, or the reason why there is none.

    Args:
        task: the network and the image.
        backends: names of backends, `plain` among them.
        rounds: timed passes of every backend, after `WARM_UPS` passes.
    """
    with _processes(task, backends) as pipes:
        ready = {backend: _answer(pipe) for backend, pipe in pipes.items()}
        running = {backend: pipe for backend, pipe in pipes.items() if isinstance(ready[backend], _Ready)}
        samples: dict[str, list[tuple[float, float]]] = {backend: [] for backend in running}
        for _ in range(rounds):
            for backend, pipe in running.items():
                time.sleep(_PAUSE_S)
                with suppress(EOFError, OSError):  # its process was killed: it has a sample too few
                    pipe.send(True)
                    samples[backend].append(pipe.recv())
    return {
        backend: _result(samples.get(backend, []), each, ready, rounds) for backend, each in ready.items()
    }


def _result(
    samples: Sequence[tuple[float, float]],
    each: "_Ready | str",
    ready: "Mapping[str, _Ready | str]",
    rounds: int,
) -> BackendTiming | str:
    if not isinstance(each, _Ready):
        return each
    if len(samples) < rounds:
        return "its process was killed, perhaps for want of memory"
    return _timing(samples, each, ready[PLAIN.name])


def matrix_rate(device: torch.device) -> float:
    """Return the multiply-adds per second of a large matrix product, which no network exceeds."""
    a_NN = torch.rand(2000, 2000, device=device)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        _ = (a_NN @ a_NN)[0, 0].item()  # waits for CUDA
        seconds.append(time.perf_counter() - start)
    return 2000**3 / min(seconds)


@contextmanager
def _processes(task: Task, backends: Sequence[str]) -> Iterator[Mapping[str, Connection]]:
    """Yield a pipe to a process for each backend; one starts after the other, and all end with the block."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    try:
        for backend in backends:
            pipes[backend], other = context.Pipe()
            process = context.Process(target=_serve, args=(backend, task, other), daemon=True)
            process.start()
            other.close()
            processes.append(process)
            if not pipes[backend].poll(_PREPARATION_S):
                process.kill()
        yield pipes
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _answer(pipe: Connection) -> "_Ready | str":
    try:
        answer: _Ready | str = pipe.recv()
    except EOFError:
        return f"not ready after {_PREPARATION_S} seconds, or killed for want of memory"
    return answer


def _serve(backend: str, task: Task, pipe: Connection) -> None:
    """Prepare a backend, then answer every request with the seconds of a pass and the share of others."""
    device = torch.device(task.device)
    with arithmetic(device, task.precision, threads=task.threads):
        try:
            call = prepare(backend, task)
            output, memory = _peak_memory(call, device)
            for _ in range(WARM_UPS - 1):
                call()
        except Exception as error:  # of another library, any: the other backends are measured
            pipe.send(in_one_line(error))
            return
        pipe.send(_Ready(np.asarray(torch.as_tensor(output).float().cpu()), memory))
        while pipe.recv():
            pipe.send(timed(call, processors=multiprocessing.cpu_count()))


def _peak_memory(call: Call, device: torch.device) -> tuple[object, int | None]:
    """Return the output of the first pass and its peak memory in bytes; None: not known."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        output = call()
        return output, torch.cuda.max_memory_allocated(device) - before
    try:
        _CLEAR.write_text("5")  # resets the peak
        resident = _status("VmRSS")
    except (OSError, KeyError):
        return call(), None
    output = call()
    return output, _status("VmHWM") - resident


def _status(name: str) -> int:
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def _timing(samples: Sequence[tuple[float, float]], ready: _Ready, plain: object) -> BackendTiming:
    times = [1e3 * seconds for seconds, _ in samples]
    low, _, high = quantiles(times, method="inclusive") if len(times) > 1 else (times[0],) * 3
    reference = plain.output if isinstance(plain, _Ready) else ready.output
    return BackendTiming(
        median_ms=median(times),
        low_ms=low,
        high_ms=high,
        samples=len(times),
        memory_mib=None if ready.memory is None else ready.memory / 2**20,
        difference=float(np.abs(ready.output - reference).max()),
        disturbed=median(others for _, others in samples),
    )
