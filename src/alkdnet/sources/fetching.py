"""Fetching one data set into a folder: from the network, a mirror, or this computer."""

import logging
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote

import httpx
from filelock import FileLock, Timeout

from alkdnet.data.disk import require_space
from alkdnet.errors import UserError, in_words, redact
from alkdnet.files import atomic_directory
from alkdnet.progress import Progress
from alkdnet.sources.archives import ArchiveError, extract, open_archive
from alkdnet.sources.catalogue import PublishedFile, Source
from alkdnet.sources.checksums import ChecksumError, RecordedChecksums, verify
from alkdnet.sources.folders import copy_embedded, copy_file, copy_folder, copy_gated
from alkdnet.sources.http import Downloader, DownloadError, RetryPolicy, downloaded_bytes, make_client

logger = logging.getLogger(__name__)
CONNECTIONS = 8
PROBLEMS_SHOWN = 20
# The path of a downloaded file, and its SHA-256.
FetchedFile = tuple[Path, str]


def fetch(
    source: Source,
    destination: Path,
    *,
    cache: Path,
    mirror: str | None,
    digests: Path,
    folder: Path | None = None,
    retries: RetryPolicy = RetryPolicy(),  # noqa: B008  (frozen)
) -> None:
    """Fill `destination` with the files of a set, flat, all or nothing; existing ones are replaced.

    `cache` keeps unfinished downloads: a call after an interruption continues them.
    `mirror`, a folder or a base URL, has `https://host/path` at `<mirror>/host/path`; with a mirror, no other
    server is used. `digests` is the JSON file that records the SHA-256 of files published without one, and of
    the images in archives. `folder` is the user's own, for the sources `folder`, `file` and `manga109`; the
    latter without its folder, or with an empty one, gives a folder that has only `NOT_AVAILABLE.txt`.

    Raises:
        UserError: something is missing, unreachable, damaged or too large, all files and reasons at once; or
            a set with files of its own would replace a folder with others in it.
    """
    recorded = RecordedChecksums(digests)
    if source.files:
        _check_replaceable(source, destination, recorded.contents(source))
        destination = destination.resolve()  # a link to a folder on another disk stays one
    if source.kind in ("files", "archives"):
        with _locked(cache, source):
            _download(source, destination, cache / source.name, mirror, recorded, retries)
    elif source.kind == "embedded":
        copy_embedded(source, destination)
    elif source.kind == "gated":
        copy_gated(source, destination, folder)
    elif folder is None:
        raise UserError(f"the source `{source.kind}` needs the path of your {source.kind}")
    elif source.kind == "file":
        copy_file(folder, destination)
    else:
        copy_folder(folder, destination)


def _check_replaceable(source: Source, destination: Path, names: Collection[str]) -> None:
    if not destination.exists():
        return
    if not destination.is_dir():
        raise UserError(f"{destination}: is a file, but has to be the folder of {source.name}; move it away")
    others = sorted(
        path.name for path in destination.iterdir() if path.name not in names or not path.is_file()
    )
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise UserError(
            f"{destination}: {source.name} would replace this folder, which has files that are not known to "
            f"belong to it: {', '.join(others[:3])}{more}; move them away, or download into another folder"
        )


@contextmanager
def _locked(cache: Path, source: Source) -> Iterator[None]:
    """Let one process at a time download a set into a cache."""
    cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / f"{source.name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        logger.info("%s: another process is downloading it, waiting", source.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(
    source: Source,
    destination: Path,
    cache: Path,
    mirror: str | None,
    recorded: RecordedChecksums,
    retries: RetryPolicy,
) -> None:
    wanted = recorded.expected(source.files)
    if mirror is None or "://" in mirror:
        fetched = _from_network(source, wanted, cache, destination, mirror, retries)
    else:
        fetched = _from_folder(source, wanted, Path(mirror))
    checksums = {
        file.urls[0]: sha256 for file, (_, sha256) in zip(wanted, fetched, strict=True) if not file.sha256
    }
    with atomic_directory(destination) as temporary:
        if source.kind == "archives":
            checksums |= _unpack(source, wanted, fetched, temporary)
        else:
            require_space([(temporary, sum(path.stat().st_size for path, _ in fetched))])
            for file, (path, _) in zip(wanted, fetched, strict=True):
                shutil.copyfile(path, temporary / file.name)
        # Before the folder appears: without its checksums it would not count as complete.
        recorded.record(checksums)
    # Last: the next call after a kill before this line finds the downloads.
    shutil.rmtree(cache, ignore_errors=True)


