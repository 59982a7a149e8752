"""Training the runs of a bundle, in its order, until a deadline."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from alkdnet.bundle.archives import ArchiveWriter
from alkdnet.bundle.records import BUNDLE, RECORDS, Bundle, Result
from alkdnet.config.loading import load_pipeline
from alkdnet.config.paths import CHECKPOINTS, Paths, checkpoints
from alkdnet.data.packs import PackedImages
from alkdnet.errors import UserError, raise_problems
from alkdnet.files import sha256_file
from alkdnet.results.records import read_record, write_record
from alkdnet.results.run import RECORD, RunRecord
from alkdnet.training.runtime.devices import device_groups
from alkdnet.training.runtime.timing import Timing

logger = logging.getLogger(__name__)

# How long a training may take to write its checkpoint when it is asked to stop: it may be compiling.
GRACE_S = 45.0
# No run is started with less time left.
MIN_TRAINING_S = 60.0


class BundleTrainer:
    """Trains the runs of a bundle, as many at a time as the devices allow.

    Args:
        folder: the bundle.
        archives: receives every run when it ends.
        devices: as in CUDA_VISIBLE_DEVICES; empty: one run at a time, on the default device.
        deadline: in time.monotonic(); then the trainings are asked to stop.
        environment: of the training processes.
        device_name: for the records.
        torch: version of PyTorch, for the records.
        timings: returns the timings of the trainings on this host, by the SHA-256 of their weights.

    Raises:
        UserError: a training takes more GPUs than there are, or the bundle is damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        archives: ArchiveWriter,
        devices: Sequence[str],
        deadline: float,
        environment: Mapping[str, str],
        device_name: str,
        torch: str,
        timings: Callable[[], Mapping[str, Timing]],
    ) -> None:
        self.outcome: dict[str, str] = {}
        """Status of each run, as a message."""
        self.failed = False
        self._folder = folder
        self._bundle = read_bundle(folder)
        self._params = load_pipeline(self._bundle.pipeline, folder)
        self._paths = Paths(self._bundle.pipeline, folder)
        self._archives = archives
        self._groups = device_groups(devices, self._params.execution)
        self._deadline = deadline
        self._environment = environment
        self._device_name = device_name
        self._torch = torch
        self._timings = timings
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self._running: set[str] = set()
        self._changed = threading.Condition()

    def prepare(self) -> None:
        """Make the patches if the bundle has images instead, and verify their digests.

        Raises:
            UserError: they differ, as this host decodes images in another way, or could not be made.
        """
        if not (self._paths.patches / "hr").is_dir():
            for name in self._params.names("train"):
                self._stage("downscale", "--key", name)
            self._stage("patches")
        for name, digest in self._bundle.data.items():
            if PackedImages.open(self._paths.patches, int(name[1:])).digest != digest:
                raise UserError(
                    f"{self._paths.patches / name}: other pixels than on the packing host: images are "
                    "decoded in another way here; pack the bundle without --images"
                )

    def train(self) -> None:
        """Train the runs in order until the deadline, a signal, or the end of the last one."""
        self._waiting = list(self._bundle.runs)

        def work(device: str) -> None:
            while (run := self._next()) is not None:
                try:
                    self.outcome[run] = self._train_one(run, device)
                    logger.info("%s: %s", run, self.outcome[run])
                finally:
                    with self._changed:
                        self._running.remove(run)
                        self._changed.notify_all()

        with ThreadPoolExecutor(max(1, len(self._groups))) as pool:
            list(pool.map(work, self._groups or [""]))

    def stop(self) -> None:
        """Ask the trainings to stop now, with their checkpoints."""
        self._stopped.set()

    def _next(self) -> str | None:
        """Return the next run whose parent is not waiting or running; None: all have been started."""
        with self._changed:
            while self._waiting:
                open_runs = {*self._waiting, *self._running}
                for run in self._waiting:
                    if self._params.parent_of(run) not in open_runs:
                        self._waiting.remove(run)
                        self._running.add(run)
                        return run
                self._changed.wait()
        return None

    def _train_one(self, run: str, device: str) -> str:
        record = self._folder / RECORDS / f"{run}.json"
        if record.is_file() and read_record(record, Result).finished:
            return "finished before"
        if self._stopped.is_set() or self._deadline - time.monotonic() < MIN_TRAINING_S:
            return "not started"
        start = self._paths.start(self._params.trained[run])
        if start is not None and not start.is_file():
            return f"not started, since {start.parent.name}, whose weights it starts from, is not trained"
        began = time.monotonic()
        status = self._run_stage(run, device)
        seconds = time.monotonic() - began
        finished = (self._paths.model(run) / RECORD).is_file()
        remark = self._archive(run, finished=finished, seconds=seconds)
        if finished:
            return f"finished after {seconds:.0f} s{remark}"
        if status == 0 or not self._is_over():
            self.failed = True
            return f"failed with status {status} after {seconds:.0f} s (its output is above){remark}"
        return f"stopped after {seconds:.0f} s{remark}"

    def _archive(self, run: str, *, finished: bool, seconds: float) -> str:
        """Archive the outputs of a run, or its checkpoint; return a remark for the status message, or ""."""
        if finished:
            found = sorted(self._paths.model(run).iterdir())
        else:
            folder = checkpoints(self._folder, self._bundle.pipeline)
            found = sorted(folder.glob(f"{run}-????????????????.ckpt"))
        files = {str(path.relative_to(self._folder)): path for path in found}
        if not files:
            return ", no checkpoint"
        result = Result(
            run=run,
            commit=self._bundle.commit,
            finished=finished,
            device=self._device_name,
            torch=self._torch,
            seconds=round(seconds, 1),
            timing=self._timings().get(RunRecord.read(self._paths.model(run)).weights_sha256)
            if finished
            else None,
            files={name: sha256_file(path) for name, path in files.items()},
        )
        with self._lock:
            if not self._archives.add(result, files):
                self.failed = True
                return ", in no archive"
        write_record(self._folder / RECORDS / f"{run}.json", result)
        return ""

    def _run_stage(self, run: str, device: str) -> int:
        """Run the stage `train` until it ends or must stop; return its exit status."""
        with self._start("train", "--key", run, device=device) as process:
            assert process.stdout is not None
            reader = threading.Thread(target=_log_lines, args=(process.stdout, run))
            reader.start()
            while process.poll() is None and not self._is_over():
                time.sleep(0.1)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
            reader.join()
        return process.returncode

    def _is_over(self) -> bool:
        return self._stopped.is_set() or time.monotonic() >= self._deadline

    def _stage(self, stage: str, *arguments: str) -> None:
        with self._start(stage, *arguments) as process:
            assert process.stdout is not None
            _log_lines(process.stdout, stage)
        if process.returncode:
            raise UserError(f"the stage {stage} failed (its output is above); no run was started")

    def _start(self, stage: str, *arguments: str, device: str = "") -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, f"pipeline/{stage}.py", self._bundle.pipeline, *arguments],
            cwd=self._folder,
            env={
                **self._environment,
                **({"CUDA_VISIBLE_DEVICES": device} if device else {}),
                "ALKDNET_PARENT": str(os.getpid()),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Signals, Ctrl-C among them, reach the trainings through this process alone.
            start_new_session=True,
        )


def read_bundle(folder: Path) -> Bundle:
    """Return the record of a bundle after verifying its files.

    Raises:
        UserError: a file is missing or has changed.
    """
    bundle = read_record(folder / BUNDLE, Bundle)
    problems = []
    for name, digest in bundle.files.items():
        if name.startswith(f"{CHECKPOINTS}/"):  # replaced by newer ones, or removed when the run finished
            continue
        if not (folder / name).is_file():
            problems.append(f"{folder / name}: missing")
        elif sha256_file(folder / name) != digest:
            problems.append(f"{folder / name}: differs from the packed file")
    raise_problems(problems, "the bundle is damaged; copy it again, or pack it again:")
    return bundle


def _log_lines(lines: IO[str], name: str) -> None:
    for line in lines:
        logger.info("[%s] %s", name, line.rstrip())
