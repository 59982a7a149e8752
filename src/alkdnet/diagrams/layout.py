"""Positions of the boxes, lines and labels of a diagram, from left to right in the order of computation.

The longest path from the input to the output is the main row, and every step of it has a column. Branches
that leave it and come back are rows of their own: parallel ones of the same length around it, others below.
A connection that skips steps of the main row is an arc above. Lengths are in CSS pixels, y goes down.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from alkdnet.analysis.graph import Graph, Step

TITLE_SIZE, DETAIL_SIZE, LABEL_SIZE = 12.5, 11.0, 12.0
LINE_HEIGHT = 15.0
SIGNS = ("addition", "multiplication")
_EM = 0.6  # largest mean width of a character
_MARGIN = 16.0
_ROW_GAP, _ARC_GAP, _BRACKET_GAP = 16.0, 22.0, 16.0
_VERTICAL_FROM = 9  # columns from which the titles on the main row are vertical
_SIGN = 20.0  # diameter of + and ×

Point = tuple[float, float]


@dataclass(kw_only=True)
class Box:
    """A step; x and y are its centre, `lines` its text, which runs upwards if it is vertical."""

    step: Step
    width: float
    height: float
    lines: tuple[str, ...]
    vertical: bool = False
    x: float = 0.0
    y: float = 0.0

    @property
    def left(self) -> float:
        """Return x of the left edge."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Return x of the right edge."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """Return y of the upper edge."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """Return y of the lower edge."""
        return self.y + self.height / 2


@dataclass(frozen=True)
class Line:
    """A connection along points; `fork` if it starts on another one, `joins` if it ends on another one."""

    points: tuple[Point, ...]
    fork: bool = False
    joins: bool = False


@dataclass(frozen=True)
class Label:
    """Text centred at x, on the baseline y."""

    text: str
    x: float
    y: float


@dataclass(frozen=True)
class Bracket:
    """A line below the steps of a part, from x `left` to `right`, with the part's name below it."""

    left: float
    right: float
    y: float
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A whole diagram."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]
    brackets: tuple[Bracket, ...]
    width: float
    height: float


def arrange(
    graph: Graph,
    *,
    ends: tuple[str, str],
    labels: Mapping[str, str],
    parts: Mapping[str, tuple[str, str]],
) -> Layout:
    """Return the layout of a graph.

    Args:
        graph: of a module.
        ends: names of the input and of the output.
        labels: names of connections, by the path or name of the step that they leave.
        parts: paths or names of the first and last step on the main row, by the name of a part.

    Raises:
        ValueError: a label or part names a step that does not exist.
    """
    return _Arrangement(graph, ends, labels, parts).layout()


