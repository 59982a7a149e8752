import pytest

from alkdnet.reporting.cells import FAR_BELOW
from alkdnet.reporting.table import Cell, Part, Table, latex_text, number, signed, text_row
from tests.reporting.latex import check_table

CELL = Cell(
    parts=(Part(text="38.14", rank="best"), Part(text="0.9609", rank="second")),
    difference="−0.20",
    mark=FAR_BELOW,
)
TABLE = Table(
    caption="A & B",
    header=("Row", "Set5"),
    rows=[(*text_row("bsrn_x2 | ×2"), CELL)],
    alignment="lr",
)
HOSTILE = r"\input{x} $\frac{$ {a} }{ ~ ^ & % # _ <script> | [b] * – ± \\[1cm] é 超 $$"


def test_markdown_shows_ranks_difference_and_mark() -> None:
    assert TABLE.markdown.splitlines() == [
        "| Row | Set5 |",
        "| :-- | --: |",
        "| bsrn\\_x2 \\| ×2 | **38.14** / <ins>0.9609</ins><br>−0.20 ▼ |",
    ]


def test_latex_shows_ranks_and_the_difference_in_colour() -> None:
    text = TABLE.latex("mine")
    assert check_table(text) == {"caption": r"A \& B", "label": "tab:mine"}
    assert r"bsrn\_x2 \textbar{} $\times$2 & \textbf{38.14} / \underline{0.9609}" in text
    assert r"\textcolor{red}{$-$0.20}" in text


def test_any_label_is_valid_latex() -> None:
    rows = [text_row(HOSTILE, "1"), text_row("[first of a line]", "2"), text_row("*", "3"), text_row("", "4")]
    check_table(Table(caption=HOSTILE, header=(HOSTILE, HOSTILE), rows=rows, alignment="lr").latex("x"))


@pytest.mark.parametrize("text", [r"\frac", "$", "a_b", "50 %", "}", "{", "a & b", "~", "^", "#"])
def test_what_is_not_escaped_is_not_accepted(text: str) -> None:
    whole = TABLE.latex("mine")
    with pytest.raises(AssertionError):
        check_table(whole.replace("38.14", text))
    check_table(whole.replace("38.14", latex_text(text)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.071, "+0.07"), (-0.071, "−0.07"), (-0.004, "0.00"), (0.004, "0.00"), (0.0, "0.00"), (None, "–")],
)
def test_a_difference_has_a_sign_and_nothing_is_minus_zero(value: float | None, expected: str) -> None:
    assert signed(value, 2) == expected


def test_a_missing_number_is_a_dash() -> None:
    assert [number(None, 2), number(-0.001, 2), number(-1.5, 1), number(float("nan"), 1)] == [
        *("–", "0.00", "−1.5", "–")
    ]
