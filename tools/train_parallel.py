"""Train several runs of a pipeline at once, then do the rest of it: on this machine, or as jobs of a cluster.

    PYTHONPATH=src python tools/train_parallel.py --pipeline paper --on slurm --partition gpu --hours 12

Arguments may stand in a file, one a line: `... --on slurm @slurm.txt`.
"""

import argparse
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from processes import Stages, devices, due_runs, dvc, environment, find_stages, run_of

from alkdnet.config.loading import DEMO, load_pipeline
from alkdnet.config.paths import Paths
from alkdnet.errors import exit_in_words
from alkdnet.training.runtime.devices import device_groups

# Logs of jobs, and their pickled calls.
JOBS = Path(".jobs")


def main() -> int:
    """Make what the runs depend on, train them in parallel, do the rest; return 0 if all succeeded."""
    arguments = _arguments()
    stages = find_stages(arguments.pipeline)
    if unknown := [run for run in arguments.runs if run not in stages.training]:
        known = ", ".join(stages.training)
        sys.exit(f"error: {arguments.pipeline} has no run {', '.join(unknown)}; it has: {known}")
    chosen = arguments.runs or list(stages.training)
    # Without targets, DVC would reproduce the pipeline of this folder, whichever was asked for.
    if stages.before and dvc("repro", *stages.before):
        sys.exit("error: a stage that the runs depend on failed; nothing was trained")
    return train_as_jobs(arguments, stages, chosen) if arguments.on else train_here(arguments, stages, chosen)


def train_here(arguments: argparse.Namespace, stages: Stages, runs: Sequence[str]) -> int:
    """Train the runs on this machine and do the rest; return DVC's exit status."""
    groups = device_groups(devices(), load_pipeline(arguments.pipeline).execution)
    jobs = arguments.jobs or len(groups) or 2
    # Rows that start from the weights of another one come with what follows.
    targets = [stages.training[run] for run in runs if "finetune@" not in stages.training[run]]
    failed = train_all(targets, jobs=jobs, devices=groups)
    for target in failed:
        _say(f"{run_of(target)} failed; it is tried once more, alone")
    # By now everything trained is in dvc.lock; --keep-going does what does not depend on a run that failed.
    status = dvc("repro", "--keep-going", str(stages.file))
    lost = [run_of(target) for target in failed if dvc("status", "--quiet", target)]
    if status and lost:
        _say(f"error: failed: {', '.join(lost)} (their output is above)")
    elif status:
        _say("error: every run is trained; a later stage failed (its output is above)")
    return status


def train_as_jobs(arguments: argparse.Namespace, stages: Stages, runs: Sequence[str]) -> int:
    """Train the due runs as jobs, record them, do the rest if none failed; return 0 if all succeeded."""
    try:
        from cluster import Resources, train_on
    except ImportError:
        sys.exit("error: --on needs submitit: pip install 'alkdnet[cluster]'")
    from alkdnet.tracking import sync_or_warn

    params = load_pipeline(arguments.pipeline)
    gpus = 0 if params.execution.device == "cpu" else params.execution.processes
    resources = Resources(
        hours=arguments.hours,
        gpus=gpus if arguments.gpus is None else arguments.gpus,
        cpus=arguments.cpus,
        memory_gb=arguments.memory,
        partition=arguments.partition,
        parallel=arguments.jobs or (256 if arguments.on == "slurm" else 2),
        sbatch=dict(option.split("=", 1) for option in arguments.sbatch),
    )
    due = due_runs(stages, params, runs)
    failed = train_on(arguments.on, params, due, resources, JOBS / "%j")
    trained = [stages.training[run] for run in due if run not in failed]
    if trained and dvc("commit", "--force", *trained):
        sys.exit("error: DVC could not record the outputs (see above); they lie in their folders")
    left = due_runs(stages, params, list(stages.training))
    if not left:
        return dvc("repro", str(stages.file))
    # `dvc repro` would train them here.
    sync_or_warn(params, Paths(arguments.pipeline), Path.cwd())
    if failed:
        _say("\n".join(["error: failed:", *(f"  {run}: {why}" for run, why in failed.items())]))
        _say("the same command trains these again, from their checkpoints")
        return 1
    _say(f"not trained yet: {', '.join(left)}; the same command without names trains them and does the rest")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        fromfile_prefix_chars="@",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-j", "--jobs", type=int, default=0, help="runs at once; 0: by the number of GPUs, else 2"
    )
    parser.add_argument("--pipeline", default=DEMO, help="its name: demo, paper, ...")
    parser.add_argument("runs", nargs="*", help="runs to train at once; without any, all")
    jobs = parser.add_argument_group("as jobs, requeued at the end of their time and when they are preempted")
    jobs.add_argument("--on", choices=("slurm", "local"), help="default: no jobs, DVC trains on this machine")
    jobs.add_argument("--partition", help="of Slurm")
    jobs.add_argument("--hours", type=float, default=24.0, help="time limit of a job, default 24")
    jobs.add_argument("--gpus", type=int, help="for each job; default: `execution.processes`; 0: none")
    jobs.add_argument("--cpus", type=int, help="for each job")
    jobs.add_argument("--memory", type=float, metavar="GB", help="for each job")
    jobs.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="further options: account=..., qos=...",
    )
    arguments = parser.parse_args()
    if wrong := [option for option in arguments.sbatch if "=" not in option]:
        parser.error(f"--sbatch {wrong[0]}: expected KEY=VALUE")
    if arguments.jobs < 0:
        parser.error("--jobs: expected 1 or more, or 0")
    if arguments.hours < 0.1:
        parser.error(
            "--hours: a job must have 0.1 hours at least, two minutes of which are for its checkpoint"
        )
    return arguments


def train_all(targets: Sequence[str], *, jobs: int, devices: Sequence[str]) -> list[str]:
    """Train the targets, `jobs` at once, each on the devices that are free; return those that failed."""
    free: queue.SimpleQueue[str] = queue.SimpleQueue()
    for index in range(jobs):
        free.put(devices[index % len(devices)] if devices else "")
    stopped = threading.Event()

    def train(target: str) -> bool:
        if stopped.is_set():
            return False
        device = free.get()
        try:
            status = _repro(target, device)
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


def _repro(target: str, device: str) -> int:
    """Reproduce one stage and pass its output on, line by line behind its run; return the exit status.

    Only this stage (-s), or the workers would block each other over the stages before it; and waiting for the
    lock, which every one of them takes for a moment at its start and its end.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", target],
        env=environment() | ({"CUDA_VISIBLE_DEVICES": device} if device else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            _say(f"[{run_of(target)}] {line.rstrip()}")
        return process.wait()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with exit_in_words():
        sys.exit(main())
