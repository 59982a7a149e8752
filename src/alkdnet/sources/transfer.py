"""One file over HTTP: resumed where it was cut, tried at all its homes, checked while it streams."""

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import httpx

from alkdnet.files import atomic_path
from alkdnet.sources.catalogue import PublishedFile
from alkdnet.sources.checksums import Fingerprint

logger = logging.getLogger(__name__)
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """When to give up on a file.

    After `attempts` failures in a row that brought no new byte; the pause is `first_wait_s` after the first
    and doubles up to `longest_wait_s`. A server that is silent for `timeout_s` has failed.
    """

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    timeout_s: float = 30.0

    def wait_s(self, failures: int) -> float:
        """Return the pause after so many failures."""
        return min(self.first_wait_s * 2.0 ** (failures - 1), self.longest_wait_s)


class TransferError(Exception):
    """The file could not be had from any of its homes; the message gives each one's reason."""


class Stopped(Exception):  # noqa: N818
    """Another part of the program asked to stop; what has arrived stays for the next time."""


class _Temporary(Exception):  # noqa: N818
    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _Permanent(Exception):  # noqa: N818
    pass


def part_of(target: Path) -> Path:
    """Return where a file is that is still arriving at `target`."""
    return target.with_name(target.name + ".part")


class PartialFile:
    """What has arrived of one file: `path`, beside it `<path>.json` with its home and version.

    Digests are kept up to date while the bytes come in; those of an earlier process are read once. Without a
    note that can be read, what lies there is of unknown origin and is discarded.
    """

    def __init__(self, path: Path, *, md5: bool, advance: Callable[[int], None]) -> None:
        self.path = path
        self.homes: set[str] = set()
        self.url = ""
        self.validator = ""
        self.total: int | None = None
        self._note = path.with_name(path.name + ".json")
        self._advance = advance
        self._md5 = md5
        self._bytes = Fingerprint(md5=md5)
        if path.exists():
            self._take_up()

    @property
    def size(self) -> int:
        """Return how many bytes have arrived."""
        return self._bytes.size

    def _take_up(self) -> None:
        note = self._read_note()
        if note is None:
            self.discard()
            return
        self.url, self.validator, self.total = note
        self._bytes.add_file(self.path)
        self.homes = {self.url, "an earlier process"}

    def _read_note(self) -> tuple[str, str, int | None] | None:
        """Return the home, its version and the length that it states; None where the note is of no use."""
        try:
            match json.loads(self._note.read_text(encoding="utf-8")):
                case {"url": str(url), "validator": str(validator), "total": int() | None as total}:
                    return url, validator, total
        except (OSError, ValueError):
            pass
        return None

    def begin(self, url: str, validator: str, total: int | None) -> None:
        """Start from nothing with the version of the file that `url` has now."""
        self.discard()
        self.url, self.validator, self.total = url, validator, total
        with atomic_path(self._note) as temporary:
            temporary.write_text(json.dumps({"url": url, "validator": validator, "total": total}))

    def append(
        self, chunks: httpx.Response, url: str, expected: int | None, stopped: threading.Event
    ) -> None:
        """Write the body of a response behind what is there, up to the `expected` bytes of the whole file."""
        self.homes.add(url)
        with self.path.open("ab", buffering=0) as file:
            # As they come: gathered into larger chunks, the last ones would be lost when the line is cut.
            for chunk in chunks.iter_raw():
                if stopped.is_set():
                    raise Stopped
                if expected is not None and self.size + len(chunk) > expected:
                    self._refuse_more(url, expected)
                file.write(chunk)
                self._bytes.add(chunk)
                self._advance(len(chunk))

    def _refuse_more(self, url: str, expected: int) -> NoReturn:
        whole_from_here = self.homes == {url}
        self.discard()
        reason = f"more than {expected} bytes, which is all that it should have"
        raise _Permanent(reason) if whole_from_here else _Temporary(reason)

    def discard(self) -> None:
        """Delete everything."""
        self._advance(-self.size)
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.homes = set()
        self.url = self.validator = ""
        self.total = None
        self._bytes = Fingerprint(md5=self._md5)

    def finish(self, target: Path) -> str:
        """Move the whole file to `target` and return its SHA-256."""
        with self.path.open("rb") as whole:
            os.fsync(whole.fileno())
        self.path.replace(target)
        self._note.unlink(missing_ok=True)
        return self._bytes.sha256

    def difference(self, file: PublishedFile) -> str:
        """Say what speaks against these bytes being the file; empty: nothing."""
        return self._bytes.difference(file)


