"""Real git and DVC repositories in temporary folders."""

from pathlib import Path

import pytest
import yaml

from tests.experiments.repositories import TINY, Repository


@pytest.fixture
def toy(tmp_path: Path, repository: Path) -> Repository:
    """A pipeline of the project's shape (data, train@<run>, evaluate@<run>, report) that trains nothing.

    The seed of a run is the seconds of its training; with 0 it fails, with 1 it fails once.
    """
    folder = tmp_path / "toy"
    folder.mkdir()
    toy = Repository(folder)
    (folder / "train.py").write_text(TRAIN)
    (folder / "dvc.yaml").write_text(PIPELINE)
    params = yaml.safe_load((repository / "params.yaml").read_text())
    params["runs"] = {name: {**TINY, "seed": 3} for name in "abcd"}
    params["features"]["maps_run"] = "a"
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / ".gitignore").write_text("/data\n/models\n/results\n/report\n/log\n/tried\n")
    toy.git("init", "--quiet")
    toy.dvc("init", "--quiet")
    toy.dvc("config", "core.analytics", "false")
    toy.commit("Begin")
    return toy


TRAIN = """
import os, pathlib, sys, time
run, seed = sys.argv[1], int(sys.argv[2])
begin = time.time()
time.sleep(seed)
if seed == 0:
    sys.exit("this run fails")
if seed == 1 and not os.path.exists("tried"):
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
      cmd: python train.py ${key} ${item.seed}
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
