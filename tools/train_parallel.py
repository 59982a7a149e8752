"""Train several runs of a pipeline at once, one per GPU where there are GPUs, then do the rest of it."""

import argparse
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alkdnet.config.loading import DEMO, params_path

TRAIN = "train@"


def main() -> int:
    """Do all that the runs need, the runs side by side, and what follows them; 0 if all of it succeeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-j", "--jobs", type=int, default=0, help="runs at once; 0: one per GPU, else 2")
    parser.add_argument("--pipeline", default=DEMO, help="its name: demo, paper, ...")
    parser.add_argument("runs", nargs="*", help="runs to train at once; without any, all")
    arguments = parser.parse_args()
    pipeline = params_path(arguments.pipeline).with_name("dvc.yaml")
    stages = _dvc_lines("stage", "list", "--name-only", str(pipeline))
    targets = [_target(pipeline, name) for name in stages]
    trained = [target for target in targets if _run(target)]
    known = {_run(target): target for target in trained}
    if unknown := [run for run in arguments.runs if run not in known]:
        sys.exit(f"error: {arguments.pipeline} has no run {', '.join(unknown)}; it has: {', '.join(known)}")
    chosen = [known[run] for run in arguments.runs] or trained
    devices = _devices()
    jobs = arguments.jobs or len(devices) or 2

    before = _before(pipeline, trained)
    # Without targets, DVC would reproduce the pipeline of this folder, whichever was asked for.
    if before and _dvc("repro", *before):
        sys.exit("error: what the runs are made from failed; nothing was trained")
    failed = train_all(chosen, jobs=jobs, devices=devices)
    for target in failed:
        _say(f"{_run(target)} failed; it gets another try by itself")
    # By now everything trained is in dvc.lock; --keep-going does what does not depend on a run that failed.
    status = _dvc("repro", "--keep-going", str(pipeline))
    lost = [_run(target) for target in failed if _dvc("status", "--quiet", target)]
    if status and lost:
        _say(f"error: failed: {', '.join(lost)} (their output is above)")
    elif status:
        _say("error: every run is trained; what failed comes after them (its output is above)")
    return status


def train_all(targets: Sequence[str], *, jobs: int, devices: Sequence[str]) -> list[str]:
    """Train the targets, `jobs` at once, each on the device that is free; return those that failed."""
    free: queue.SimpleQueue[str] = queue.SimpleQueue()
    for index in range(jobs):
        free.put(devices[index % len(devices)] if devices else "")
    stopped = threading.Event()

    def train(target: str) -> bool:
        if stopped.is_set():
            return False
        device = free.get()
        try:
            # Only this stage (-s), or the workers would block each other over the stages before it; and
            # waiting for the lock, which every one of them takes for a moment at its start and its end.
            status = _dvc(
                "--wait-for-lock", "repro", "-s", target, device=device, prefix=f"[{_run(target)}] "
            )
        finally:
            free.put(device)
        return status == 0

    with ThreadPoolExecutor(jobs) as pool:
        futures = {target: pool.submit(train, target) for target in targets}
        try:
            return [target for target, future in futures.items() if not future.result()]
        except KeyboardInterrupt:
            # The trainers have got the signal too, and write their checkpoints.
            stopped.set()
            raise


def _before(pipeline: Path, trained: Sequence[str]) -> list[str]:
    """Return the stages that the training stages depend on, directly or not."""
    edges = [
        (source.strip().strip('"'), target.strip().rstrip(";").strip('"'))
        for line in _dvc_lines("dag", "--dot", str(pipeline))
        if "->" in line
        for source, target in [line.split("->")]
    ]
    wanted, found = set(trained), set[str]()
    while wanted:
        found |= wanted
        wanted = {source for source, target in edges if target in found} - found
    return sorted(found - set(trained))


def _devices() -> list[str]:
    """Return the GPUs as CUDA_VISIBLE_DEVICES names them: those allowed to this process, or all."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [name for name in allowed.split(",") if name]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(index) for index in range(listed.count("GPU "))]


def _target(pipeline: Path, name: str) -> str:
    return name if pipeline == Path("dvc.yaml") or ":" in name else f"{pipeline}:{name}"


def _run(target: str) -> str:
    """Return the run that a stage trains, empty for other stages."""
    _, found, run = target.rpartition(":")[2].partition(TRAIN)
    return run if found else ""


def _dvc(*arguments: str, device: str = "", prefix: str = "") -> int:
    """Run DVC and pass its output on, line by line behind a prefix; return its exit status."""
    environment = _environment() | ({"CUDA_VISIBLE_DEVICES": device} if device else {})
    command = [sys.executable, "-m", "dvc", *arguments]
    if not prefix:
        return subprocess.run(command, env=environment).returncode
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            _say(prefix + line.rstrip())
        return process.wait()


def _dvc_lines(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, env=_environment(), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.splitlines()


def _environment() -> dict[str, str]:
    """Return the environment in which the stages' `python` is this one."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
