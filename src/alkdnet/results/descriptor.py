"""The source of a data set or of weights: `checked/<use>/<name>.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from alkdnet.results.records import read_record, write_record
from alkdnet.sources.catalogue import Kind, PublishedFile, source


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """The part of a catalogue entry whose change is a reason to fetch the source again."""

    name: str
    kind: Kind
    images: int | None
    files: tuple[PublishedFile, ...]

    @classmethod
    def of(cls, name: str) -> Self:
        """Return the descriptor of a catalogue entry; raises UserError if there is none of that name."""
        known = source(name)
        return cls(name=known.name, kind=known.kind, images=known.images, files=known.files)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the descriptor in a file; see `read_record` for what it raises."""
        return read_record(path, cls)

    def write(self, path: Path) -> None:
        """Write the descriptor as JSON."""
        write_record(path, self)
