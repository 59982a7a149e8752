"""Figures 1 to 4 of the paper, drawn from the modules that this project trains and evaluates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from alkdnet.analysis.graph import Graph, trace
from alkdnet.diagrams.layout import arrange
from alkdnet.diagrams.svg import svg
from alkdnet.layers.attention import CCA, ESA
from alkdnet.layers.convolution import ALKConv, BSConv
from alkdnet.layers.distillation import DistillationBlock
from alkdnet.networks.alkdnet import ALKDNet

CHANNELS, KERNEL_SIZE, SCALE = 64, 9, 4


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """A figure of the paper.

    Attributes:
        name: of its file, without ending.
        title: what it shows.
        module: makes what is traced.
        channels: of the module's input.
        whole: classes whose modules are one box.
        ends: the paper's names of input and output; "_" begins an index.
        labels: the paper's names of connections, by the path or name of the step that they leave.
        parts: the paper's names of parts, with the paths or names of their first and last step.
    """

    name: str
    title: str
    module: Callable[[], nn.Module]
    channels: int
    whole: tuple[type[nn.Module], ...] = ()
    ends: tuple[str, str] = ("F_in", "F_out")
    labels: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def graph(self) -> Graph:
        """Return what the module computes."""
        with torch.device("meta"):  # no weights: none is drawn
            module = self.module()
        return trace(module, channels=self.channels, whole=self.whole)

    def draw(self) -> str:
        """Return the figure as SVG."""
        graph = self.graph()
        layout = arrange(graph, ends=self.ends, labels=self.labels, parts=self.parts)
        boxes = [step.title for step in graph.steps if step.title not in ("", "+", "×")]
        return svg(layout, title=self.title, description=f"From input to output: {', '.join(boxes)}.")


def network_diagram(*, scale: int = SCALE, blocks: int = 8) -> Diagram:
    """Return Figure 1: the whole network."""
    return Diagram(
        name="figure1",
        title=f"Figure 1: ALKDNet ×{scale}",
        module=lambda: ALKDNet(scale=scale, blocks=blocks),
        channels=3,
        whole=(BSConv, ALKConv, DistillationBlock),
        ends=("I_LR", "I_SR"),
        labels={
            "shallow": "feature space residual learning (FSRL)",
            "repeat_interleave": "anchor-based residual learning (ABRL)",
        },
        parts={
            "shallow feature extraction": ("repeat", "shallow"),
            "deep feature extraction": ("blocks.0", f"blocks.{blocks - 1}"),
            "deep feature fusion": ("cat", "fusion.2"),
            "high-resolution image reconstruction": ("add", "shuffle"),
        },
    )


def bsconv_diagram() -> Diagram:
    """Return Figure 2: a blueprint separable convolution."""
    return Diagram(
        name="figure2",
        title="Figure 2: BSConv",
        module=lambda: BSConv(CHANNELS, CHANNELS),
        channels=CHANNELS,
    )


def block_diagram(*, kernel_size: int = KERNEL_SIZE) -> Diagram:
    """Return Figure 3: an asymmetric large kernel distillation block."""
    return Diagram(
        name="figure3",
        title="Figure 3: asymmetric large kernel distillation block (ALKDB)",
        module=lambda: ALKDNet(scale=SCALE, blocks=1, kernel_size=kernel_size).blocks[0],
        channels=CHANNELS,
        whole=(ALKConv, ESA, CCA),
        labels={
            "input": "residual learning",
            "distill.0": "F_d1",
            "distill.1": "F_d2",
            "distill.2": "F_d3",
            "distill_last": "F_d4",
        },
        parts={
            "feature distillation": ("refine.0", "distill_last"),
            "feature condensation": ("cat", "condense"),
            "feature enhancement": ("esa", "norm"),
        },
    )


def alkconv_diagram(*, kernel_size: int = KERNEL_SIZE) -> Diagram:
    """Return Figure 4: an asymmetric large kernel convolution."""
    return Diagram(
        name="figure4",
        title=f"Figure 4: asymmetric large kernel convolution (ALKConv), k = {kernel_size}",
        module=partial(ALKConv, CHANNELS, CHANNELS, kernel_size=kernel_size),
        channels=CHANNELS,
    )


def diagrams() -> tuple[Diagram, ...]:
    """Return all figures, in the paper's order."""
    return network_diagram(), bsconv_diagram(), block_diagram(), alkconv_diagram()
