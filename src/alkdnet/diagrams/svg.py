"""A layout as SVG, in light or dark colours as the reader's page is.

The background is drawn, so that a page whose colours are not those that the browser prefers stays readable.
"""

import xml.etree.ElementTree as ET
from itertools import pairwise
from math import hypot

from alkdnet.diagrams.layout import (
    DETAIL_SIZE,
    LABEL_SIZE,
    TITLE_SIZE,
    Box,
    Bracket,
    Label,
    Layout,
    Line,
    Point,
)

_RADIUS = 6.0  # of a line's corners
_TIP = 7.0  # length of an arrow's tip
_LINE_HEIGHT = 15.0

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
    ET.SubElement(root, "rect", {"class": "paper", "width": width, "height": height, "rx": "8"})
    for line in layout.lines:
        _draw_line(root, line)
    for box in layout.boxes:
        _draw_box(root, box)
    for label in layout.labels:
        _draw_label(root, label)
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
    points = _without_doubles(line.points)
    if line.fork:
        x, y = points[0]
        ET.SubElement(root, "circle", {"class": "fork", "cx": _number(x), "cy": _number(y), "r": "2.4"})
    if line.joins:
        ET.SubElement(root, "path", {"class": "line", "d": _rounded(points)})
        return
    (x0, y0), (x1, y1) = points[-2:]
    length = hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    base = (x1 - _TIP * ux, y1 - _TIP * uy)
    ET.SubElement(root, "path", {"class": "line", "d": _rounded((*points[:-1], base))})
    corners = (
        (x1, y1),
        (base[0] - 3.5 * uy, base[1] + 3.5 * ux),
        (base[0] + 3.5 * uy, base[1] - 3.5 * ux),
    )
    ET.SubElement(root, "path", {"class": "tip", "d": "M" + " L".join(map(_point, corners)) + " Z"})


def _without_doubles(points: tuple[Point, ...]) -> tuple[Point, ...]:
    return (points[0], *(after for before, after in pairwise(points) if before != after))


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
        _symbol(root, box.lines[0], box.x, first, "symbol")
        for index, line in enumerate(box.lines[1:], 1):
            _text(root, line, box.x, first + 19 * index, "detail")
        return
    if kind in ("addition", "multiplication"):
        circle = {"cx": _number(box.x), "cy": _number(box.y), "r": _number(box.width / 2)}
        ET.SubElement(root, "circle", {"class": "sign", **circle})
        arm = 5.0 if kind == "addition" else 4.0
        ends = ((arm, 0.0), (0.0, arm)) if kind == "addition" else ((arm, arm), (arm, -arm))
        strokes = (
            f"M{_point((box.x - dx, box.y - dy))} L{_point((box.x + dx, box.y + dy))}" for dx, dy in ends
        )
        ET.SubElement(root, "path", {"class": "line", "d": " ".join(strokes)})
        return
    attributes = {
        "class": f"box {_SAME.get(kind, kind)}",
        "x": _number(box.left),
        "y": _number(box.top),
        "width": _number(box.width),
        "height": _number(box.height),
        "rx": "4",
    }
    ET.SubElement(root, "rect", attributes)
    parent = root
    if box.turned:
        parent = ET.SubElement(root, "g", {"transform": f"rotate(-90 {_point((box.x, box.y))})"})
    first = box.y - _LINE_HEIGHT * (len(box.lines) - 1) / 2 + 4.3
    for index, line in enumerate(box.lines):
        _text(parent, line, box.x, first + _LINE_HEIGHT * index, "detail" if index else "title")


def _draw_label(root: ET.Element, label: Label) -> None:
    if "_" in label.text:
        _symbol(root, label.text, label.x, label.y, "label symbol")
    else:
        _text(root, label.text, label.x, label.y, "label")


def _draw_bracket(root: ET.Element, bracket: Bracket) -> None:
    y, tick = bracket.y, bracket.y - 6
    corners = ((bracket.left, tick), (bracket.left, y), (bracket.right, y), (bracket.right, tick))
    ET.SubElement(root, "path", {"class": "bracket", "d": "M" + " L".join(map(_point, corners))})
    for index, line in enumerate(bracket.lines, 1):
        _text(root, line, (bracket.left + bracket.right) / 2, y + 2 + _LINE_HEIGHT * index, "part")


def _text(parent: ET.Element, text: str, x: float, y: float, name: str) -> None:
    ET.SubElement(parent, "text", {"class": name, "x": _number(x), "y": _number(y)}).text = text


def _symbol(parent: ET.Element, text: str, x: float, y: float, name: str) -> None:
    """Write a letter and, after "_", its index."""
    letter, _, index = text.partition("_")
    element = ET.SubElement(parent, "text", {"class": name, "x": _number(x), "y": _number(y)})
    element.text = letter
    if index:
        ET.SubElement(element, "tspan", {"class": "low", "dy": "4"}).text = index


def _point(point: Point) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _number(value: float) -> str:
    return f"{round(value, 1):g}"
