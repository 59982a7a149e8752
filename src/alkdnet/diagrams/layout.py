"""Where the boxes, lines and words of a diagram are: from left to right, in the order of the computation.

The longest way from the input to the output is the main row, and every step of it has a column. Ways that
leave it and come back are rows of their own: parallel ones of the same length around it, others below it.
A connection that passes over steps is an arc above. Lengths are in CSS pixels, y goes down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from alkdnet.analysis.graph import Graph, Step

TITLE_SIZE, DETAIL_SIZE, LABEL_SIZE = 12.5, 11.0, 12.0
_EM = 0.6  # width of a character, at most, on average
_MARGIN = 16.0
_ROW_GAP, _ARC_GAP = 16.0, 22.0
_BRACKET_GAP, _LINE_HEIGHT = 16.0, 15.0
_UPRIGHT_FROM = 9  # columns from which the titles on the main row are turned
_SIGN = 20.0  # diameter of + and ×
_SIGNS = ("addition", "multiplication")

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A step at its place; x and y are its centre, `lines` what it says, `turned` whether upwards."""

    step: Step
    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    turned: bool

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
    """A connection along points; `fork` if it leaves another one, `joins` if it ends in another one."""

    points: tuple[Point, ...]
    fork: bool = False
    joins: bool = False


@dataclass(frozen=True)
class Label:
    """Words centred at x, on the baseline y."""

    text: str
    x: float
    y: float


