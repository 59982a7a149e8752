"""What logging a training to MLflow costs: processor time of the tracker's thread, and of the calls.

The thread's time is an upper bound of what the training loses, reached when no core is free; unlike the
difference of two training times, it does not drown in the noise of a busy machine. It is scaled to a training
of ten minutes from its two parts: what happens once (importing MLflow, opening or creating the store), and
what happens with every batch.

    PYTHONPATH=src python -m benchmarks.tracking
"""

import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from alkdnet.config.loading import load_pipeline
from alkdnet.config.paths import Paths
from alkdnet.tracking import Intervals, open_tracker

TRAINING_S = 600
INTERVAL_S = 0.1  # a row of the history ten times a second is far more than a training writes
LASTING_S = 30
RUN = "alkdnet_x2"


def main() -> None:
    """Print a table; every measurement in a process of its own, since an import happens once in a process."""
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
        return
    print("| store | once | per minute | of a training of 10 minutes | a call of `log` |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for state in ("created", "there already"):
            command = [sys.executable, "-m", "benchmarks.tracking", folder]
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            once, minute, call = map(float, found)
            share = (once + minute * TRAINING_S / 60) / TRAINING_S
            print(f"| {state} | {once:.1f} s | {minute:.2f} s | {share:.2%} | {call * 1e6:.1f} µs |")


def measure(root: Path) -> None:
    """Print seconds: of the thread once, of the thread in a minute, of one call."""
    params = load_pipeline("demo")
    tracker = open_tracker(
        params, Paths(params.pipeline, root), RUN, root, intervals=Intervals(delay_s=0, close_s=120)
    )
    values = {"loss": 0.01, "learning_rate": 1e-3}
    known = points(root)
    tracker.log(1, values)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "mlflow"]
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    while points(root) == known:
        time.sleep(0.5)
    once, begun, calls, iteration = time.clock_gettime(clock), time.monotonic(), 0.0, 1
    while time.monotonic() - begun < LASTING_S:
        iteration += 1
        before = time.thread_time()
        tracker.log(iteration, values)
        calls += time.thread_time() - before
        time.sleep(INTERVAL_S)
    lasting = time.clock_gettime(clock) - once
    print(once, lasting * 60 / LASTING_S, calls / (iteration - 1))
    tracker.close(finished=False)


def points(root: Path) -> int:
    """Return how many values the store has; 0 while it is not there."""
    try:
        with sqlite3.connect(f"file:{root}/mlflow.db?mode=ro", uri=True) as connection:
            return int(connection.execute("select count(*) from metrics").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


if __name__ == "__main__":
    main()
