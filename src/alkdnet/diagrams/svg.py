"""A layout as SVG, in light or dark colours by the reader's preference.

The background is drawn, so that a page whose colours are not those that the browser prefers stays readable.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import pairwise
from math import hypot

from alkdnet.diagrams.layout import (
    DETAIL_SIZE,
    LABEL_SIZE,
    LINE_HEIGHT,
    SIGNS,
    TITLE_SIZE,
    Box,
    Bracket,
    Layout,
    Line,
    Point,
)

_RADIUS = 6.0  # of a line's corners
_TIP = 7.0  # length of an arrow's tip

# Fill and edge of each kind, light and dark: after Okabe and Ito's colours, as in the figures of the reports.
_KINDS = {
    "convolution": (("#dcebf6", "#0072b2"), ("#123247", "#6cb4e4")),
    "large-kernel": (("#fbe3d3", "#d55e00"), ("#46230b", "#f2955a")),
    "attention": (("#f7e4ef", "#b0568c"), ("#3d2033", "#dd9cc2")),
    "activation": (("#d8f1e8", "#009e73"), ("#0c372b", "#4cc9a2")),
    "normalisation": (("#fdf0d2", "#b57a00"), ("#3d2f0c", "#e6b450")),
    "arrangement": (("#ededed", "#6b6b6b"), ("#2c3036", "#a3a9b1")),
    "other": (("#ffffff", "#222222"), ("#161b22", "#e6e6e6")),
}
_SAME = {"concatenation": "arrangement"}
_FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"
# Paper, ink, muted ink.
_LIGHT, _DARK = ("#ffffff", "#222222", "#5c5c5c"), ("#161b22", "#e6e6e6", "#a9b1ba")


def svg(layout: Layout, *, title: str, description: str) -> str:
    """Return the text of an SVG file; the same for the same layout."""
    width, height = _number(layout.width), _number(layout.height)
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": width,
            "height": height,
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "aria-label": title,
        },
    )
    ET.SubElement(root, "title").text = title
    ET.SubElement(root, "desc").text = description
    ET.SubElement(root, "style").text = _style()
    _add(root, "rect", "paper", width=layout.width, height=layout.height, rx="8")
    for line in layout.lines:
        _draw_line(root, line)
    for box in layout.boxes:
        _draw_box(root, box)
    for label in layout.labels:
        _text(root, "label symbol" if "_" in label.text else "label", label.text, label.x, label.y)
    for bracket in layout.brackets:
        _draw_bracket(root, bracket)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode") + "\n"


def _style() -> str:
    def colours(scheme: int, paper: str, ink: str, muted: str) -> list[str]:
        return [
            f".paper, .sign {{ fill: {paper} }}",
            f".sign, .line, .bracket {{ stroke: {ink} }}",
            f"text, .tip, .fork {{ fill: {ink} }}",
            f".detail, .part {{ fill: {muted} }} .bracket {{ stroke: {muted} }}",
            *(
                f".{kind} {{ fill: {pair[scheme][0]}; stroke: {pair[scheme][1]} }}"
                for kind, pair in _KINDS.items()
            ),
        ]

    dark = "\n  ".join(colours(1, *_DARK))
    return "\n".join(
        [
            "",
            f"text {{ font-family: {_FONTS}; text-anchor: middle }}",
            f".title {{ font-size: {TITLE_SIZE}px; font-weight: 600 }}",
            f".detail {{ font-size: {DETAIL_SIZE}px }} .label, .part {{ font-size: {LABEL_SIZE}px }}",
            f".symbol {{ font-size: {TITLE_SIZE + 2}px; font-style: italic }} .low {{ font-size: 75% }}",
            ".line, .bracket { fill: none; stroke-width: 1.3 } .sign, .box { stroke-width: 1.3 }",
            *colours(0, *_LIGHT),
            "@media (prefers-color-scheme: dark) {",
            f"  {dark}",
            "}",
            "",
        ]
    )


def _draw_line(root: ET.Element, line: Line) -> None:
    points = (line.points[0], *(after for before, after in pairwise(line.points) if before != after))
    if line.fork:
        x, y = points[0]
        _add(root, "circle", "fork", cx=x, cy=y, r=2.4)
    if line.joins:
        _add(root, "path", "line", d=_rounded(points))
        return
    (x0, y0), (x1, y1) = points[-2:]
    length = hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    x, y = x1 - _TIP * ux, y1 - _TIP * uy
    _add(root, "path", "line", d=_rounded((*points[:-1], (x, y))))
    corners = ((x1, y1), (x - 3.5 * uy, y + 3.5 * ux), (x + 3.5 * uy, y - 3.5 * ux))
    _add(root, "path", "tip", d=f"{_path(corners)} Z")


def _rounded(points: tuple[Point, ...]) -> str:
    path = f"M{_point(points[0])}"
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        near, far = _towards(corner, before), _towards(corner, after)
        path += f" L{_point(near)} Q{_point(corner)} {_point(far)}"
    return f"{path} L{_point(points[-1])}"


def _towards(corner: Point, other: Point) -> Point:
    (x, y), (x1, y1) = corner, other
    length = hypot(x1 - x, y1 - y)
    step = min(_RADIUS, length / 2) / length
    return x + (x1 - x) * step, y + (y1 - y) * step


def _draw_box(root: ET.Element, box: Box) -> None:
    kind = box.step.kind.replace(" ", "-")
    if kind in ("input", "output"):
        first = box.y - 10 * (len(box.lines) - 1) + 5
        for index, text in enumerate(box.lines):
            _text(root, "detail" if index else "symbol", text, box.x, first + 19 * index)
        return
    if kind in SIGNS:
        _add(root, "circle", "sign", cx=box.x, cy=box.y, r=box.width / 2)
        ends = ((5.0, 0.0), (0.0, 5.0)) if kind == "addition" else ((4.0, 4.0), (4.0, -4.0))
        strokes = (_path(((box.x - dx, box.y - dy), (box.x + dx, box.y + dy))) for dx, dy in ends)
        _add(root, "path", "line", d=" ".join(strokes))
        return
    style = f"box {_SAME.get(kind, kind)}"
    _add(root, "rect", style, x=box.left, y=box.top, width=box.width, height=box.height, rx="4")
    parent = root
    if box.vertical:
        parent = ET.SubElement(root, "g", {"transform": f"rotate(-90 {_point((box.x, box.y))})"})
    first = box.y - LINE_HEIGHT * (len(box.lines) - 1) / 2 + 4.3
    for index, text in enumerate(box.lines):
        _text(parent, "detail" if index else "title", text, box.x, first + LINE_HEIGHT * index)


def _draw_bracket(root: ET.Element, bracket: Bracket) -> None:
    y, tick = bracket.y, bracket.y - 6
    corners = ((bracket.left, tick), (bracket.left, y), (bracket.right, y), (bracket.right, tick))
    _add(root, "path", "bracket", d=_path(corners))
    for index, text in enumerate(bracket.lines, 1):
        _text(root, "part", text, (bracket.left + bracket.right) / 2, y + 2 + LINE_HEIGHT * index)


def _text(parent: ET.Element, style: str, text: str, x: float, y: float) -> None:
    """Write text; what follows "_" is an index."""
    letter, _, index = text.partition("_")
    element = _add(parent, "text", style, x=x, y=y)
    element.text = letter
    if index:
        _add(element, "tspan", "low", dy="4").text = index


def _add(parent: ET.Element, tag: str, style: str, **attributes: float | str) -> ET.Element:
    texts = {key: each if isinstance(each, str) else _number(each) for key, each in attributes.items()}
    return ET.SubElement(parent, tag, {"class": style, **texts})


def _path(points: Sequence[Point]) -> str:
    return f"M{' L'.join(map(_point, points))}"


def _point(point: Point) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _number(value: float) -> str:
    return f"{round(value, 1):g}"
