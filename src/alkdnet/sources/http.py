"""Downloading a file over HTTP: several URLs tried in order, resumed, verified by checksum."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from alkdnet.data.disk import require_space
from alkdnet.errors import UserError, in_one_line
from alkdnet.sources.catalogue import PublishedFile
from alkdnet.sources.checksums import ChecksumError, verify

logger = logging.getLogger(__name__)
_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """When a download gives up: after `attempts` consecutive failures without a new byte.

    The pause is `first_wait_s` after the first failure and doubles up to `longest_wait_s`. A server that is
    silent for `timeout_s` has failed.
    """

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    timeout_s: float = 30.0


class DownloadError(Exception):
    """No URL of a file gave it; the message has the reason for each."""


class _Stopped(Exception):  # noqa: N818
    """`Downloader.stop` was called."""


class _UrlFailedError(Exception):
    """The URL does not give the file, now or later."""


def make_client(retries: RetryPolicy, auth: tuple[str, str] | None = None) -> httpx.Client:
    """Return a client that uses the proxies and certificates of the environment.

    Raises:
        UserError: those of the environment cannot be used.
    """
    try:
        return httpx.Client(
            follow_redirects=True, timeout=retries.timeout_s, auth=auth, headers={"User-Agent": "alkdnet"}
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        raise UserError(
            "the network cannot be used with the settings in HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, "
            f"SSL_CERT_FILE or SSL_CERT_DIR: {in_one_line(error)}; correct or unset them"
        ) from error


def downloaded_bytes(target: Path) -> int:
    """Return how many bytes of a file have been received, complete or not."""
    return next((path.stat().st_size for path in (target, _part(target)) if path.exists()), 0)


class Downloader:
    """Downloads files with one client; may be used from several threads."""

    def __init__(self, client: httpx.Client, retries: RetryPolicy) -> None:
        self._client = client
        self._retries = retries
        self._stopped = threading.Event()
        # After one file has waited for an unreachable host, the next ones need not.
        self._unreachable: set[str] = set()

    def stop(self) -> None:
        """End all downloads; received bytes stay for the next call."""
        self._stopped.set()

    def download(
        self, file: PublishedFile, urls: Sequence[str], target: Path, advance: Callable[[int], None]
    ) -> str:
        """Download a file to `target` unless it is there; return its SHA-256.

        Bytes arrive in `<target>.part`, which a later call continues if a checksum is known. `advance` gets
        the number of received bytes, a negative one where bytes are discarded. The URLs, which the
        messages name, are without user name and password.

        Raises:
            DownloadError: no URL gave a file with the right checksum.
            UserError: the disk cannot hold it.
        """
        if target.exists():
            try:
                sha256 = verify(target, file)
                advance(target.stat().st_size)
                return sha256
            except ChecksumError as error:
                logger.warning("%s is downloaded again: %s", target, error)
                target.unlink()
        most = downloaded_bytes(target)
        advance(most)
        reasons: dict[str, str] = {}
        remaining = list(urls)
        failures = 0
        while remaining and failures < self._attempts(remaining):
            self._wait(failures)
            url = remaining.pop(0)
            try:
                return self._attempt(url, file, target, advance)
            except (_UrlFailedError, httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
                reasons[url] = str(error)  # UnicodeError: no valid host name
            except (ChecksumError, httpx.HTTPError) as error:
                reasons[url] = str(error) or type(error).__name__
                remaining.append(url)
                received = downloaded_bytes(target)
                failures = 0 if received > most else failures + 1
                most = max(most, received)
            logger.info("%s: %s", url, reasons[url])
        if remaining and most == 0:
            self._unreachable.update(map(_host, remaining))
        raise DownloadError("; ".join(f"{_host(url)}: {reason}" for url, reason in reasons.items()))

    def _attempts(self, urls: Sequence[str]) -> int:
        return 1 if self._unreachable.issuperset(map(_host, urls)) else self._retries.attempts

    def _wait(self, failures: int) -> None:
        """Pause after so many failures in a row."""
        pause_s = min(self._retries.first_wait_s * 2.0 ** (failures - 1), self._retries.longest_wait_s)
        if failures and self._stopped.wait(pause_s):
            raise _Stopped

    def _attempt(self, url: str, file: PublishedFile, target: Path, advance: Callable[[int], None]) -> str:
        """Request from one URL what is missing, and verify the file."""
        part = _part(target)
        # Without a checksum nothing would reveal that the pieces of two versions were joined.
        start = downloaded_bytes(target) if file.sha256 or file.md5 else 0
        try:
            if not start or start != file.bytes:
                start = self._receive(url, file, part, start, advance)
            sha256 = verify(part, file)
        except ChecksumError as error:
            advance(-part.stat().st_size)
            part.unlink()
            logger.warning("%s from %s is discarded: %s", file.name, url, error)
            if start:  # the first bytes may come from elsewhere
                raise
            raise _UrlFailedError(str(error)) from error
        part.replace(target)
        return sha256

    def _receive(
        self, url: str, file: PublishedFile, part: Path, start: int, advance: Callable[[int], None]
    ) -> int:
        """Append the bytes from `start` on to the partial file; return where the server began."""
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        with self._client.stream("GET", url, headers=headers) as response:
            status = response.status_code
            if status == 416 and start:  # there are no more bytes
                return start
            if status in _RETRYABLE:
                raise httpx.HTTPError(f"HTTP {status}")
            if status not in (200, 206):
                raise _UrlFailedError(f"HTTP {status}")
            if url.startswith("https:") and response.url.scheme != "https":
                raise _UrlFailedError("redirects to a URL without encryption")
            if status == 200:
                start = 0
                advance(-part.stat().st_size if part.exists() else 0)
            length = response.headers.get("Content-Length", "")
            if file.bytes is None and length.isdecimal():
                require_space([(part, int(length))])
            size = start
            # Unbuffered: after a lost connection or a kill, every received byte counts.
            with part.open("ab" if start else "wb", buffering=0) as written:
                for chunk in response.iter_raw():
                    if self._stopped.is_set():
                        raise _Stopped
                    written.write(chunk)
                    advance(len(chunk))
                    size += len(chunk)
                    if file.bytes is not None and size > file.bytes:
                        raise ChecksumError(f"more than {file.bytes} bytes")
                os.fsync(written.fileno())
        return start


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]  # urlsplit raises for an invalid URL
