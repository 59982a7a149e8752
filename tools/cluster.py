"""Trainings as jobs of Slurm, or of this machine, by submitit: submitted, followed, requeued."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from submitit import AutoExecutor, Job
from submitit.core.utils import DelayedSubmission

from processes import environment

from alkdnet.config.params import Params
from alkdnet.process import is_alive

ROOT = Path(__file__).resolve().parent.parent
# Of one job: a training of a week in slices of an hour.
REQUEUES = 200
# Seconds before the end of a job's time at which it gets the signal: for an iteration and a checkpoint.
SIGNAL_DELAY_S = 120
POLL_S = {"slurm": 10.0, "local": 1.0}


class TrainingFailedError(Exception):
    """The stage `train` ended with an error; its output is in the job's log."""


class Training:
    """The stage `train` of one run, as submitit calls it on the host of the job.

    submitit turns SIGUSR2 (the time limit or a preemption is near) into a call of `checkpoint` and puts the
    job back into the queue; the next start continues from the checkpoint.
    """

    def __init__(self, pipeline: str, run: str) -> None:
        self.pipeline = pipeline
        self.run = run
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Train; raise TrainingFailedError if it fails."""
        command = [sys.executable, "pipeline/train.py", self.pipeline, "--key", self.run]
        terminated: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: terminated.append(number))
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment() | {"ALKDNET_PARENT": str(os.getpid())}
        )
        # Popen.wait holds a lock that `checkpoint`, called in the middle of it, would wait for.
        while (status := self._process.poll()) is None:
            time.sleep(0.2)
        if terminated or status == 128 + signal.SIGUSR2:
            # Slurm signals all processes of a job. After SIGUSR2 this one's handler is about to run; after
            # SIGTERM Slurm itself ends the job, requeued if it was preempted and not if it was cancelled.
            time.sleep(SIGNAL_DELAY_S)
        if status:
            raise TrainingFailedError(f"exit status {status}")

    def checkpoint(self) -> DelayedSubmission:
        """Stop the training, which writes its checkpoint, and return the call of the next start."""
        if self._process is not None:
            self._process.terminate()
            while is_alive(self._process.pid):
                time.sleep(0.1)
        return DelayedSubmission(Training(self.pipeline, self.run))


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The resources of a job; None: the cluster's default.

    Attributes:
        hours: time limit of a job; a longer training goes on when the job is requeued.
        gpus: for each job.
        cpus: for each job.
        memory_gb: for each job.
        partition: of Slurm.
        parallel: most jobs at a time.
        sbatch: further options of sbatch: account, qos, constraint, ...
    """

    hours: float
    gpus: int
    cpus: int | None
    memory_gb: float | None
    partition: str | None
    parallel: int
    sbatch: Mapping[str, str]


def train_on(
    cluster: Literal["slurm", "local"],
    params: Params,
    runs: Sequence[str],
    resources: Resources,
    logs: Path,
) -> dict[str, str]:
    """Train every run as a job of its own and wait for all; return the reason and log of failed runs.

    A run that starts from the weights of another one of them is submitted when that one is trained.
    """
    # For unpickling `Training` on the host of the job.
    os.environ["PYTHONPATH"] = f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tools'}"
    executor = AutoExecutor(logs, cluster=cluster, **{f"{cluster}_max_num_timeout": REQUEUES})
    executor.update_parameters(**_parameters(cluster, params.pipeline, resources))
    waiting = list(runs)
    jobs: dict[str, Job[None]] = {}
    running: set[str] = set()
    failed: dict[str, str] = {}
    while waiting or running:
        ready = [run for run in waiting if params.parent_of(run) not in {*waiting, *running}]
        for run in [run for run in ready if params.parent_of(run) in failed]:
            ready.remove(run)
            waiting.remove(run)
            failed[run] = f"not started, since {params.parent_of(run)}, whose weights it starts from, failed"
            print(f"[{run}] {failed[run]}", flush=True)
        # Slurm itself limits how many jobs of an array run at the same time.
        is_array = cluster == "slurm" and not jobs
        chosen = ready if is_array else ready[: max(0, resources.parallel - len(running))]
        with executor.batch() if is_array else contextlib.nullcontext():
            submitted = [executor.submit(Training(params.pipeline, run)) for run in chosen]
        for run, job in zip(chosen, submitted, strict=True):
            jobs[run] = job
            waiting.remove(run)
            running.add(run)
            print(f"[{run}] job {job.job_id}", flush=True)
        time.sleep(POLL_S[cluster])
        alive = _alive(cluster, {run: jobs[run] for run in running})
        for run in sorted(running - alive):
            running.remove(run)
            if problem := _problem(jobs[run]):
                failed[run] = f"{problem}; log: {jobs[run].paths.stderr}"
            print(f"[{run}] {failed.get(run, 'trained')}", flush=True)
    return failed


def _parameters(cluster: str, pipeline: str, resources: Resources) -> dict[str, Any]:
    """Return the parameters of submitit; those of Slurm alone begin with `slurm_`."""
    slurm = {
        "slurm_partition": resources.partition,
        "slurm_array_parallelism": resources.parallel,
        "slurm_signal_delay_s": SIGNAL_DELAY_S,
        "slurm_additional_parameters": {"requeue": True, **resources.sbatch},
    }
    common = {
        "name": f"alkdnet-{pipeline}",
        "timeout_min": max(1, round(60 * resources.hours)),
        "gpus_per_node": resources.gpus or None,
        "cpus_per_task": resources.cpus,
        "mem_gb": resources.memory_gb,
    }
    chosen = common | (slurm if cluster == "slurm" else {})
    return {key: value for key, value in chosen.items() if value is not None}


def _alive(cluster: str, jobs: Mapping[str, Job[None]]) -> set[str]:
    """Return the runs whose jobs are waiting or running.

    Slurm is asked by squeue: sacct, which submitit asks, needs a database that small clusters do not have.
    """
    if cluster == "local":
        return {run for run, job in jobs.items() if not job.done()}
    listed = subprocess.run(
        ["squeue", "--me", "--array", "--noheader", "--format=%i"], stdout=subprocess.PIPE, text=True
    )
    if listed.returncode:  # the controller is restarting, say
        return set(jobs)
    # A single job has no number within an array.
    queued = set(listed.stdout.split())
    return {run for run, job in jobs.items() if job.job_id in queued}


def _problem(job: Job[None]) -> str:
    """Return why a job that is over did not train its run; empty if it did."""
    if not job.paths.result_pickle.exists():
        return "cancelled or killed"
    error = job.exception()
    if error is None:
        return ""
    # submitit's text: the job's traceback, a dashed line, where the logs are.
    trace = str(error).rpartition("\n---")[0] or str(error)
    line = trace.strip().splitlines()[-1]
    return line.partition(": ")[2] or line