class Transfer:
    """Fetches files with one client; may be used from several threads."""

    def __init__(self, client: httpx.Client, patience: Patience, stopped: threading.Event) -> None:
        self._client = client
        self._patience = patience
        self._stopped = stopped
        # One file waits for a host that is down; those behind it need not wait again.
        self._down: set[str] = set()

    def fetch(
        self, file: PublishedFile, urls: tuple[str, ...], target: Path, advance: Callable[[int], None]
    ) -> str:
        """Bring the file to `target` and return its SHA-256; `urls` are its homes as they are to be asked.

        Bytes arrive in `<target>.part` and become `target` once they are whole and have the right digest.
        `advance` is told of bytes that arrive, and of discarded ones with a minus.

        Raises:
            TransferError: no home could give the right bytes, or they could not be written.
            Stopped: the event given to the constructor was set.
        """
        part = PartialFile(part_of(target), md5=file.md5 is not None, advance=advance)
        homes = list(urls)
        reasons: dict[str, str] = {}
        reached, failures, turn = part.size, 0, 0
        while homes and failures < self._attempts(homes):
            url = homes[turn % len(homes)]
            wait_s = 0.0
            try:
                self._receive(url, file, part)
                self._check(url, file, part)
                self._down.discard(_host(url))
                return part.finish(target)
            except _Permanent as error:
                reasons[url] = str(error)
                homes.remove(url)
                continue
            except (_Temporary, httpx.HTTPError) as error:
                reasons[url] = str(error) or type(error).__name__
                wait_s = getattr(error, "wait_s", 0.0)
            except OSError as error:
                raise TransferError(f"cannot be written to {part.path}: {error.strerror}") from error
            failures = 0 if part.size > reached else failures + 1
            reached = max(reached, part.size)
            turn += 1
            logger.info("%s: %s, %d bytes there", url, reasons[url], part.size)
            if failures < self._attempts(homes):
                pause_s = max(self._patience.wait_s(max(failures, 1)), wait_s)
                if self._stopped.wait(min(pause_s, self._patience.longest_wait_s)):
                    raise Stopped
        if homes and part.size == 0:
            self._down.update(_host(url) for url in homes)
        raise TransferError("; ".join(f"{_host(url)}: {reason}" for url, reason in reasons.items()))

    def _attempts(self, homes: list[str]) -> int:
        return 1 if all(_host(url) in self._down for url in homes) else self._patience.attempts

    def _receive(self, url: str, file: PublishedFile, part: PartialFile) -> None:
        """Ask one home once for what is missing."""
        known = file.bytes if file.bytes is not None else part.total
        if part.size and part.size == known:
            return
        same_version = part.url == url and bool(part.validator)
        # Without a digest, nothing but the server's word tells that the two pieces belong together.
        if part.size and not (same_version or file.sha256 or file.md5):
            part.discard()
        headers = {"Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if same_version:
                headers["If-Range"] = part.validator
        with self._client.stream("GET", url, headers=headers) as response:
            if self._accept(url, file, part, response):
                known = file.bytes if file.bytes is not None else part.total
                part.append(response, url, known, self._stopped)

    def _accept(self, url: str, file: PublishedFile, part: PartialFile, response: httpx.Response) -> bool:
        """Judge the head of a response; return whether its body is wanted."""
        status = response.status_code
        if status in _TRY_AGAIN:
            raise _Temporary(f"HTTP {status}", _retry_after_s(response))
        first, total = _content_range(response) if status in (206, 416) else (0, stated_length(response))
        if status == 416 and total == part.size:
            return False
        if status == 416 or (status == 206 and first != part.size):
            part.discard()
            raise _Temporary(f"HTTP {status} for another range than asked")
        if status not in (200, 206):
            raise _Permanent(f"HTTP {status}")
        if url.startswith("https:") and response.url.scheme != "https":
            raise _Permanent("redirects to an address without encryption")
        if total is not None and file.bytes is not None and total != file.bytes:
            raise _Permanent(f"it has {total} bytes instead of {file.bytes}")
        if status == 200 or part.size == 0:
            part.begin(url, _validator(response), total)
        elif None not in (total, part.total) and total != part.total:
            part.discard()
            raise _Temporary(f"it now has {total} bytes")
        return True

    def _check(self, url: str, file: PublishedFile, part: PartialFile) -> None:
        problem = part.difference(file)
        if not problem:
            return
        whole_from_here = part.homes == {url}
        part.discard()
        logger.warning("%s from %s is discarded: %s", file.name, url, problem)
        if whole_from_here:
            raise _Permanent(problem)
        raise _Temporary(problem)


def _host(url: str) -> str:
    return urlsplit(url).netloc


def stated_length(response: httpx.Response) -> int | None:
    """Return how long a response says that the file is; None where it says nothing, or packs it."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and "Content-Encoding" not in response.headers else None


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Return the first byte and the total that `Content-Range: bytes first-last/total` states."""
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdecimal() else None, int(total) if total.isdecimal() else None


def _validator(response: httpx.Response) -> str:
    """Return what If-Range may name: a strong ETag, else the date; empty: neither."""
    etag: str = response.headers.get("ETag", "")
    date: str = response.headers.get("Last-Modified", "")
    return etag if etag.startswith('"') else date


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0