class _Arrangement:
    def __init__(
        self,
        graph: Graph,
        ends: tuple[str, str],
        labels: Mapping[str, str],
        parts: Mapping[str, tuple[str, str]],
    ) -> None:
        self.graph, self.ends, self.parts = graph, ends, parts
        self.steps = {step.name: step for step in graph.steps}
        self.column = _columns(graph)
        self.main = _main_row(graph, self.column)
        self.branches = self._branches()
        self.vertical = len(self.main) >= _VERTICAL_FROM
        self.gap = 15.0 if self.vertical else 32.0
        self.labels = {self._last(key): text for key, text in labels.items()}
        self.row = self._rows()
        names = [*self.main, *(name for branch in self.branches for name in branch)]
        self.boxes = {name: self._box(self.steps[name]) for name in names}

    def layout(self) -> Layout:
        self._place_main_row()
        for branch in self.branches:
            self._place_branch(branch)
        self._place_rows()
        xs, ys = (list(each) for each in zip(*self._extent(), strict=True))
        for box in self.boxes.values():
            box.x += _MARGIN - min(xs)
            box.y += _MARGIN - min(ys)
        return Layout(
            boxes=tuple(self.boxes.values()),
            lines=tuple(self._lines()),
            labels=tuple(self._labels()),
            brackets=tuple(self._brackets()),
            width=max(xs) - min(xs) + 2 * _MARGIN,
            height=max(ys) - min(ys) + 2 * _MARGIN,
        )

    def _last(self, key: str) -> str:
        """Return the name of a step, or of the activation that alone takes its output."""
        step = self.graph.find(key)
        users = self.graph.users(step.name)
        return users[0].name if len(users) == 1 and users[0].kind == "activation" else step.name

    def _branches(self) -> list[list[str]]:
        """Return the chains of steps beside the main row."""
        branches: list[list[str]] = []
        for step in self.graph.steps:
            if step.name in self.main:
                continue
            branch = next((each for each in branches if each[-1] in step.inputs), None)
            if branch is None:
                branches.append([step.name])
            else:
                branch.append(step.name)
        return branches

    def _span(self, branch: Sequence[str]) -> tuple[int, int]:
        """Return the columns of the main row at which a branch leaves and comes back."""
        before = [self.column[name] for name in self.steps[branch[0]].inputs]
        after = [self.column[step.name] for step in self.graph.users(branch[-1])]
        return min(before), max(after)

    def _rows(self) -> dict[str, int]:
        """Return the row of every step: 0 is the main row, negative ones are above it."""
        rows = dict.fromkeys(self.main, 0)
        order = {step.name: index for index, step in enumerate(self.graph.steps)}
        taken: dict[int, list[tuple[int, int]]] = {}

        def rank(branch: Sequence[str]) -> tuple[int, int]:
            start, end = self._span(branch)
            return end - start, -order[branch[0]]

        for branch in sorted(self.branches, key=rank):
            start, end = self._span(branch)
            beside = self.main[start + 1 : end]
            above = len(beside) == len(branch) and order[branch[0]] < order[beside[0]]
            row = direction = -1 if above else 1
            while any(start < right and left < end for left, right in taken.get(row, ())):
                row += direction
            taken.setdefault(row, []).append((start, end))
            rows.update(dict.fromkeys(branch, row))
        return rows

    def _box(self, step: Step) -> Box:
        if step.kind in SIGNS:
            return Box(step=step, width=_SIGN, height=_SIGN, lines=(step.title,))
        if step.kind in ("input", "output"):
            title = self.ends[step.kind == "output"]
            lines = (title,) if self.vertical else (title, *step.details)
            widths = [_text_width(title, TITLE_SIZE + 2), *(_text_width(text, DETAIL_SIZE) for text in lines)]
            return Box(step=step, width=max(widths), height=20.0 * len(lines), lines=lines)
        vertical = self.vertical and step.name in self.main
        # Where there are many boxes, their number of parameters is left out.
        details = step.details[: 1 if self.vertical else 3]
        if vertical and step.kind in ("attention", "normalisation"):
            details = ()
        widths = [_text_width(step.title, TITLE_SIZE), *(_text_width(text, DETAIL_SIZE) for text in details)]
        along, across = 20 + max(widths), 9 + LINE_HEIGHT * (1 + len(details))
        width, height = (across, along) if vertical else (along, across)
        return Box(step=step, width=width, height=height, lines=(step.title, *details), vertical=vertical)

    def _place_main_row(self) -> None:
        boxes = [self.boxes[name] for name in self.main]
        tallest = max(box.height for box in boxes)
        x = -self.gap
        for name, box in zip(self.main, boxes, strict=True):
            if box.vertical:
                box.height = tallest
            x += max(self.gap, self._room_before(name))
            box.x = x + box.width / 2
            x += box.width

    def _room_before(self, name: str) -> float:
        """Return the gap that a step needs before it, for a label and for branches that end in it."""
        index = self.main.index(name)
        if not index:
            return 0.0
        before = self.main[index - 1]
        has_label = before in self.labels and len(self.graph.users(before)) == 1
        room = _text_width(self.labels[before], LABEL_SIZE) + 16 if has_label else 0.0
        for branch in self.branches:
            if self._is_aligned(branch) or name not in [user.name for user in self.graph.users(branch[-1])]:
                continue
            widths = sum(self.boxes[each].width + self.gap for each in branch)
            label = _text_width(self.labels.get(branch[-1], ""), LABEL_SIZE)
            end = self.boxes[self.main[self._span(branch)[0]]].right + self.gap + widths + label
            room = max(room, end - self.boxes[before].right)
        return room

    def _place_branch(self, branch: Sequence[str]) -> None:
        start, end = (self.main[index] for index in self._span(branch))
        boxes = [self.boxes[name] for name in branch]
        x = self.boxes[start].right + self.gap
        if self.steps[end].kind in SIGNS:  # a term is computed near its sum
            x = self.boxes[end].left - sum(box.width + self.gap for box in boxes)
        for index, box in enumerate(boxes, self.main.index(start) + 1):
            box.x = self.boxes[self.main[index]].x if self._is_aligned(branch) else x + box.width / 2
            x += box.width + self.gap

    def _is_aligned(self, branch: Sequence[str]) -> bool:
        """Return whether a branch takes the columns of the main row beside it."""
        start, end = self._span(branch)
        return not self.vertical and len(branch) == end - start - 1

    def _place_rows(self) -> None:
        heights: dict[int, float] = {}
        for name, box in self.boxes.items():
            heights[self.row[name]] = max(heights.get(self.row[name], 0.0), box.height)
        y, centres = 0.0, {}
        for row in sorted(heights):
            centres[row] = y + heights[row] / 2
            y += heights[row] + _ROW_GAP
        for name, box in self.boxes.items():
            box.y = centres[self.row[name]]
        for box in self.boxes.values():  # a concatenation reaches the rows that end in it
            if box.step.kind == "concatenation":
                joined = [box, *(self.boxes[each] for each in box.step.inputs if self.row[each])]
                top, bottom = min(each.top for each in joined), max(each.bottom for each in joined)
                box.y, box.height = (top + bottom) / 2, bottom - top

    def _extent(self) -> Iterator[Point]:
        """Yield points that span the diagram."""
        for box in self.boxes.values():
            yield from ((box.left, box.top), (box.right, box.bottom))
        for line in self._lines():
            yield from line.points
        for label in self._labels():
            yield label.x, label.y - LABEL_SIZE
        for bracket in self._brackets():
            half = max(_text_width(line, LABEL_SIZE) for line in bracket.lines) / 2
            middle, bottom = (
                (bracket.left + bracket.right) / 2,
                bracket.y + 6 + LINE_HEIGHT * len(bracket.lines),
            )
            yield from ((middle - half, bottom), (middle + half, bottom))

    def _lines(self) -> list[Line]:
        arcs = self._arcs()
        return [self._line(name, step, arcs) for step in self.graph.steps for name in step.inputs]

    def _labels(self) -> list[Label]:
        arcs = self._arcs()
        return [self._label(name, text, arcs) for name, text in self.labels.items()]

    def _brackets(self) -> list[Bracket]:
        y = max(box.bottom for box in self.boxes.values()) + _BRACKET_GAP
        brackets = []
        for text, (first, last) in self.parts.items():
            left, right = self.boxes[self.graph.find(first).name].left, self.boxes[self._last(last)].right
            brackets.append(Bracket(left, right, y, _wrapped(text, right - left + self.gap)))
        return brackets

    def _arcs(self) -> dict[str, float]:
        """Return y of the arcs that end in a step; those that end in the same one share it."""
        starts: dict[str, int] = {}
        for name in self.main:
            if columns := [self.column[each] for each in self.steps[name].inputs if self._is_arc(each, name)]:
                starts[name] = min(columns)
        levels: dict[str, int] = {}
        for name in sorted(starts, key=lambda name: (self.column[name] - starts[name], self.column[name])):
            below = [
                level
                for other, level in levels.items()
                if starts[other] < self.column[name] and starts[name] < self.column[other]
            ]
            levels[name] = 1 + max(below, default=0)
        top = min(box.top for box in self.boxes.values())
        return {name: top - _ARC_GAP * level + 6 for name, level in levels.items()}

    def _is_arc(self, source: str, target: str) -> bool:
        on_main = self.row[source] == self.row[target] == 0
        return on_main and self.column[target] - self.column[source] > 1

    def _line(self, name: str, step: Step, arcs: Mapping[str, float]) -> Line:
        source, target = self.boxes[name], self.boxes[step.name]
        y = self.boxes[self.main[0]].y if source.step.kind == "concatenation" else source.y
        fork = source.right + min(8.0, self.gap / 3)
        if self._is_arc(name, step.name):
            level = arcs[step.name]
            before = [each for each in step.inputs if self._is_arc(each, step.name)]
            if name != min(before, key=lambda each: self.column[each]):  # they share the line to the step
                return Line(((fork, y), (fork, level), (fork + self.gap, level)), fork=True, joins=True)
            return Line(((fork, y), (fork, level), (target.x, level), (target.x, target.top)), fork=True)
        to_main = self.row[step.name] == 0
        if self.row[name] == self.row[step.name] or (to_main and target.step.kind == "concatenation"):
            return Line(((source.right, y), (target.left, y)))
        if self.row[name] == 0:
            return Line(((fork, y), (fork, target.y), (target.left, target.y)), fork=True)
        if to_main:
            edge = target.bottom if source.y > target.y else target.top
            return Line(((source.right, y), (target.x, y), (target.x, edge)))
        middle = target.left - self.gap / 2
        return Line(((source.right, y), (middle, y), (middle, target.y), (target.left, target.y)))

    def _label(self, name: str, text: str, arcs: Mapping[str, float]) -> Label:
        """Return the name of a step's output: on its arc, or before the step that takes it."""
        box, users = self.boxes[name], self.graph.users(name)
        far = [user for user in users if self._is_arc(name, user.name)]
        if far:
            return Label(text, (box.right + self.boxes[far[-1].name].x) / 2, arcs[far[-1].name] - 5)
        y = box.y - (9 if "_" in text else 6)  # an index hangs below the letter
        target = self.boxes[users[0].name]
        if self.row[name] == 0:
            return Label(text, (box.right + target.left) / 2 - 2, y)
        branch = next(each for each in self.branches if name in each)
        start, first = self.boxes[self.main[self._span(branch)[0]]], self.boxes[branch[0]]
        end = target.left if target.step.kind == "concatenation" else target.x
        if first.left - start.right > end - box.right:
            return Label(text, (start.right + first.left) / 2, y)
        return Label(text, (box.right + end) / 2, y)


def _columns(graph: Graph) -> dict[str, int]:
    """Return the length of the longest path from the input to every step."""
    column: dict[str, int] = {}
    for step in graph.steps:
        column[step.name] = max((column[name] + 1 for name in step.inputs), default=0)
    return column


def _main_row(graph: Graph, column: Mapping[str, int]) -> list[str]:
    """Return the longest path from the input to the output; of equal ones the middle one."""
    steps = {step.name: step for step in graph.steps}
    name = graph.steps[-1].name
    path = [name]
    while steps[name].inputs:
        longest = [each for each in dict.fromkeys(steps[name].inputs) if column[each] == column[name] - 1]
        name = longest[(len(longest) - 1) // 2]
        path.append(name)
    return path[::-1]


def _text_width(text: str, size: float) -> float:
    return len(text.replace("_", "")) * size * _EM


def _wrapped(text: str, width: float) -> tuple[str, ...]:
    lines: list[str] = []
    for word in text.split():
        if lines and _text_width(f"{lines[-1]} {word}", LABEL_SIZE) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return tuple(lines)
