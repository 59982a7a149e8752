import pytest

from alkdnet.reporting.marks import FAR_BELOW
from alkdnet.reporting.table import Cell, Part, Table, number, signed, text_row, to_latex, to_markdown

CELL = Cell(
    parts=(Part(text="38.14", rank="best"), Part(text="0.9609", rank="second")),
    difference="−0.20",
    mark=FAR_BELOW,
)
TABLE = Table(caption="A & B", header=("Run", "Set5"), rows=[(*text_row("bsrn_x2 | ×2"), CELL)])


def test_markdown_shows_ranks_difference_and_mark() -> None:
    assert to_markdown(TABLE).splitlines() == [
        "| Run | Set5 |",
        "| :-- | --: |",
        "| bsrn\\_x2 \\| ×2 | **38.14** / <ins>0.9609</ins><br>−0.20 ▼ |",
    ]


def test_latex_shows_ranks_and_the_difference_in_colour() -> None:
    text = to_latex(TABLE)
    assert r"\caption{A \& B}" in text
    assert r"\begin{tabular}{lr}" in text
    assert r"bsrn\_x2 | $\times$2 & \textbf{38.14} / \underline{0.9609}" in text
    assert r"\textcolor{red}{$-$0.20}" in text
    assert "%" not in text
    assert text.isascii()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.071, "+0.07"), (-0.071, "−0.07"), (-0.004, "+0.00"), (0.0, "+0.00")],
)
def test_a_difference_has_a_sign_and_nothing_is_minus_zero(value: float, expected: str) -> None:
    assert signed(value, 2) == expected


def test_a_missing_number_is_a_dash() -> None:
    assert [number(None, 2), number(-0.001, 2), number(-1.5, 1)] == ["–", "0.00", "−1.5"]
