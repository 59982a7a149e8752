"""Filling a folder with one data set: from the network, a mirror, or what is on this computer."""

import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from alkdnet.data.disk import require_space
from alkdnet.errors import UserError, in_one_line, in_words
from alkdnet.files import atomic_directory
from alkdnet.progress import Progress
from alkdnet.sources.archives import ArchiveError, extract, images_in
from alkdnet.sources.catalogue import PublishedFile, Source
from alkdnet.sources.checksums import fingerprint
from alkdnet.sources.folders import copy_embedded, copy_folder, copy_gated
from alkdnet.sources.ledger import DigestLedger
from alkdnet.sources.transfer import Patience, Transfer, TransferError, part_of, stated_length

logger = logging.getLogger(__name__)
CONNECTIONS = 8
PROBLEMS_SHOWN = 20


def fetch(
    source: Source,
    destination: Path,
    *,
    cache: Path,
    mirror: str | None,
    digests: Path,
    folder: Path | None = None,
    patience: Patience = Patience(),  # noqa: B008  (frozen)
) -> None:
    """Fill `destination` with the files of a set, flat, all or nothing; those that were there are replaced.

    `cache` keeps what has arrived of an unfinished download: a call after an interruption goes on from there.
    `mirror`, a folder or a base URL, holds `https://host/path` at `<mirror>/host/path`; with a mirror,
    nothing is asked of the network beside it. `digests` is the JSON file that records the SHA-256 of files
    published without one, and of what archives hold. `folder` is the user's own, for the sources `folder` and
    `manga109`; the latter without its folder, or with an empty one, yields a folder with `NOT_AVAILABLE.txt`
    alone.

    Raises:
        UserError: something is missing, unreachable, damaged or too large, all files and reasons at once; or
            a set with files of its own would replace a folder with others in it.
    """
    ledger = DigestLedger(digests)
    if source.files:
        _check_replaceable(source, destination, ledger.contents(source))
        destination = destination.resolve()  # a link to a folder on another disk stays one
    if source.kind in ("files", "archives"):
        with _alone(cache, source):
            _remove_remains(destination)
            _download(source, destination, cache / source.name, mirror, ledger, patience)
    elif source.kind == "embedded":
        copy_embedded(source, destination)
    elif source.kind == "gated":
        copy_gated(source, destination, folder)
    elif folder is None:
        raise UserError("the source `folder` needs the path of your folder of images")
    else:
        copy_folder(folder, destination)


def _check_replaceable(source: Source, destination: Path, names: Collection[str]) -> None:
    if not destination.exists():
        return
    if not destination.is_dir():
        raise UserError(f"{destination}: is a file where the folder of {source.name} is to be; move it away")
    entries = sorted(destination.iterdir())
    others = [path.name for path in entries if path.name not in names or not path.is_file()]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise UserError(
            f"{destination}: {source.name} would replace this folder, which holds what is not known to be of "
            f"it: {', '.join(others[:3])}{more}; move that away, or fetch into another folder"
        )


