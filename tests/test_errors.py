"""Messages show no password."""

import pytest

from alkdnet.errors import in_one_line, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@host/path", "https://***@host/path"),
        ("postgresql+psycopg://me:s@cret@host:5432/db", "postgresql+psycopg://***@host:5432/db"),
        ("the mirror https://token@host: HTTP 404", "the mirror https://***@host: HTTP 404"),
        ("http://a:b@c/x http://d:e@f", "http://***@c/x http://***@f"),
        ("https:/me:secret@host", "https:/***@host"),
        ("https://me:se/cret@host/path", "https://***@host/path"),
        ("https://me:sec?ret@host", "https://***@host"),
        ("https://me:sec ret@host/path", "https://***@host/path"),
        ("the mirror me:secret@host/path: no such folder", "the mirror ***@host/path: no such folder"),
        ("//me:secret@host", "//***@host"),
        ("http://localhost:5000), told me@example.org", "http://localhost:5000), told me@example.org"),
        ("git@example.org:a/b", "git@example.org:a/b"),
        ("https://host/user@example.org/x", "https://host/user@example.org/x"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("/folder/a@b: no such folder", "/folder/a@b: no such folder"),
        ("http://host:port/path", "http://host:port/path"),
    ],
)
def test_redact_replaces_the_user_information_of_urls(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_an_error_in_one_line_shows_no_password() -> None:
    assert in_one_line(ValueError("http://me:secret@h is down\nmore")) == "ValueError: http://***@h is down"


def test_an_error_in_one_line_shows_no_control_characters() -> None:
    assert in_one_line(ValueError("\x1b[1mnot read\x1b[0m \x07")) == r"ValueError: not read \x07"
