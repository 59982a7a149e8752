from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from alkdnet.cli import app
from alkdnet.efficiency import benchmark as module
from alkdnet.efficiency import timing as timing_module
from alkdnet.efficiency.backends import BACKENDS, Backend, Task
from alkdnet.efficiency.benchmark import Settings, benchmark, chosen_networks
from alkdnet.efficiency.page import ReferenceScore, page_text, write_page
from alkdnet.efficiency.timing import BackendTiming, time_backends
from alkdnet.errors import UserError
from alkdnet.files import require_replaceable
from alkdnet.results.efficiency import MACHINE as MACHINE_FILE
from tests.results.test_efficiency import MACHINE, measurement

TASK = Task(
    network="fsrcnn", scale=2, height=12, width=16, device="cpu", precision="float32", threads=1, onnx=None
)


def settings(**values: object) -> Settings:
    known = {"scale": 2, "width": 32, "height": 24, "precision": "float32", "threads": 1, "rounds": 2}
    return Settings(device=torch.device("cpu"), **(known | values))  # type: ignore[arg-type]


def pytorch_only(device: str) -> list[Backend]:
    return [backend for backend in BACKENDS if not backend.package]


def test_forms_are_timed_and_compared_with_the_plain_one() -> None:
    timings = time_backends(TASK, ["plain", "upscale", "openvino"], rounds=3)
    for name in ("plain", "upscale"):
        timing = timings[name]
        assert isinstance(timing, BackendTiming), timing
        assert timing.samples == 3
        assert 0 < timing.low_ms <= timing.median_ms <= timing.high_ms
        assert timing.difference < 1e-5
    # Without an exported network it fails, and stops none of the others.
    assert isinstance(timings["openvino"], str)


def test_a_form_that_never_gets_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing_module, "_PREPARATION_S", 0)
    assert time_backends(TASK, ["plain"], rounds=1) == {
        "plain": "not ready after 0 seconds, or killed for want of memory"
    }


def test_a_network_that_takes_too_long_is_counted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "matrix_rate", lambda device: 1.0)
    (row,) = benchmark(["srcnn"], settings())
    assert row.median_ms is None
    assert "not timed" in row.remark
    assert row.multi_adds == row.multi_adds_torch == 57_184 * 32 * 24


def test_a_failed_export_leaves_the_forms_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_backends", lambda device: [*pytorch_only(device), BACKENDS[3]])
    monkeypatch.setattr(module, "_export", lambda model, path: "not exported: no reason")
    monkeypatch.setattr(
        module, "time_backends", lambda task, backends, rounds: dict.fromkeys(backends, "asked for")
    )
    rows = benchmark(["fsrcnn"], settings())
    assert {row.backend: row.remark for row in rows} == {
        "plain": "asked for",
        "upscale": "asked for",
        "openvino": "not exported: no reason",
    }


def test_networks_are_checked_before_any_work() -> None:
    assert "bicubic" not in chosen_networks([])
    assert chosen_networks(["bsrn", "alkdnet", "bsrn"]) == ["bsrn", "alkdnet"]
    with pytest.raises(UserError, match="there is no network 'none'"):
        chosen_networks(["alkdnet", "none"])
    with pytest.raises(UserError, match="bicubic has no weights"):
        chosen_networks(["bicubic"])


def test_reduced_precision_is_for_cuda() -> None:
    with pytest.raises(UserError, match="bfloat16 is for CUDA"):
        benchmark(["fsrcnn"], settings(precision="bfloat16"))


@pytest.mark.parametrize("size", ["1280", "0x720", "1280x720x3", "9x720"])
def test_a_size_that_is_none_is_rejected(size: str) -> None:
    result = CliRunner().invoke(app, ["benchmark", "fsrcnn", "--size", size])
    assert isinstance(result.exception, UserError)
    assert "WIDTHxHEIGHT" in str(result.exception)


def test_a_folder_of_the_users_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    result = CliRunner().invoke(app, ["benchmark", "fsrcnn", "--output", str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert "has other files, which would be deleted" in str(result.exception)


def test_the_page_has_every_number_and_says_when_the_machine_was_busy(tmp_path: Path) -> None:
    rows = [
        measurement("alkdnet", "plain", median_ms=20.0, low_ms=19.0, high_ms=21.0, samples=3, disturbed=0.5),
        measurement("alkdnet", "upscale", median_ms=10.0, low_ms=9.0, high_ms=11.0, difference=2e-6),
        measurement("bsrn", "plain", median_ms=30.0, low_ms=29.0, high_ms=31.0, samples=3),
        measurement("vdsr", "plain", remark="not timed: a pass takes 9 s at least"),
    ]
    reference = {
        "alkdnet": ReferenceScore(label="ALKDNet", psnr=27.69),
        "bsrn": ReferenceScore(label="B*", psnr=27.6),
    }
    write_page(tmp_path / "cpu", MACHINE, rows, reference, command="alkdnet benchmark")
    require_replaceable(tmp_path / "cpu", mark=MACHINE_FILE)
    page = (tmp_path / "cpu" / "README.md").read_text()
    assert "| ALKDNet | 27.69 | 20 (19 to 21) | 10 (9 to 11) |" in page
    assert "B\\*" in page
    assert "was not idle: other processes took up to 50 %" in page
    assert "- VDSR, plain: not timed" in page
    assert (tmp_path / "cpu" / "psnr_latency.png").is_file()
    quiet = page_text(MACHINE, rows[1:], {}, command="alkdnet benchmark")
    assert "not idle" not in quiet
    assert "psnr_latency" not in quiet
