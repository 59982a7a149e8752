"""What is told to the person at the keyboard when something goes wrong."""

import os
import re


class UserError(Exception):
    """A mistake in the input: the message says what is wrong, where, and what would be right.

    The stages and the command line print the message without a traceback and exit with status 1, as they do
    with what the operating system refuses (OSError); any other exception is a defect of this software and
    keeps its traceback.
    """


def in_words(error: OSError) -> str:
    """Return what the operating system refused: a full disk, a missing permission, with the path."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror}"


def in_one_line(error: BaseException) -> str:
    """Return the kind of an error and the beginning of its message: for what goes on without it."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]


def redact(text: str) -> str:
    """Return the text with `***` in place of the user information of its URLs: it may be a password."""
    return re.sub(r"//[^/\s]+@", "//***@", text)
