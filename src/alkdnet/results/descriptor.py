"""The source of a data set or of weights: `checked/<use>/<name>.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from alkdnet.results.records import read_record, write_record
from alkdnet.sources.catalogue import Kind, PublishedFile, source


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """What is a reason to fetch a source again when it changes: its catalogue entry and the user's path."""

    name: str
    kind: Kind
    images: int | None
    files: tuple[PublishedFile, ...]
    path: str | None

    @classmethod
    def of(cls, name: str, path: str | None) -> Self:
        """Return the descriptor of a catalogue entry; raises UserError if there is none of that name."""
        known = source(name)
        return cls(name=known.name, kind=known.kind, images=known.images, files=known.files, path=path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the descriptor in a file; see `read_record` for what it raises."""
        return read_record(path, cls)

    def write(self, path: Path) -> None:
        """Write the descriptor as JSON."""
        write_record(path, self)
