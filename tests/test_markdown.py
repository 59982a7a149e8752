import pytest

from alkdnet.markdown import escape, table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ALKConv, k = 5", "ALKConv, k = 5"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("[here](https://example.org)", "\\[here\\](https\\://example.org)"),
        ("www.example.org", "www\\.example.org"),
        ("a | b\n# c", "a \\| b # c"),
        ("*a* `b` _c_ ~d~ \\ &amp;", "\\*a\\* \\`b\\` \\_c\\_ \\~d\\~ \\\\ &amp;amp;"),
        ("$\\frac{$", "\\$\\\\frac{\\$"),
        ("# a", "\\# a"),
        ("- a", "\\- a"),
        ("---", "\\---"),
        ("12. a", "12\\. a"),
        ("-1.5 and 2. a", "-1.5 and 2. a"),
        ("3.5 dB", "3.5 dB"),
        ("a\x1b[1m\u202eb", "a\\\\x1b\\[1m\\\\u202eb"),
    ],
)
def test_text_is_shown_as_it_is(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_a_table_has_its_alignment() -> None:
    assert table(["a", "b"], [["1", "2"]]).splitlines() == ["| a | b |", "| :-- | --: |", "| 1 | 2 |"]
    assert table(["a", "b"], [], "rl").splitlines()[1] == "| --: | :-- |"
