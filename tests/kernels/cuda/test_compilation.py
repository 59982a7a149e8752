"""The kernels compile for an H100 without one: what the interpreter does not check."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from alkdnet.kernels.cuda import attention, pointwise

# Bytes of shared memory of a program, of which three fit on a multiprocessor then.
SHARED = 72 * 1024
# Programs on a multiprocessor that the launches of alkconv.py count on: 768 and 384 at once, on 132.
ALKCONV_RESIDENT = {"_forward": 6, "_backward_to_features": 3}


@pytest.mark.slow
def test_the_kernels_of_the_paper_compile_for_sm_90_and_fit_into_registers(repository: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run(
        [sys.executable, "-m", "tests.kernels.cuda.compile_kernels"],
        cwd=repository,
        env=environment | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    print(result.stdout)  # noqa: T201 - for `pytest -s`
    assert result.returncode == 0, result.stderr[-3000:]
    records = [json.loads(line) for line in result.stdout.splitlines()]
    modules = {record["kernel"].partition(".")[0] for record in records}
    assert modules == {"alkconv", "attention", "depthwise", "pointwise", "resampling", "sums"}
    for record in records:
        assert record["stack"] == 0, record
        assert record["shared"] <= SHARED, record
        assert record["resident"] >= _counted_on(record), record


def _counted_on(record: dict[str, Any]) -> int:
    """Return how many programs the launch expects on a multiprocessor; 0: nothing in particular."""
    module, _, kernel = record["kernel"].partition(".")
    if module == "pointwise":
        of = {"_forward": pointwise.forward_resident, "_backward": pointwise.backward_resident}[kernel]
        return of(record["C2"], gelu=record["GELU"])
    return {"attention": attention.RESIDENT, "alkconv": ALKCONV_RESIDENT}.get(module, {}).get(kernel, 0)
