"""The checkpoint file: whole or absent, checked, locked."""

import dataclasses
import hashlib
import io
import logging
import resource
from pathlib import Path

import pytest
import torch

from alkdnet.errors import UserError
from alkdnet.results.history import HistoryRow
from alkdnet.training.runtime.checkpoint import FORMAT, CheckpointFile, State

STATE = State(
    iteration=7,
    model={"weight": torch.arange(6.0).reshape(2, 3)},
    average={"weight": torch.ones(2, 3)},
    optimizer={
        "state": {0: {"step": torch.tensor(7.0)}},
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.99)}],
    },
    rows=[HistoryRow(4, 0.5, 1e-3, None), HistoryRow(7, 0.25, 5e-4, 30.125)],
    loss_sum=0.125,
    monitor="abc",
)


def _file(folder: Path, identity: str = "a" * 64) -> CheckpointFile:
    return CheckpointFile(folder, "some_run", identity)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    _file(tmp_path).write(STATE)
    read = _file(tmp_path).read()
    assert read is not None
    assert torch.equal(read.model["weight"], STATE.model["weight"])
    assert torch.equal(read.average["weight"], STATE.average["weight"])
    assert dataclasses.replace(read, model=STATE.model, average=STATE.average) == STATE
    assert [path.name for path in tmp_path.iterdir()] == ["some_run-aaaaaaaaaaaaaaaa.ckpt"]


@pytest.mark.parametrize("kept", [0, 1, 60, 1000, -1])
def test_torn_file_is_moved_aside_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: int
) -> None:
    file = _file(tmp_path)
    file.write(STATE)
    content = file.path.read_bytes()
    file.path.write_bytes(content[:kept])
    assert file.read() is None
    assert "damaged or of another format" in caplog.text
    assert file.path.with_suffix(".damaged").read_bytes() == content[:kept]
    assert file.read() is None


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    file = _file(tmp_path)
    file.write(STATE)
    content = bytearray(file.path.read_bytes())
    content[len(content) // 2] ^= 1
    file.path.write_bytes(content)
    assert file.read() is None


FIELDS = {**dataclasses.asdict(STATE), "rows": [tuple(row) for row in STATE.rows]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no archive", "UnpicklingError"),
        (Path("/"), "UnpicklingError"),  # an object whose unpickling would run code
        ([], "it does not hold average, iteration, loss_sum, model, monitor, optimizer, rows"),
        ({**FIELDS, "more": 1}, "it does not hold average"),
        ({**FIELDS, "iteration": True}, "wrong iteration"),
        ({**FIELDS, "iteration": -1}, "wrong iteration"),
        ({**FIELDS, "model": {"weight": 3}}, "wrong model"),
        ({**FIELDS, "model": {3: torch.ones(1)}}, "wrong model"),
        ({**FIELDS, "average": None}, "wrong average"),
        ({**FIELDS, "optimizer": None}, "wrong optimizer"),
        ({**FIELDS, "rows": [(1, 2.0)]}, "wrong rows"),
        ({**FIELDS, "rows": [("1", 2.0, 3.0, None, None, None)]}, "wrong rows"),
        ({**FIELDS, "loss_sum": float("nan"), "monitor": 3}, "wrong loss_sum, monitor"),
    ],
)
def test_another_content_with_its_digest_is_moved_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: object, problem: str
) -> None:
    file = _file(tmp_path)
    buffer = io.BytesIO()
    if isinstance(content, bytes):
        buffer.write(content)
    else:
        torch.save(content, buffer)
    payload = buffer.getvalue()
    header = f"{FORMAT} {file.identity} {hashlib.sha256(payload).hexdigest()}\n"
    file.path.write_bytes(header.encode() + payload)
    assert file.read() is None
    assert f"{file.path}: damaged or of another format ({problem}" in caplog.text
    assert file.path.with_suffix(".damaged").exists()


def test_another_format_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _file(tmp_path).write(STATE)
    monkeypatch.setattr("alkdnet.training.runtime.checkpoint.FORMAT", "alkdnet-checkpoint 0")
    assert _file(tmp_path).read() is None


def test_checkpoint_of_another_configuration_is_left_alone_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = _file(tmp_path, "b" * 64)
    other.write(STATE)
    with caplog.at_level(logging.INFO):
        assert _file(tmp_path).read() is None
    assert f"{other.path}: not continued" in caplog.text
    assert other.read() is not None


def test_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    file = _file(tmp_path)
    file.write(STATE)
    large = dataclasses.replace(STATE, iteration=8, model={"weight": torch.zeros(100_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large|No space"):
            file.write(large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    read = file.read()
    assert read is not None
    assert read.iteration == 7
    assert len(list(tmp_path.iterdir())) == 1


def test_second_process_is_rejected(tmp_path: Path) -> None:
    with _file(tmp_path).locked():
        with pytest.raises(
            UserError, match=r"another process trains this very run already \(it holds .*\.lock"
        ):
            _file(tmp_path).locked().__enter__()
        with _file(tmp_path, "b" * 64).locked():
            pass
    with _file(tmp_path).locked():
        pass
