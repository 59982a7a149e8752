import re
import xml.etree.ElementTree as ET
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from torch import Tensor, nn

from alkdnet.analysis.graph import Graph, trace
from alkdnet.diagrams.figures import (
    Diagram,
    alkconv_diagram,
    block_diagram,
    bsconv_diagram,
    diagrams,
    network_diagram,
)
from alkdnet.diagrams.layout import Layout, arrange
from alkdnet.layers.attention import CCA, ESA
from alkdnet.layers.convolution import BSConv

DIAGRAMS = {
    **{diagram.name: diagram for diagram in diagrams()},
    "x2": network_diagram(scale=2),
    "one block": network_diagram(blocks=1),
    "twelve blocks": network_diagram(blocks=12),
    "kernel 31": alkconv_diagram(kernel_size=31),
    "esa": Diagram(name="esa", title="", module=lambda: ESA(64, 16, padding=1), channels=64, whole=(BSConv,)),
    "cca": Diagram(name="cca", title="", module=lambda: CCA(64), channels=64),
}


NEAR = 0.01  # rounding, in pixels


@cache
def _layout(name: str) -> Layout:
    diagram = DIAGRAMS[name]
    return arrange(diagram.graph(), ends=diagram.ends, labels=diagram.labels, parts=diagram.parts)


@pytest.mark.parametrize("diagram", diagrams(), ids=lambda diagram: diagram.name)
def test_the_committed_figures_are_those_of_the_modules(diagram: Diagram, repository: Path) -> None:
    committed = (repository / "docs/images" / f"{diagram.name}.svg").read_text(encoding="utf-8")
    assert diagram.draw() == committed, "run `make docs`"


def test_another_kernel_is_another_figure() -> None:
    for draw, word in ((block_diagram, "ALKConv, k = {}"), (alkconv_diagram, "DWConv {}×1")):
        for kernel_size in (5, 31):
            drawn = draw(kernel_size=kernel_size).draw()
            assert f">{word.format(kernel_size)}<" in drawn
            assert f">{word.format(9)}<" not in drawn


def test_all_steps_of_the_graph_are_drawn() -> None:
    for diagram in diagrams():
        texts = [element.text for element in ET.fromstring(diagram.draw()).iter()]
        titles = [box.step.title for box in _layout(diagram.name).boxes]
        assert len(titles) == len(diagram.graph().steps)
        for title in set(titles) - {"", "+", "×"}:
            assert texts.count(title) == titles.count(title), title
    for blocks in (1, 3):
        assert len(re.findall(r">ALKDB \d+<", network_diagram(blocks=blocks).draw())) == blocks


@pytest.mark.parametrize("name", DIAGRAMS)
def test_nothing_lies_upon_anything(name: str) -> None:
    layout = _layout(name)
    for a, b in combinations(layout.boxes, 2):
        apart = a.right < b.left or b.right < a.left or a.bottom < b.top or b.bottom < a.top
        assert apart, (a.step.name, b.step.name)
    for line in layout.lines:
        for (x0, y0), (x1, y1) in pairwise(line.points):
            assert x0 == x1 or y0 == y1
            for box in layout.boxes:
                beside = max(x0, x1) < box.left + NEAR or min(x0, x1) > box.right - NEAR
                above_or_below = max(y0, y1) < box.top + NEAR or min(y0, y1) > box.bottom - NEAR
                assert beside or above_or_below, box.step.name
    for box in layout.boxes:
        assert 0 < box.left < box.right < layout.width
        assert 0 < box.top < box.bottom < layout.height
    for label in layout.labels:
        for box in layout.boxes:
            assert not (box.left < label.x < box.right and box.top < label.y < box.bottom), label.text


def test_figures_fit_a_page_of_900_pixels() -> None:
    assert all(_layout(diagram.name).width <= 900 for diagram in diagrams())


def test_the_order_is_from_left_to_right() -> None:
    for name in DIAGRAMS:
        boxes = {box.step.name: box for box in _layout(name).boxes}
        for box in boxes.values():
            assert all(boxes[each].right < box.left for each in box.step.inputs), box.step.name


def test_parallel_branches_are_around_the_middle() -> None:
    boxes = {box.step.name: box for box in _layout("figure4").boxes}
    assert boxes["vertical"].y < boxes["horizontal"].y < boxes["square"].y
    assert boxes["horizontal"].y == boxes["pointwise"].y == boxes["norm"].y
    assert boxes["vertical"].x == boxes["horizontal"].x == boxes["square"].x


def test_a_paper_word_without_its_step_is_an_error() -> None:
    """The paper's names cannot stay where the modules no longer have the part."""

    class Without(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

    graph: Graph = trace(Without(), channels=3)
    for words in ({"labels": {"shallow": "FSRL"}, "parts": {}}, {"labels": {}, "parts": {"a": ("x", "y")}}):
        with pytest.raises(ValueError, match=r"no step '(shallow|x)'"):
            arrange(graph, ends=("a", "b"), **words)  # type: ignore[arg-type]


def test_every_colour_is_there_for_a_light_and_a_dark_page() -> None:
    for diagram in (bsconv_diagram(), block_diagram()):
        root = ET.fromstring(diagram.draw())
        (style,) = (element.text or "" for element in root.iter() if element.tag.endswith("style"))
        light, dark = style.split("@media (prefers-color-scheme: dark)")
        used = {name for element in root.iter() for name in element.get("class", "").split()}
        for name in used - {"box", "title", "label", "symbol", "low"}:
            assert f".{name}" in light, name
            assert f".{name}" in dark, name
        colours = [re.findall(r"#[0-9a-f]{6}", part) for part in (light, dark)]
        assert len(colours[0]) == len(colours[1])
        assert not set(colours[0]) & set(colours[1])


def test_a_file_holds_nothing_of_the_moment() -> None:
    text = block_diagram().draw()
    assert text == block_diagram().draw()
    assert not re.search(r"\bid=|20\d\d-|<script|href", text)
