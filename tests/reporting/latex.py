"""A strict reader of the LaTeX of tables: what it accepts, LaTeX with booktabs and xcolor compiles."""

import re

# A command with its arguments in braces, by their number.
COMMANDS = {
    "begin": 1,
    "end": 1,
    "caption": 1,
    "label": 1,
    "centering": 0,
    "toprule": 0,
    "midrule": 0,
    "bottomrule": 0,
    "textbf": 1,
    "underline": 1,
    "textcolor": 2,
    "scriptsize": 0,
    "textbackslash": 1,
    "textasciitilde": 1,
    "textasciicircum": 1,
    "textless": 1,
    "textgreater": 1,
    "textbar": 1,
    "dag": 1,
}
MATHEMATICS = {"$\\times$", "$\\pm$", "$-$", "$\\approx$", "$\\hookrightarrow$"}
TOKEN = re.compile(
    r"\\([A-Za-z]+)|\\\\(?!\s*[\[*])|\\([&%#_{}$])|(\$[^$]*\$)|([{}])|([^\\${}&%#_^~]|&)", re.DOTALL
)


def check_table(text: str) -> dict[str, str]:
    """Check the whole text; return its caption, label and cells per line.

    Raises:
        AssertionError: it has something else than what is known to compile.
    """
    position, depth, environments = 0, 0, []
    while position < len(text):
        token = TOKEN.match(text, position)
        assert token, f"not LaTeX at {text[position : position + 40]!r}"
        name, _, mathematics, brace, _ = token.groups()
        if name:
            assert name in COMMANDS, f"unknown command \\{name}"
            if COMMANDS[name]:
                assert text[token.end()] == "{", f"\\{name} without argument"
            if name in ("begin", "end"):
                environment = text[token.end() + 1 : text.index("}", token.end())]
                if name == "begin":
                    environments.append(environment)
                else:
                    assert environments.pop() == environment
        if mathematics:
            assert mathematics in MATHEMATICS, mathematics
        if brace:
            depth += 1 if brace == "{" else -1
            assert depth >= 0, f"closing brace too many before {text[position:][:40]!r}"
        position = token.end()
    assert depth == 0
    assert environments == []
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert columns
    body = text.partition("\\toprule\n")[2].partition("\\bottomrule")[0]
    for line in body.replace("\\midrule\n", "").splitlines():
        assert line.endswith(" \\\\"), line
        assert len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1, line
    caption = re.search(r"\\caption\{(.*)\}\n", text)
    label = re.search(r"\\label\{(tab:[a-z0-9-]+)\}", text)
    assert caption
    assert label
    return {"caption": caption[1], "label": label[1]}
