"""The digests of files whose publishers give none, recorded at the first download."""

import fcntl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from alkdnet.data.sources import PublishedFile
from alkdnet.errors import UserError
from alkdnet.files import read_json, write_json


class DigestLedger:
    """A JSON file of `url: sha256`, shared by processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def expected(self, file: PublishedFile) -> PublishedFile:
        """Return the file with the recorded SHA-256, where it has none of its own.

        Raises:
            UserError: the ledger is not a JSON object of strings.
        """
        return file if file.sha256 else replace(file, sha256=self._read().get(file.urls[0]))

    def record(self, digests: Mapping[str, str]) -> None:
        """Keep the SHA-256 by URL of files that were downloaded for the first time."""
        if not digests:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            write_json(self._path, dict(sorted({**self._read(), **digests}.items())))

    def _read(self) -> dict[str, str]:
        try:
            content = read_json(self._path)
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UserError(f"{self._path}: not JSON: {error}; delete it to record digests anew") from None
        if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
            raise UserError(f"{self._path}: not an object of digests; delete it to record them anew")
        return content