@contextmanager
def _alone(cache: Path, source: Source) -> Iterator[None]:
    """Let one process at a time download a set into one cache."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{source.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("%s: another process is downloading it, waiting", source.name)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_remains(destination: Path) -> None:
    """Delete what a killed process had unpacked; the lock says that none is at work."""
    for remains in destination.parent.glob(f".{destination.name}.*.tmp"):
        shutil.rmtree(remains, ignore_errors=True)


def _download(
    source: Source,
    destination: Path,
    arrived: Path,
    mirror: str | None,
    ledger: DigestLedger,
    patience: Patience,
) -> None:
    wanted = ledger.expected(source.files)
    if mirror is None or _is_address(mirror):
        arrived.mkdir(exist_ok=True)
        paths = [arrived / file.name for file in wanted]
        found = _from_network(source, wanted, paths, destination, mirror, patience)
        try:
            _place(source, wanted, paths, found, destination, ledger, _link)
        except ArchiveError:
            shutil.rmtree(arrived)
            raise
    else:
        paths, found = _from_mirror_folder(source, wanted, Path(mirror))
        if source.kind == "files":
            require_space([(destination, sum(path.stat().st_size for path in paths))])
        _place(source, wanted, paths, found, destination, ledger, shutil.copyfile)
    # Only now: a process killed before this line finds everything again.
    shutil.rmtree(arrived, ignore_errors=True)


def _is_address(mirror: str) -> bool:
    """Whether a mirror is a base URL rather than a folder.

    Raises:
        UserError: it is neither a folder nor a URL that can be asked.
    """
    if "://" not in mirror:
        if not Path(mirror).is_dir():
            raise UserError(f"the mirror {mirror}: no such folder, and no URL as https://host/path")
        return False
    try:
        urlsplit(mirror)
        url = httpx.URL(mirror)
    except (httpx.InvalidURL, ValueError) as error:
        raise UserError(f"the mirror {mirror} is no URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"the mirror {mirror} is neither a folder nor a URL as https://host/path")
    return True


def _from_mirror_folder(
    source: Source, wanted: Sequence[PublishedFile], mirror: Path
) -> tuple[list[Path], dict[str, str]]:
    """Return where the files lie in a mirror folder, and their digests by name, after checking them."""
    paths, problems = [], []
    found: dict[str, str] = {}
    for file in wanted:
        places = [mirror / _host_and_path(url) for url in file.urls]
        try:
            path = next((place for place in places if place.is_file()), None)
            if path is None:
                problems.append(f"{file.name}: no file {places[0]}")
                continue
            there = fingerprint(path, file)
        except OSError as error:
            problems.append(f"{file.name}: {in_words(error)}")
            continue
        paths.append(path)
        found[file.name] = there.sha256
        if problem := there.difference(file):
            problems.append(f"{file.name}: {path}: {problem}")
    if problems:
        hint = f"The mirror {mirror} is used alone; without a mirror, files come from the network."
        raise _failure(source, problems, hint)
    return paths, found


def _host_and_path(url: str) -> str:
    """Return a URL without its scheme, with %20 and the like resolved."""
    parts = urlsplit(url)
    return parts.netloc + unquote(parts.path)


def _from_network(
    source: Source,
    wanted: Sequence[PublishedFile],
    paths: Sequence[Path],
    destination: Path,
    mirror: str | None,
    patience: Patience,
) -> dict[str, str]:
    """Bring all files to `paths`, several at once; return their SHA-256 by name."""
    found: dict[str, str] = {}
    problems: list[str] = []
    with _client(patience) as client:
        todo = []
        for file, path in zip(wanted, paths, strict=True):
            there = _digest_if_there(path, file)
            if there is None:
                todo.append((file, path))
            else:
                found[file.name] = there
        awaited = _with_sizes(client, todo, mirror)
        require_space(_needs(source, awaited, destination))
        stopped = threading.Event()
        transfer = Transfer(client, patience, stopped)
        with _shared_progress(source, awaited) as advance, ThreadPoolExecutor(CONNECTIONS) as threads:

            def bring(file: PublishedFile, path: Path) -> None:
                try:
                    found[file.name] = transfer.fetch(file, _addresses(file, mirror), path, advance)
                except TransferError as error:
                    problems.append(f"{file.name}: {error}")

            try:
                for done in [threads.submit(bring, file, path) for file, path in todo]:
                    done.result()
            except BaseException:
                stopped.set()
                threads.shutdown(cancel_futures=True)
                raise
    if problems:
        hint = "What has arrived is kept; run the same command again to go on."
        raise _failure(source, problems, f"{hint} The mirror {mirror} is used alone." if mirror else hint)
    return found


def _client(patience: Patience) -> httpx.Client:
    try:
        return httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(patience.timeout_s),
            headers={"User-Agent": "alkdnet"},
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        # httpx reads the environment here: a proxy of another kind, certificates that are not there.
        raise UserError(
            "the network cannot be used as the environment says in HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, "
            f"SSL_CERT_FILE or SSL_CERT_DIR: {in_one_line(error)}; correct or unset them"
        ) from error


def _addresses(file: PublishedFile, mirror: str | None) -> tuple[str, ...]:
    """Return the URLs to ask for a file."""
    if mirror is None:
        return file.urls
    return tuple(f"{mirror.rstrip('/')}/{url.partition('://')[2]}" for url in file.urls)


def _digest_if_there(path: Path, file: PublishedFile) -> str | None:
    """Return the SHA-256 of the right file if an earlier call, or the user, has put it into the cache."""
    if not path.exists():
        return None
    there = fingerprint(path, file)
    if problem := there.difference(file):
        logger.warning("%s is downloaded anew: %s", path, problem)
        path.unlink()
        return None
    return there.sha256


def _with_sizes(
    client: httpx.Client, todo: Sequence[tuple[PublishedFile, Path]], mirror: str | None
) -> list[tuple[Path, int | None]]:
    """Return where the files arrive, each with its size, asked for where none is published.

    A home that does not answer one question is not asked another: with hundreds of files, waiting for each
    would take longer than the download. What stays unknown is None. The sizes are for the bar and the
    space check alone: some servers say what is not so until they send the file.
    """
    silent = threading.Event()

    def sized(item: tuple[PublishedFile, Path]) -> tuple[Path, int | None]:
        file, path = item
        if file.bytes is not None or silent.is_set():
            return path, file.bytes
        try:
            address = _addresses(file, mirror)[0]
            answer = client.head(address, headers={"Accept-Encoding": "identity"}).raise_for_status()
        except httpx.HTTPError:
            silent.set()
            return path, None
        # Some servers say 0 for what they make when it is asked for.
        return path, stated_length(answer) or None

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return list(threads.map(sized, todo))


def _needs(
    source: Source, awaited: Sequence[tuple[Path, int | None]], destination: Path
) -> Iterator[tuple[Path, int]]:
    """Yield what is to be written where, in bytes, as far as it is known."""
    for path, size in awaited:
        if size is not None:
            part = part_of(path)
            yield path.parent, size - (part.stat().st_size if part.exists() else 0)
            # Images hardly compress: unpacked, an archive of them is as large again.
            yield destination, size if source.kind == "archives" else 0


@contextmanager
def _shared_progress(
    source: Source, awaited: Sequence[tuple[Path, int | None]]
) -> Iterator[Callable[[int], None]]:
    """Show the bytes of all files as one; yield a function that threads may call."""
    sizes = [size for _, size in awaited]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    there = sum(part_of(path).stat().st_size for path, _ in awaited if part_of(path).exists())
    lock = threading.Lock()
    with Progress(total, description=source.name, unit="B", initial=there) as shown:

        def advance(units: int) -> None:
            with lock:
                shown.advance(units)

        yield advance


def _place(
    source: Source,
    wanted: Sequence[PublishedFile],
    paths: Sequence[Path],
    found: Mapping[str, str],
    destination: Path,
    ledger: DigestLedger,
    bring: Callable[[Path, Path], object],
) -> None:
    """Unpack archives, `bring` other files, into `destination`; record digests that were not known."""
    new = {file.urls[0]: found[file.name] for file in wanted if file.sha256 is None}
    with atomic_directory(destination) as temporary:
        if source.kind == "archives":
            new |= _unpack(source, wanted, paths, temporary)
        else:
            for file, path in zip(wanted, paths, strict=True):
                bring(path, temporary / file.name)
        # Before the folder appears: without its record it would not be taken for complete.
        ledger.record(new)


def _unpack(
    source: Source, wanted: Sequence[PublishedFile], paths: Sequence[Path], folder: Path
) -> dict[str, str]:
    """Write the images of all archives into `folder`; return their SHA-256 as the ledger names them."""
    archives = [(file.urls[0], path, file.members or "*") for file, path in zip(wanted, paths, strict=True)]
    members = [member for _, path, pattern in archives for member in images_in(path, pattern)]
    if len(members) != source.images:
        raise ArchiveError(f"{source.name}: {len(members)} images in the archive, {source.images} expected")
    unpacked = sum(member.bytes for member in members)
    require_space([(folder, unpacked)])
    digests = {}
    with Progress(unpacked, description=f"{source.name}: unpacking", unit="B") as shown:
        for url, path, pattern in archives:
            for name, sha256 in extract(path, pattern, folder, shown.advance).items():
                digests[f"{url}#{name}"] = sha256
    return digests


def _link(path: Path, target: Path) -> None:
    """Give a file of the cache a second name, which becomes its only one; copy it across file systems."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _failure(source: Source, problems: list[str], hint: str) -> UserError:
    shown = sorted(problems)[:PROBLEMS_SHOWN]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    return UserError(
        "\n".join([f"{source.name} could not be fetched:", *(f"  {line}" for line in shown), hint])
    )