def _from_folder(source: Source, wanted: Sequence[PublishedFile], mirror: Path) -> list[FetchedFile]:
    """Return the paths of the files in a mirror folder, after verifying them."""
    if not mirror.is_dir():
        raise UserError(
            f"the mirror {redact(str(mirror))}: no such folder, and not a URL such as https://host/path"
        )

    def find(file: PublishedFile) -> FetchedFile:
        places = [mirror / unquote(url.partition("://")[2]) for url in file.urls]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise DownloadError(f"no file {places[0]}")
        try:
            return path, verify(path, file)
        except ChecksumError as error:
            raise DownloadError(f"{path}: {error}") from error
        except OSError as error:
            raise DownloadError(in_words(error)) from error

    hint = f"With the mirror {mirror} no other server is used."
    return _all_files(source, wanted, find, hint=hint)


def _from_network(
    source: Source,
    wanted: Sequence[PublishedFile],
    cache: Path,
    destination: Path,
    mirror: str | None,
    retries: RetryPolicy,
) -> list[FetchedFile]:
    """Download all files to the cache, several at once."""
    base = None if mirror is None else _base_url(mirror)
    cache.mkdir(exist_ok=True)
    # Twice: in the cache and in the destination. Images hardly compress, so that goes for archives too.
    known = [(cache / file.name, file.bytes) for file in wanted if file.bytes is not None]
    missing = [(path, size - downloaded_bytes(path)) for path, size in known]
    require_space([*missing, *((destination, size) for _, size in known)])
    total = sum(size for _, size in known) if len(known) == len(wanted) else None
    hint = "What has been downloaded is kept; the same command resumes."
    if mirror is not None:
        hint += f" With the mirror {redact(mirror)} no other server is used."
    auth = (base.username, base.password) if base is not None and base.userinfo else None
    with (
        make_client(retries, auth) as client,
        Progress(total, description=source.name, unit="B") as shown,
    ):
        downloader = Downloader(client, retries)
        lock = threading.Lock()

        def advance(units: int) -> None:
            with lock:
                shown.advance(units)

        def fetch_file(file: PublishedFile) -> FetchedFile:
            path = cache / file.name
            return path, downloader.download(file, _urls(file, base), path, advance)

        return _all_files(source, wanted, fetch_file, hint=hint, stop=downloader.stop)


def _base_url(mirror: str) -> httpx.URL:
    try:
        url = httpx.URL(mirror)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"the mirror {redact(mirror)}: neither a folder nor a URL such as https://host/path")
    return url


def _urls(file: PublishedFile, base: httpx.URL | None) -> tuple[str, ...]:
    """Return the URLs to request a file from, in order."""
    if base is None:
        return file.urls
    # The password is sent in a header, so that no message and no log has it.
    start = str(base.copy_with(userinfo=b"")).rstrip("/")
    return tuple(f"{start}/{url.partition('://')[2]}" for url in file.urls)


def _all_files(
    source: Source,
    wanted: Sequence[PublishedFile],
    fetch_file: Callable[[PublishedFile], FetchedFile],
    *,
    hint: str,
    stop: Callable[[], None] = lambda: None,
) -> list[FetchedFile]:
    """Call `fetch_file` for all files, several at once; after an exception `stop` ends the running ones.

    Raises:
        UserError: some files could not be fetched; the message has `PROBLEMS_SHOWN` at most, and `hint`.
    """
    fetched, problems = [], []
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        try:
            for file, future in [(file, threads.submit(fetch_file, file)) for file in wanted]:
                try:
                    fetched.append(future.result())
                except DownloadError as error:
                    problems.append(f"  {file.name}: {error}")
        except BaseException:
            stop()
            threads.shutdown(cancel_futures=True)
            raise
    if problems:
        more = len(problems) - PROBLEMS_SHOWN
        shown = [*problems[:PROBLEMS_SHOWN], *([f"  and {more} more"] if more > 0 else [])]
        raise UserError("\n".join([f"{source.name} could not be downloaded:", *shown, hint]))
    return fetched


def _unpack(
    source: Source, wanted: Sequence[PublishedFile], fetched: Sequence[FetchedFile], folder: Path
) -> dict[str, str]:
    """Write the images of all archives into `folder`; return their SHA-256 by `url#name`."""
    with ExitStack() as stack:
        members = [
            (file.urls[0], member)
            for file, (path, _) in zip(wanted, fetched, strict=True)
            for member in stack.enter_context(open_archive(path, file.members or "*"))
        ]
        if len(members) != source.images:
            raise ArchiveError(
                f"{source.name}: {len(members)} images in the archive, {source.images} expected"
            )
        size = sum(member.size for _, member in members)
        require_space([(folder, size)])
        with Progress(size, description=f"{source.name}: unpacking", unit="B") as shown:
            return {f"{url}#{member.name}": extract(member, folder, shown.advance) for url, member in members}
