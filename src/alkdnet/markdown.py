"""Markdown pages: escaped text, tables, and templates."""

import re
from collections.abc import Iterable, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from alkdnet.errors import visible

# HTML, links, emphasis, code, mathematics and the ends of table cells.
_SPECIAL = re.compile(r"([\\`*_\[\]|~$]|:(?=//)|(?<=www)\.)")
# At the start of a paragraph: headings, lists, rules.
_START = re.compile(r"^(\d*)([#+=.)-])(?=[#=\s-]|$)")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: str) -> str:
    """Return Markdown that shows any text as it is, on one line."""
    plain = "".join(_HTML.get(character, character) for character in visible(" ".join(text.split())))
    return _START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", plain))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], alignment: str = "") -> str:
    """Return a table of cells that are Markdown already.

    Args:
        header: names of the columns.
        rows: of the same length.
        alignment: a letter for each column, r for right; without it the first is left and the others right.
    """
    letters = alignment or "l" + "r" * (len(header) - 1)
    rule = ["--:" if letter == "r" else ":--" for letter in letters]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def render(package: str, template: str, **values: object) -> str:
    """Return the page that a template in the folder `templates` of a package makes of these values.

    In templates, the filter `md` is `escape`. Blocks without content leave no gap.
    """
    environment = Environment(
        loader=PackageLoader(package),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, escaped by `md`
    )
    environment.filters["md"] = escape
    page = environment.get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", page).strip("\n") + "\n"
