"""Reading binary files field by field."""

import struct
from typing import Any


class Cursor:
    """A position in bytes, which moves on with everything that is read.

    Args:
        content: the bytes.
    """

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._position = 0

    def take(self, count: int) -> memoryview:
        """Return the next `count` bytes.

        Raises:
            ValueError: there are not so many left.
        """
        end = self._position + count
        if not 0 <= count <= len(self._content) - self._position:
            raise ValueError(f"ends early: byte {end} is needed, there are {len(self._content)}")
        part = self._content[self._position : end]
        self._position = end
        return part

    def values(self, code: str) -> tuple[Any, ...]:
        """Return the next numbers, little-endian, as `struct` codes them."""
        code = f"<{code}"
        return struct.unpack(code, self.take(struct.calcsize(code)))

    @property
    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._position == len(self._content)
