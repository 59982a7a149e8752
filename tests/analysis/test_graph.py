import copy

import pytest
import torch
from torch import Tensor, nn

from alkdnet.analysis.graph import Graph, trace
from alkdnet.layers.attention import CCA, ESA
from alkdnet.layers.convolution import ALKConv, BSConv
from alkdnet.layers.distillation import DistillationBlock
from alkdnet.networks.alkdnet import ALKDNet
from alkdnet.networks.bsrn import BSRN

WHOLE = (BSConv, ALKConv, DistillationBlock)


def _titles(graph: Graph) -> list[str]:
    return [step.title for step in graph.steps if step.title]


def _kinds(graph: Graph) -> list[str]:
    return [step.kind for step in graph.steps]


@pytest.mark.parametrize("k", [3, 5, 9])
def test_alkconv_has_three_depthwise_branches_and_one_sum(k: int) -> None:
    graph = trace(ALKConv(16, 8, kernel_size=k), channels=16)
    pointwise = graph.find("pointwise")
    assert (pointwise.title, pointwise.details[:2]) == ("Conv 1×1", ("16 → 8", "no bias"))
    branches = graph.users(pointwise.name)
    assert [branch.title for branch in branches] == [f"DWConv {k}×1", f"DWConv 1×{k}", "DWConv 3×3"]
    activations = [graph.users(branch.name) for branch in branches]
    assert [[step.title for step in after] for after in activations] == [["GELU"]] * 3
    (addition,) = (step for step in graph.steps if step.kind == "addition")
    assert addition.inputs == tuple(step.name for (step,) in activations)
    assert [step.kind for step in graph.users(addition.name)] == ["normalisation"]


@pytest.mark.parametrize("blocks", [1, 2, 8])
def test_the_blocks_of_the_network_and_their_concatenation(blocks: int) -> None:
    graph = trace(ALKDNet(scale=2, blocks=blocks, channels=16), channels=3, whole=WHOLE)
    found = [step for step in graph.steps if step.title.startswith("ALKDB")]
    assert [step.path for step in found] == [f"blocks.{index}" for index in range(blocks)]
    concatenation = graph.find("cat")
    assert concatenation.inputs == tuple(step.name for step in found)
    assert concatenation.details == (f"→ {16 * blocks}",)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_anchor_goes_from_the_input_to_the_last_addition(scale: int) -> None:
    graph = trace(ALKDNet(scale=scale, blocks=1, channels=16), channels=3, whole=WHOLE)
    anchor = graph.find("repeat_interleave")
    assert anchor.inputs == ("input",)
    assert (anchor.title, anchor.details) == (f"Repeat ×{scale**2}", (f"3 → {3 * scale**2}",))
    assert graph.find("add_1").inputs == ("tail", anchor.name)
    assert graph.find("shuffle").details == (f"×{scale}",)
    # Padding and cropping change nothing at this size: they are no steps.
    assert graph.steps[-1].inputs == ("shuffle",)
    assert "other" not in _kinds(graph)


def test_options_of_bsrn_show() -> None:
    def additions(residual: str) -> int:
        network = BSRN(scale=2, blocks=1, channels=16, residual=residual)  # type: ignore[arg-type]
        graph = trace(network, channels=3, whole=WHOLE)
        assert "ESDB 1" in _titles(graph)
        return _kinds(graph).count("addition")

    assert [additions(residual) for residual in ("fsrl", "abrl", "both")] == [1, 1, 2]
    block = BSRN(scale=2, blocks=1, channels=16).blocks[0]
    assert "normalisation" not in _kinds(trace(block, channels=16, whole=(BSConv, ESA, CCA)))


def test_attention_can_be_traced_into() -> None:
    esa = _titles(trace(ESA(16, 4, padding=1), channels=16, whole=(BSConv,)))
    assert esa[-3:] == ["Conv 1×1", "Sigmoid", "×"]
    assert {"Max pool 7", "BSConv 3×3", "Bilinear"} < set(esa)
    assert _titles(trace(CCA(32), channels=32)) == [
        "std_mean",
        "+",
        "Conv 1×1",
        "ReLU",
        "Conv 1×1",
        "Sigmoid",
        "×",
    ]


def test_a_sum_that_is_used_twice_is_a_step_of_its_own() -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            once = x + torch.relu(x)
            return once + torch.sigmoid(once)

    assert _titles(trace(Twice(), channels=4)) == ["ReLU", "+", "Sigmoid", "+"]


def test_a_crop_that_changes_the_size_is_a_step() -> None:
    class Crop(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, 1:-1, 1:-1]

    assert _titles(trace(Crop(), channels=4)) == ["getitem"]


def test_the_module_is_not_changed() -> None:
    network = ALKDNet(scale=2, blocks=1, channels=16).train()
    before = copy.deepcopy(network.state_dict())
    trace(network, channels=3, whole=WHOLE)
    assert network.training
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(ValueError, match="no step 'square' among input, pointwise, depthwise, output"):
        trace(BSConv(4, 4), channels=4).find("square")
