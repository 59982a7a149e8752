"""The digests of what is published without any, recorded at the first download."""

import fcntl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from alkdnet.errors import UserError
from alkdnet.files import read_json, write_json
from alkdnet.sources.catalogue import PublishedFile, Source


class DigestLedger:
    """A JSON file of `url: sha256`, shared by processes; the files of an archive are `url#name`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def expected(self, files: Sequence[PublishedFile]) -> list[PublishedFile]:
        """Return the files, each with the recorded SHA-256 where it has none of its own.

        Raises:
            UserError: the ledger is not a JSON object of strings.
        """
        recorded = self._read()
        return [file if file.sha256 else replace(file, sha256=recorded.get(file.urls[0])) for file in files]

    def contents(self, source: Source) -> dict[str, str | None]:
        """Return the names of the files of the whole set, each with its SHA-256 where that is known.

        For an archive that was not unpacked here there are none.

        Raises:
            UserError: as `expected`.
        """
        if source.kind != "archives":
            return {file.name: file.sha256 for file in self.expected(source.files)}
        archives = {file.urls[0] for file in source.files}
        parts = ((*key.partition("#"), digest) for key, digest in self._read().items())
        return {name: digest for url, _, name, digest in parts if name and url in archives}

    def record(self, digests: Mapping[str, str]) -> None:
        """Keep the SHA-256 by URL of what was downloaded for the first time."""
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
