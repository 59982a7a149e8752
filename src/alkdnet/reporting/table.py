"""A table of cells with ranks and differences, as Markdown and as LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from alkdnet import markdown
from alkdnet.errors import visible

Rank = Literal["best", "second", ""]

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # At the beginning of a row they would be an argument of the preceding line break.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    **{character: rf"\{character}" for character in "&%_#${}"},
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": r"$-$",
    "≈": r"$\approx$",
    "†": r"\dag{}",
    "–": "--",
    "↳": r"$\hookrightarrow$",
}


@dataclass(frozen=True)
class Mark:
    """A symbol for Markdown, which has no colours, and a colour of xcolor for LaTeX."""

    symbol: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """One number of a cell, already rounded, with its rank in the column."""

    text: str
    rank: Rank = ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Numbers separated by " / ", and under them a difference with the mark of its size."""

    parts: tuple[Part, ...]
    difference: str = ""
    mark: Mark | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Header and rows of equal length, of plain text; `alignment` has l or r for each column."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    alignment: str

    @property
    def markdown(self) -> str:
        """Return the table as Markdown without its caption: best numbers bold, second ones underlined."""
        rows = [[_markdown_cell(cell) for cell in row] for row in self.rows]
        return markdown.table([markdown.escape(name) for name in self.header], rows, self.alignment)

    def latex(self, label: str) -> str:
        """Return a LaTeX `table` environment, labelled `tab:<label>`; it needs booktabs and xcolor."""
        cells = [[_latex_cell(cell) for cell in row] for row in self.rows]
        frame = pd.DataFrame(cells, columns=[latex_text(name) for name in self.header])
        return frame.style.hide(axis="index").to_latex(
            column_format=self.alignment,
            position="t",
            position_float="centering",
            hrules=True,
            caption=latex_text(self.caption),
            label=f"tab:{label}",
        )


def text_row(*texts: str) -> tuple[Cell, ...]:
    """Return a row of plain text."""
    return tuple(Cell(parts=(Part(text=text),)) for text in texts)


def latex_text(text: str) -> str:
    """Return LaTeX that shows plain text as it is."""
    return "".join(_LATEX.get(character, character) for character in visible(" ".join(text.split())))


def number(value: float | None, decimals: int) -> str:
    """Return a number with this many decimals, or the sign for a missing one."""
    if value is None or pd.isna(value):
        return "–"
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def signed(value: float | None, decimals: int) -> str:
    """Return a difference with its sign; one that rounds to zero has none."""
    text = number(value, decimals)
    return f"+{text}" if value is not None and round(value, decimals) > 0 else text


def _markdown_cell(cell: Cell) -> str:
    # Code hosts strip <u>; <ins> is allowed and drawn underlined.
    ranked = {"best": "**{}**", "second": "<ins>{}</ins>", "": "{}"}
    text = " / ".join(ranked[part.rank].format(markdown.escape(part.text)) for part in cell.parts)
    return (
        f"{text}<br>{cell.difference}{f' {cell.mark.symbol}' if cell.mark else ''}"
        if cell.difference
        else text
    )


def _latex_cell(cell: Cell) -> str:
    ranked = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}
    text = " / ".join(ranked[part.rank].format(latex_text(part.text)) for part in cell.parts)
    if not cell.difference:
        return text
    colour = cell.mark.colour if cell.mark else "black"
    return rf"{text} {{\scriptsize\textcolor{{{colour}}}{{{latex_text(cell.difference)}}}}}"
