"""Scores of the images of an evaluation that has not come to its end, so that the next attempt goes on."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from threading import Lock


class Unfinished:
    """A file with a line of JSON for each image that was measured, by a key that stands for the image.

    The file's name stands for everything else that decides the scores: see `evaluation_identity`.

    Args:
        path: the file; it and its folder are made with the first score.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._scores: dict[str, Mapping[str, float]] = {}
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        # A killed process may have left the last line cut off, and a full disk any of them.
        whole = [line for line in lines if self._read(line)]
        if len(whole) < len(lines):
            path.write_bytes(b"".join(whole))

    def _read(self, line: bytes) -> bool:
        """Read the scores of a line; return False if it is damaged: its image is measured again."""
        try:
            key, scores = json.loads(line)
            numbers = isinstance(key, str) and all(math.isfinite(value) for value in scores.values())
        except (AttributeError, TypeError, ValueError):
            return False
        if not numbers or not line.endswith(b"\n"):
            return False
        self._scores[key] = scores
        return True

    @property
    def images(self) -> int:
        """Return how many images an earlier attempt has measured."""
        return len(self._scores)

    def get(self, key: str) -> Mapping[str, float] | None:
        """Return the scores of an image; None: it was not measured."""
        return self._scores.get(key)

    def add(self, key: str, scores: Mapping[str, float]) -> None:
        """Keep the scores of an image; several threads may do so at once."""
        line = json.dumps([key, scores], allow_nan=False) + "\n"
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)

    def remove(self) -> None:
        """Remove the file: the evaluation is complete."""
        self._path.unlink(missing_ok=True)
