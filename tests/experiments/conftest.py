"""Real git and DVC repositories in temporary folders."""

from pathlib import Path

import pytest

from tests.experiments.repositories import Repository


@pytest.fixture
def toy(tmp_path: Path) -> Repository:
    """A pipeline of the project's shape (data, train@<run>, evaluate@<run>, report) that trains nothing."""
    folder = tmp_path / "toy"
    folder.mkdir()
    repository = Repository(folder)
    (folder / "train.py").write_text(TRAIN)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "params.yaml").write_text(
        "runs:\n  a: {seconds: 1}\n  b: {seconds: 1}\n  c: {seconds: 1}\n  d: {seconds: 1}\n"
    )
    (folder / ".gitignore").write_text("/data\n/models\n/results\n/report\n/log\n/tried\n")
    repository.git("init", "--quiet")
    repository.dvc("init", "--quiet")
    repository.dvc("config", "core.analytics", "false")
    repository.commit("Begin")
    return repository


TRAIN = """
import os, pathlib, sys, time
run, seconds = sys.argv[1], float(sys.argv[2])
begin = time.time()
time.sleep(max(seconds, 0))
if seconds == 0:
    sys.exit("this run fails")
if seconds < 0 and not os.path.exists("tried"):
    open("tried", "w").close()
    sys.exit("this run fails once")
pathlib.Path("models").mkdir(exist_ok=True)
pathlib.Path("models", run).write_text(run)
with open("log", "a") as log:
    log.write(f"{run} {begin} {time.time()} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\\n")
"""
PIPELINE = """
stages:
  data:
    cmd: echo data > data
    deps: [train.py]
    outs: [data]
  train:
    foreach: ${runs}
    do:
      cmd: python train.py ${key} ${item.seconds}
      deps: [data, train.py]
      params: ["runs.${key}"]
      outs: ["models/${key}"]
  evaluate:
    foreach: ${runs}
    do:
      cmd: mkdir -p results && cp models/${key} results/${key}
      deps: ["models/${key}"]
      outs: ["results/${key}"]
  report:
    cmd: cat results/* > report
    deps: [results]
    outs: [report]
"""
