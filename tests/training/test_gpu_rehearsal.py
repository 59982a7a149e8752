"""benchmarks/gpu.py on the CPU, at a tiny size: trained, cut short, brought back, continued."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from alkdnet.data.images import write_png
from tests.training.trainer import photograph


@pytest.mark.slow
def test_two_visits(tmp_path: Path, repository: Path) -> None:
    params = yaml.safe_load((repository / "study" / "params.yaml").read_text())
    params["train"] |= {
        "iterations": 60,
        "batch_size": 4,
        "patch_size": 14,
        "checkpoint_interval": 1000,
        "validation_interval": 20,
        "log_interval": 5,
        "device": "cpu",
        "threads": 1,
    }
    for run in params["runs"].values():
        if run["kind"] == "trained":
            run |= {"blocks": 1, "channels": 8}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    for folder, count in (("photos", 3), ("tests/set5", 1), ("tests/set14", 1)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(count):
            write_png(tmp_path / folder / f"{number}.png", photograph(number + len(folder), 96))

    def visit(out: str, *options: str) -> str:
        command = [sys.executable, "-m", "benchmarks.gpu", "--params", str(tmp_path / "params.yaml")]
        finished = subprocess.run(
            [
                *(*command, "--runs", "alkdnet_x2,bsrn_x2", "--photos", str(tmp_path / "photos")),
                *(
                    "--tests",
                    str(tmp_path / "tests"),
                    "--out",
                    str(tmp_path / out),
                    "--no-benchmark",
                    *options,
                ),
            ],
            cwd=repository,
            env={**os.environ, "PYTHONPATH": "src"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert len(list((tmp_path / out).iterdir())) <= 8
        return finished.stdout

    first = visit("first", "--minutes", "0")
    assert "| alkdnet_x2 | not started |" in first
    second = visit("second", "--resume", str(tmp_path / "first"))
    assert "| alkdnet_x2 | finished in" in second
    assert "| run | outcome | set14, dB | set5, dB |" in second
    with tarfile.open(tmp_path / "second" / "runs-0.tar") as archive:
        names = archive.getnames()
    expected = [f"models/alkdnet_x2/{name}" for name in ("history.csv", "run.json", "weights.safetensors")]
    assert set(expected) <= set(names)
    third = visit("third", "--resume", str(tmp_path / "second"))
    assert "| alkdnet_x2 | finished before |" in third

    # A visit that ends in the middle leaves a checkpoint, from which the next one goes on.
    cut = visit("cut", "--iterations", "1000000", "--minutes", "0.4")
    assert "| alkdnet_x2 | stopped after" in cut
    with tarfile.open(tmp_path / "cut" / "runs-0.tar") as archive:
        assert any(name.startswith("checkpoints/alkdnet_x2-") for name in archive.getnames())
