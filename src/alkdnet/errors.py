"""The error that a user can act on, and how errors are written in one line."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# The user information of a URL reaches to the last `@` before the path. A password with an unescaped slash or
# space, which makes the URL invalid, is redacted too: what follows a colon and is no port number. So is that
# of a URL whose scheme was forgotten.
_USER_INFORMATION = re.compile(
    r"(?<=:)(/+)(?:[^\s/]*|[^\s/:]+:(?!\d*(?:[/?#\s'\"),]|$))(?:\S*|[^\n@]*))@"
    r"|(?<![^\s/'\"(=])()[^\s/:@]+:[^\s/@]+@(?=\w)"
)

# Terminal colours, which PyTorch writes into messages.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

# Of a value, and of a line, in a message.
LONGEST_VALUE, LONGEST_LINE = 80, 1000


class UserError(Exception):
    """A mistake in the input: the message says what is wrong, where, and what would be right.

    Programs print the message without a traceback (`exit_in_words`); any exception but this and OSError is a
    defect of this software and keeps its traceback.
    """


@contextmanager
def exit_in_words() -> Iterator[None]:
    """Turn a UserError or OSError into its message and exit status 1, an interruption into status 130."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {in_words(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


def raise_problems(problems: Sequence[str], heading: str | None = None) -> None:
    """Raise one UserError with all problems, one a line below the heading; return if there are none."""
    if problems:
        raise UserError("\n".join([*([heading] if heading else []), *problems]))


def shown(value: object) -> str:
    """Return a value as Python writes it, for a message: no more than its start if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def visible(text: str) -> str:
    """Return a text with line feeds, and what else no terminal shows, as Python writes them."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def one_line(text: str) -> str:
    """Return a text as `visible` does, cut where it is very long."""
    line = visible(text[: LONGEST_LINE + 1])
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..."


def redact(text: str) -> str:
    """Return the text with `***` in place of the user name and the password of every URL in it."""
    return _USER_INFORMATION.sub(lambda match: f"{match[1] or ''}***@", text)


def in_words(error: OSError) -> str:
    """Return the error of the operating system with its path: a full disk, a missing permission."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror}"


def in_one_line(error: BaseException) -> str:
    """Return the type of an error and the first 300 characters of its message, for a warning."""
    first = _COLOUR.sub("", f"{type(error).__name__}: {error}").strip().splitlines()[0]
    return visible(redact(first))[:300]