@dataclass(frozen=True)
class Bracket:
    """A line under the steps of a part from x `left` to `right`, with the part's name below it."""

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
        labels: by the path or name of a step, what the connection is called that leaves it.
        parts: by the name of a part of the main row, paths or names of its first and last step.

    Raises:
        ValueError: a label or part names a step that is not there.
    """
    return _Arrangement(graph, ends, labels, parts).layout()


@dataclass
class _Arrangement:
    graph: Graph
    ends: tuple[str, str]
    labels: Mapping[str, str]
    parts: Mapping[str, tuple[str, str]]
    boxes: dict[str, Box] = field(default_factory=dict)

    def layout(self) -> Layout:
        self.steps = {step.name: step for step in self.graph.steps}
        self.rank = _ranks(self.graph)
        self.main = _main_row(self.graph, self.rank)
        self.turned = len(self.main) >= _UPRIGHT_FROM
        self.gap = 15.0 if self.turned else 32.0
        self.named = {self._end(key): text for key, text in self.labels.items()}
        self.row = self._rows()
        self._place()
        arcs = self._arcs()
        lines = [
            line for step in self.graph.steps for name in step.inputs for line in self._line(name, step, arcs)
        ]
        labels = [self._label(name, text, arcs) for name, text in self.named.items()]
        bottom = max(box.bottom for box in self.boxes.values())
        brackets = [self._bracket(text, *keys, y=bottom + _BRACKET_GAP) for text, keys in self.parts.items()]
        return _shifted(list(self.boxes.values()), lines, labels, brackets)

    def _end(self, key: str) -> str:
        """Return the name of a step, or of the activation that follows it and nothing else does."""
        step = self.graph.find(key)
        users = self.graph.users(step.name)
        return users[0].name if len(users) == 1 and users[0].kind == "activation" else step.name

    def _rows(self) -> dict[str, int]:
        """Return the row of every step: 0 is the main row, negative ones are above it."""
        rows = dict.fromkeys(self.main, 0)
        order = {step.name: index for index, step in enumerate(self.graph.steps)}
        taken: dict[int, list[tuple[int, int]]] = {}
        ways = self._side_ways()
        for way in sorted(ways, key=lambda way: (self._span(way)[1] - self._span(way)[0], -order[way[0]])):
            start, end = self._span(way)
            beside = self.main[start + 1 : end]
            parallel = len(beside) == len(way)
            above = parallel and order[way[0]] < order[beside[0]]
            row = -1 if above else 1
            while any(
                start < other_end and other_start < end for other_start, other_end in taken.get(row, ())
            ):
                row += -1 if above else 1
            taken.setdefault(row, []).append((start, end))
            rows.update(dict.fromkeys(way, row))
        return rows

    def _side_ways(self) -> list[list[str]]:
        """Return the chains of steps beside the main row."""
        ways: list[list[str]] = []
        for step in self.graph.steps:
            if step.name in self.main:
                continue
            way = next((way for way in ways if way[-1] in step.inputs), None)
            if way is not None:
                way.append(step.name)
            else:
                ways.append([step.name])
        return ways

    def _span(self, way: Sequence[str]) -> tuple[int, int]:
        """Return the columns of the main row between which a chain leaves and comes back."""
        before = [self.rank[name] for name in self.steps[way[0]].inputs]
        after = [self.rank[step.name] for step in self.graph.users(way[-1])]
        return min(before), max(after)

    def _place(self) -> None:
        main = {name: self._sized(self.steps[name], turned=self.turned) for name in self.main}
        tallest = max(box.height for box in main.values())
        for name, box in main.items():  # boxes of one height
            if box.turned:
                main[name] = replace(box, height=tallest)
        x = 0.0
        for name in self.main:
            room = self._room(name, main)
            if name != self.main[0]:
                x += max(self.gap, room)
            box = main[name]
            main[name] = replace(box, x=x + box.width / 2)
            self.boxes[name] = main[name]
            x += box.width
        for way in self._side_ways():
            self._place_way(way)
        self._set_rows()

    def _room(self, name: str, main: Mapping[str, Box]) -> float:
        """Return the gap that a step needs before it, for a label and for chains that end in it."""
        index = self.main.index(name)
        before = self.main[index - 1]
        labelled = before in self.named and len(self.graph.users(before)) == 1
        room = _text_width(self.named[before], LABEL_SIZE) + 16 if labelled else 0.0
        for way in self._side_ways():
            if self._is_aligned(way) or not any(user.name == name for user in self.graph.users(way[-1])):
                continue
            source = self.main[self._span(way)[0]]
            widths = [self._sized(self.steps[each], turned=False).width for each in way]
            end = (
                self.boxes[source].right
                + self.gap
                + sum(widths)
                + self.gap * len(widths)
                + self._named_width(way)
            )
            room = max(room, end - self.boxes[before].right)
        return room

    def _named_width(self, way: Sequence[str]) -> float:
        return _text_width(self.named[way[-1]], LABEL_SIZE) if way[-1] in self.named else 0.0

    def _place_way(self, way: Sequence[str]) -> None:
        start, end = (self.main[index] for index in self._span(way))
        boxes = [self._sized(self.steps[name], turned=False) for name in way]
        x = self.boxes[start].right + self.gap
        if self.steps[end].kind in _SIGNS:  # what is added is made where it is added
            x = self.boxes[end].left - sum(box.width + self.gap for box in boxes)
        for index, box in enumerate(boxes, self.main.index(start) + 1):
            centre = self.boxes[self.main[index]].x if self._is_aligned(way) else x + box.width / 2
            self.boxes[box.step.name] = replace(box, x=centre)
            x += box.width + self.gap

    def _is_aligned(self, way: Sequence[str]) -> bool:
        """Return whether a chain takes the columns of the main row beside it."""
        start, end = self._span(way)
        return not self.turned and len(way) == end - start - 1

    def _set_rows(self) -> None:
        heights: dict[int, float] = {}
        for name, box in self.boxes.items():
            heights[self.row[name]] = max(heights.get(self.row[name], 0.0), box.height)
        y, centres = 0.0, {}
        for row in sorted(heights):
            centres[row] = y + heights[row] / 2
            y += heights[row] + _ROW_GAP
        for name, box in self.boxes.items():
            self.boxes[name] = replace(box, y=centres[self.row[name]])
        for name, box in self.boxes.items():  # a concatenation reaches the rows that end in it
            if box.step.kind == "concatenation":
                rows = [self.boxes[each] for each in box.step.inputs if self.row[each] != 0]
                top, bottom = (
                    min([box.top, *(b.top for b in rows)]),
                    max([box.bottom, *(b.bottom for b in rows)]),
                )
                self.boxes[name] = replace(box, y=(top + bottom) / 2, height=bottom - top)

    def _sized(self, step: Step, *, turned: bool) -> Box:
        if step.kind in ("input", "output"):
            title = self.ends[step.kind == "output"]
            lines = (title,) if turned or self.turned else (title, *step.details)
            width = max(
                _text_width(_plain(title), TITLE_SIZE + 2), *(_text_width(t, DETAIL_SIZE) for t in lines)
            )
            return Box(step=step, x=0, y=0, width=width, height=20.0 * len(lines), lines=lines, turned=False)
        if step.kind in _SIGNS:
            return Box(step=step, x=0, y=0, width=_SIGN, height=_SIGN, lines=(step.title,), turned=False)
        # Where there are many boxes, the parameters are in none.
        details = step.details[: 1 if self.turned else 3]
        if self.turned and step.kind in ("attention", "normalisation"):
            details = ()
        lines = (step.title, *details)
        along = 20 + max(
            _text_width(step.title, TITLE_SIZE), *(_text_width(line, DETAIL_SIZE) for line in lines[1:]), 0.0
        )
        across = 9 + _LINE_HEIGHT * len(lines)
        width, height = (across, along) if turned else (along, across)
        return Box(step=step, x=0, y=0, width=width, height=height, lines=lines, turned=turned)

    def _arcs(self) -> dict[str, float]:
        """Return the y of the arcs that end in a step; those that end in the same one share it."""
        reach: dict[str, int] = {}
        for name in self.main:
            starts = [self.rank[each] for each in self.steps[name].inputs if self._is_arc(each, name)]
            if starts:
                reach[name] = min(starts)
        levels: dict[str, int] = {}
        for name in sorted(reach, key=lambda name: (self.rank[name] - reach[name], self.rank[name])):
            below = [
                level
                for other, level in levels.items()
                if reach[other] < self.rank[name] and reach[name] < self.rank[other]
            ]
            levels[name] = 1 + max(below, default=0)
        top = min(box.top for box in self.boxes.values())
        return {name: top - _ARC_GAP * level + 6 for name, level in levels.items()}

    def _is_arc(self, source: str, target: str) -> bool:
        on_main = self.row[source] == self.row[target] == 0
        return on_main and self.rank[target] - self.rank[source] > 1

    def _line(self, name: str, step: Step, arcs: Mapping[str, float]) -> list[Line]:
        source, target = self.boxes[name], self.boxes[step.name]
        y = source.y if source.step.kind != "concatenation" else self._main_y()
        fork = source.right + min(8.0, self.gap / 3)
        if self._is_arc(name, step.name):
            level = arcs[step.name]
            before = [each for each in step.inputs if self._is_arc(each, step.name)]
            if name != min(before, key=lambda each: self.rank[each]):  # one line for all that end there
                return [Line(((fork, y), (fork, level), (fork + self.gap, level)), fork=True, joins=True)]
            return [Line(((fork, y), (fork, level), (target.x, level), (target.x, target.top)), fork=True)]
        from_main, to_main = self.row[name] == 0, self.row[step.name] == 0
        if self.row[name] == self.row[step.name]:
            return [Line(((source.right, y), (target.left, y)))]
        if from_main:
            return [Line(((fork, y), (fork, target.y), (target.left, target.y)), fork=True)]
        if to_main and target.step.kind == "concatenation":
            return [Line(((source.right, y), (target.left, y)))]
        if to_main:
            edge = target.bottom if source.y > target.y else target.top
            return [Line(((source.right, y), (target.x, y), (target.x, edge)))]
        middle = target.left - self.gap / 2
        return [Line(((source.right, y), (middle, y), (middle, target.y), (target.left, target.y)))]

    def _main_y(self) -> float:
        return self.boxes[self.main[0]].y

    def _label(self, name: str, text: str, arcs: Mapping[str, float]) -> Label:
        """Return the name of what leaves a step: on its arc, or before the step that takes it."""
        box = self.boxes[name]
        far = [user for user in self.graph.users(name) if self._is_arc(name, user.name)]
        if far:
            target = self.boxes[far[-1].name]
            return Label(text, (box.right + target.x) / 2, arcs[far[-1].name] - 5)
        y = box.y - (9 if "_" in text else 6)  # an index hangs below the letter
        target = self.boxes[self.graph.users(name)[0].name]
        if self.row[name] == 0:
            return Label(text, (box.right + target.left) / 2 - 2, y)
        way = next(way for way in self._side_ways() if name in way)
        start, first = self.boxes[self.main[self._span(way)[0]]], self.boxes[way[0]]
        end = target.left if target.step.kind == "concatenation" else target.x
        if first.left - start.right > end - box.right:
            return Label(text, (start.right + first.left) / 2, y)
        return Label(text, (box.right + end) / 2, y)

    def _bracket(self, text: str, first: str, last: str, *, y: float) -> Bracket:
        left = self.boxes[self.graph.find(first).name].left
        right = self.boxes[self._end(last)].right
        return Bracket(left, right, y, _wrapped(text, right - left + self.gap))


def _ranks(graph: Graph) -> dict[str, int]:
    """Return the length of the longest way from the input to every step."""
    rank: dict[str, int] = {}
    for step in graph.steps:
        rank[step.name] = max((rank[name] + 1 for name in step.inputs), default=0)
    return rank


def _main_row(graph: Graph, rank: Mapping[str, int]) -> list[str]:
    """Return the longest way from the input to the output; of equal ones the middle one."""
    steps = {step.name: step for step in graph.steps}
    name = graph.steps[-1].name
    way = [name]
    while steps[name].inputs:
        longest = [each for each in dict.fromkeys(steps[name].inputs) if rank[each] == rank[name] - 1]
        name = longest[(len(longest) - 1) // 2]
        way.append(name)
    return way[::-1]


def _text_width(text: str, size: float) -> float:
    return len(_plain(text)) * size * _EM


def _plain(text: str) -> str:
    return text.replace("_", "")


def _wrapped(text: str, width: float) -> tuple[str, ...]:
    lines: list[str] = []
    for word in text.split():
        if lines and _text_width(f"{lines[-1]} {word}", LABEL_SIZE) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return tuple(lines)


def _shifted(boxes: list[Box], lines: list[Line], labels: list[Label], brackets: list[Bracket]) -> Layout:
    """Return everything with the margin's corner at (0, 0)."""
    xs = [x for line in lines for x, _ in line.points] + [x for box in boxes for x in (box.left, box.right)]
    ys = [y for line in lines for _, y in line.points] + [y for box in boxes for y in (box.top, box.bottom)]
    ys += [label.y - LABEL_SIZE for label in labels]
    ys += [bracket.y + 6 + _LINE_HEIGHT * len(bracket.lines) for bracket in brackets]
    for bracket in brackets:
        half = max(_text_width(line, LABEL_SIZE) for line in bracket.lines) / 2
        middle = (bracket.left + bracket.right) / 2
        xs += [middle - half, middle + half]
    dx, dy = _MARGIN - min(xs), _MARGIN - min(ys)
    return Layout(
        boxes=tuple(replace(box, x=box.x + dx, y=box.y + dy) for box in boxes),
        lines=tuple(replace(line, points=tuple((x + dx, y + dy) for x, y in line.points)) for line in lines),
        labels=tuple(replace(label, x=label.x + dx, y=label.y + dy) for label in labels),
        brackets=tuple(replace(b, left=b.left + dx, right=b.right + dx, y=b.y + dy) for b in brackets),
        width=max(xs) + dx + _MARGIN,
        height=max(ys) + dy + _MARGIN,
    )
