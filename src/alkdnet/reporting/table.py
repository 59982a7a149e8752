"""A table of text cells with marks, written as Markdown for a code host and as LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from alkdnet.reporting.marks import Mark, Rank

_LATEX_CHARACTERS = {
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": r"$-$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "–": "--",
    "…": r"\ldots{}",
    "↳": r"$\hookrightarrow$",
    "·": r"$\cdot$",
}


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
    """Header and rows of equal length.

    `alignment` has a letter for each column: l and r as in LaTeX, p for text that LaTeX breaks into lines.
    Empty: the first column is l, the others r.
    """

    caption: str
    header: tuple[str, ...]
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    alignment: str = ""

    def aligned(self) -> str:
        """Return one letter for each column."""
        return self.alignment or "l" + "r" * (len(self.header) - 1)


def text_cell(text: str) -> Cell:
    """Return a cell of plain text."""
    return Cell(parts=(Part(text=text),))


def text_row(*texts: str) -> tuple[Cell, ...]:
    """Return a row of plain text."""
    return tuple(text_cell(text) for text in texts)


def to_markdown(table: Table) -> str:
    """Return the table as Markdown, best numbers bold, second ones underlined, without its caption."""
    rule = ["--:" if letter == "r" else ":--" for letter in table.aligned()]
    lines = [table.header, rule, *([_markdown_cell(cell) for cell in row] for row in table.rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_latex(table: Table) -> str:
    """Return the table as a LaTeX `table` environment; it needs the packages booktabs and xcolor."""
    columns = table.aligned().replace("p", "p{60mm}")
    header = " & ".join(rf"\textbf{{{latex_text(name)}}}" for name in table.header)
    rows = "".join(" & ".join(_latex_cell(cell) for cell in row) + " \\\\\n" for row in table.rows)
    return (
        "\\begin{table}\n\\centering\n\\small\n"
        f"\\caption{{{latex_text(table.caption)}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{header} \\\\\n\\midrule\n{rows}"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def latex_text(text: str) -> str:
    """Return plain text with the characters escaped that mean something to LaTeX."""
    return "".join(_LATEX_CHARACTERS.get(character, character) for character in text)


def _markdown_cell(cell: Cell) -> str:
    # Code hosts strip <u>; <ins> is allowed and drawn underlined.
    wrapped = {"best": "**{}**", "second": "<ins>{}</ins>", "": "{}"}
    text = " / ".join(wrapped[part.rank].format(markdown_text(part.text)) for part in cell.parts)
    if not cell.difference:
        return text
    symbol = f" {cell.mark.symbol}" if cell.mark else ""
    return f"{text}<br>{cell.difference}{symbol}"


def markdown_text(text: str) -> str:
    """Return plain text that cannot end a table cell or start emphasis."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def _latex_cell(cell: Cell) -> str:
    wrapped = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}
    text = " / ".join(wrapped[part.rank].format(latex_text(part.text)) for part in cell.parts)
    if not cell.difference:
        return text
    colour = cell.mark.colour if cell.mark else "black"
    return f"{text} {{\\scriptsize\\textcolor{{{colour}}}{{{latex_text(cell.difference)}}}}}"


def number(value: float | None, decimals: int, *, missing: str = "–") -> str:
    """Return a number with this many decimals, or the sign for a missing one."""
    return missing if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def signed(value: float, decimals: int) -> str:
    """Return a difference with its sign; what rounds to nothing has the sign +, never -0.00."""
    rounded = round(value, decimals) + 0.0
    return f"{rounded:+.{decimals}f}".replace("-", "−")


def paragraphs(blocks: Sequence[str]) -> str:
    """Return blocks of Markdown, each of which may end in a line feed, separated by empty lines."""
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip()) + "\n"


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame by column name."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
