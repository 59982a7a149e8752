"""benchmarks/inference_cuda.py, as far as it runs without a GPU."""

import pytest
import torch
from torch import Tensor

from alkdnet.networks.alkdnet import ALKDNet
from benchmarks import inference_cuda
from benchmarks.train_step import Traffic

CPU = torch.device("cpu")


def test_every_variant_computes_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, exchanged = [], []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)
    monkeypatch.setattr(inference_cuda, "exchange_layers", exchanged.append)
    monkeypatch.setattr(inference_cuda, "self_check", lambda *_, **__: None)
    x_BCHW = torch.rand(1, 3, 24, 24)
    with torch.inference_mode():
        plain_BCHW, *others = (
            inference_cuda.build(variant, torch.float32, CPU)(x_BCHW) for variant in inference_cuda.VARIANTS
        )
    assert plain_BCHW.shape == (1, 3, 48, 48)
    for y_BCHW in others:
        torch.testing.assert_close(y_BCHW, plain_BCHW, rtol=0, atol=1e-5)
    assert len(compiled) == len(exchanged) == 2
    assert compiled[0] is exchanged[1]


def test_kernels_that_do_not_work_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_cuda, "self_check", lambda *_, **__: "triton is not installed")
    with pytest.raises(RuntimeError, match="the kernels do not work here: triton is not installed"):
        inference_cuda.build("kernels", torch.float32, CPU)


def test_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def measure(variant: str, precision: str, x_BCHW: Tensor, **_: int) -> tuple[float, Tensor]:
        if precision == "float16" and "compiled" in variant:
            raise RuntimeError("no ptxas")
        return 4.0 if variant == "plain" else 2.0, x_BCHW + 0.25 * (precision == "bfloat16")

    monkeypatch.setattr(inference_cuda, "measure", measure)
    monkeypatch.setattr(inference_cuda, "copy_bandwidth", lambda _: 1e11)
    monkeypatch.setattr(inference_cuda, "matrix_rate", lambda *_: 1e12)
    monkeypatch.setattr(inference_cuda, "pass_cost", lambda *_: (5e8, 1e8))
    lines = list(inference_cuda.table(CPU, passes=1, threads=1, height=8, width=8))
    assert "0.5 GFLOP and 0.10 GB a pass in float32; copies run at 100 GB/s" in lines[0]
    assert len({line.count("|") for line in lines[2:]}) == 1
    assert len(lines) == 4 + 16
    assert lines[4] == "| plain | float32 | 4.00 | 1.00 | 0.0e+00 | 0.50 | 1.00 | 25% |"
    assert "| compiled | bfloat16 | 2.00 | 2.00 | 2.5e-01 | 0.50 | 0.50 | 25% |" in lines
    assert "| compiled | float16 | not timed | | | 0.50 | 0.50 | |" in lines
    assert "compiled | float16: RuntimeError: no ptxas" in capsys.readouterr().err


def test_the_floor_grows_with_the_image_and_is_below_what_pytorch_moves() -> None:
    small, large = (inference_cuda.pass_cost(side, side) for side in (48, 96))
    for few, many in zip(small, large, strict=True):
        assert 3.9 < many / few < 4.1  # the weights and the attentions' coarse maps do not quite
    with Traffic() as traffic, torch.device("meta"), torch.no_grad():
        ALKDNet(scale=2)(torch.empty(1, 3, 48, 48))
    assert 0.4 < small[1] / traffic.bytes < 0.8
