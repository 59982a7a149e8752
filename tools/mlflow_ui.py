"""Serve MLflow's page and print the URLs of each pipeline's views."""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from alkdnet.errors import exit_in_words, in_one_line, redact
from alkdnet.tracking.location import find_store
from alkdnet.tracking.store import pipelines
from alkdnet.tracking.views import CHARTS, TABLE, view_url

START_S = 180


def main() -> int:
    """Start the server, wait for it, print the URLs, and stay until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="port on this host; taken: the next free one")
    port = _free_port(parser.parse_args().port)
    store = find_store(Path.cwd())
    if store.database is None:
        print(f"MLFLOW_TRACKING_URI is a server: open {redact(store.uri)}", flush=True)
        return 0
    # Before the server, which would create the database without the lock against concurrent creation.
    try:
        known = pipelines(store)
    except Exception as error:
        sys.exit(
            f"error: the store {store.uri} cannot be opened ({in_one_line(error)});"
            " remove it, and `make mlflow-sync` writes it again"
        )
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--port", str(port)]
    # Without the job service it takes two processes and 0.5 GB instead of twelve and 1.5 GB.
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    server = subprocess.Popen(
        [*command, "--backend-store-uri", store.uri], env=environment, start_new_session=True
    )
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        page = f"http://127.0.0.1:{port}"
        _wait(server, f"{page}/health")
        for name, experiment_id in known.items():
            print(f"{name}: {view_url(page, experiment_id, TABLE)}", flush=True)
            print(f"{name}, charts: {view_url(page, experiment_id, CHARTS)}", flush=True)
        if not known:
            print(f"no runs yet, `make repro` makes some; they will be at {page}", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        # The server has workers, which would outlive it.
        with contextlib.suppress(ProcessLookupError):  # it has ended, workers and all
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _free_port(first: int) -> int:
    for port in range(first, first + 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    sys.exit(f"error: ports {first} to {first + 99} are all taken; choose with --port")


def _wait(server: "subprocess.Popen[bytes]", health: str) -> None:
    for _ in range(START_S * 2):
        if server.poll() is not None:
            sys.exit(f"error: the MLflow server ended with status {server.returncode}")
        try:
            with urllib.request.urlopen(health, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    sys.exit(f"error: the MLflow server has not answered for {START_S} s")


if __name__ == "__main__":
    with exit_in_words():
        sys.exit(main())
