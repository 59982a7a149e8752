"""The folder or URL that replaces the internet."""

from pathlib import Path

from alkdnet.errors import UserError


def mirror_location(value: str | None, root: Path) -> str | None:
    """Return the URL or folder of a mirror; an empty value counts as none.

    Args:
        value: what the user gave; `~` is the home directory.
        root: where relative folders start.

    Raises:
        UserError: it is `~name`, and there is no such user.
    """
    if not value or "://" in value:
        return value or None
    try:
        return str(root / Path(value).expanduser())
    except RuntimeError:
        raise UserError(f"the mirror: there is no home directory for {value!r}; write ~/...") from None
