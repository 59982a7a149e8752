import base64
import errno
import hashlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alkdnet.data.images import NOT_AVAILABLE
from alkdnet.errors import UserError
from alkdnet.sources import fetching as download
from alkdnet.sources.catalogue import SOURCES, PublishedFile, Source
from alkdnet.sources.checksums import RecordedChecksums
from alkdnet.sources.fetching import fetch
from alkdnet.sources.http import RetryPolicy

RETRIES = RetryPolicy(attempts=4, first_wait_s=0.01, longest_wait_s=0.05, timeout_s=1.0)
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Page:
    """What the server does with one path; lists are used up, one entry a request."""

    content: bytes
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    claim: int = 0
    states_length: bool = True
    type: str = "application/octet-stream"
    silent: list[float] = field(default_factory=list)
    drip_s: float = 0.0
    redirect: str = ""
    requests: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    sent: int = 0


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Page] = {}
        self.base = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path)
        self.close_connection = True
        if page is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range", "")
        page.requests.append(asked)
        page.authorizations.append(self.headers.get("Authorization", ""))
        if page.redirect:
            self.send_response(302)
            self.send_header("Location", page.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if page.silent:
            time.sleep(page.silent.pop(0))
        if page.statuses:
            self.send_response(page.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first = self._first(page, asked)
        if first is not None and first >= len(page.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(page.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send(page, first)

    def _first(self, page: Page, asked: str) -> int | None:
        return int(asked[6:-1]) if asked and page.ranges else None

    def _send(self, page: Page, first: int | None) -> None:
        body = page.content[first or 0 :]
        self.send_response(200 if first is None else 206)
        if first is not None:
            self.send_header("Content-Range", f"bytes {first}-{len(page.content) - 1}/{len(page.content)}")
        if page.states_length:
            self.send_header("Content-Length", str(len(body) + page.claim))
        self.send_header("Content-Type", page.type)
        self.end_headers()
        if page.cuts:
            body = body[: page.cuts.pop(0)]
        for start in range(0, len(body), 4096):
            self.wfile.write(body[start : start + 4096])
            page.sent += len(body[start : start + 4096])
            if page.drip_s:
                self.wfile.flush()
                time.sleep(page.drip_s)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    # Nothing here is encrypted; reading the certificates of the system for each client would take long.
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path_factory.getbasetemp()))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Bench:
    """A server, a cache and a destination."""

    def __init__(self, server: Server, root: Path) -> None:
        self.server, self.root = server, root
        self.out, self.cache = root / "out", root / "cache"
        self.digests = self.cache / "digests.json"

    def file(self, name: str, page: Page, *others: Page, known: bool = False) -> PublishedFile:
        urls = []
        for number, each in enumerate((page, *others)):
            self.server.pages[f"/{number}/{name}"] = each
            urls.append(f"{self.server.base}/{number}/{name}")
        good = (page, *others)[-1].content
        digest = hashlib.sha256(good).hexdigest() if known else None
        return PublishedFile(tuple(urls), name, len(good) if known else None, digest)

    def source(self, *files: PublishedFile, kind: str = "files") -> Source:
        return Source("toy", kind, ("test",), len(files), "none", "none", files)  # type: ignore[arg-type]

    def fetch(self, source: Source, mirror: str | None = None, out: Path | None = None) -> dict[str, bytes]:
        fetch(
            source,
            out or self.out,
            cache=self.cache,
            mirror=mirror,
            digests=self.digests,
            retries=RETRIES,
        )
        return {path.name: path.read_bytes() for path in sorted((out or self.out).iterdir())}

    def left(self) -> set[str]:
        return {path.name for path in self.cache.rglob("*") if path.suffix != ".lock"}


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Bench:
    return Bench(server, tmp_path)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def data(size: int, seed: int = 0) -> bytes:
    return PNG + random.Random(seed).randbytes(size - len(PNG))


def test_fetches_many_files_and_leaves_nothing_in_the_cache(bench: Bench) -> None:
    contents = {f"{i:02d}.png": data(5000 + i, i) for i in range(30)}
    files = [bench.file(name, Page(content), known=True) for name, content in contents.items()]
    assert bench.fetch(bench.source(*files)) == contents
    assert bench.left() == set()


def test_several_files_arrive_at_once(bench: Bench) -> None:
    files = [bench.file(f"{i}.png", Page(data(4096 * 4, i), drip_s=0.1)) for i in range(8)]
    began = time.monotonic()
    bench.fetch(bench.source(*files))
    assert time.monotonic() - began < 8 * 4 * 0.1 * 0.8


@pytest.mark.parametrize("seed", range(2))
def test_connections_lost_at_random_bytes_are_resumed(bench: Bench, seed: int) -> None:
    rng = random.Random(seed)
    content = data(200_000, seed)
    page = Page(content, cuts=[rng.randrange(0, 60_000) for _ in range(8)])
    page.statuses = [rng.choice([429, 500, 503]) for _ in range(2)]
    assert bench.fetch(bench.source(bench.file("a.png", page, known=True))) == {"a.png": content}
    # Nothing that had arrived was sent twice.
    assert page.sent == len(content)
    assert sum(bool(asked) for asked in page.requests) >= 3


@pytest.mark.parametrize("known", [True, False])
def test_a_server_without_ranges_is_asked_for_the_whole_again(bench: Bench, known: bool) -> None:
    page = Page(data(100_000), ranges=False, cuts=[40_000, 10_000])
    assert bench.fetch(bench.source(bench.file("a.png", page, known=known))) == {"a.png": page.content}
    assert page.sent == 150_000


def test_an_endlessly_disconnecting_server_without_ranges_is_given_up(bench: Bench) -> None:
    page = Page(data(100_000), ranges=False, cuts=[1000] * 100)
    with pytest.raises(UserError, match=r"a\.png: 127\.0\.0\.1:\d+: peer closed connection"):
        bench.fetch(bench.source(bench.file("a.png", page)))
    assert len(page.requests) == RETRIES.attempts + 1
    assert not bench.out.exists()


def leave_half(bench: Bench, source: Source, page: Page) -> Path:
    """Fetch half of a file of 100 kB and give up; return what has arrived."""
    page.cuts = [50_000, 0]
    retries = replace(RETRIES, attempts=1)
    with pytest.raises(UserError):
        fetch(source, bench.out, cache=bench.cache, mirror=None, digests=bench.digests, retries=retries)
    part = bench.cache / "toy" / "a.png.part"
    assert part.stat().st_size == 50_000
    return part


def test_without_a_checksum_a_file_is_downloaded_from_its_beginning(bench: Bench) -> None:
    page = Page(data(100_000), cuts=[50_000])
    assert bench.fetch(bench.source(bench.file("a.png", page))) == {"a.png": page.content}
    assert page.requests == ["", ""]


def test_the_second_url_continues_where_the_first_stopped(bench: Bench) -> None:
    content = data(100_000)
    first, second = Page(content, cuts=[60_000] + [0] * 50), Page(content)
    file = bench.file("a.png", first, second, known=True)
    assert bench.fetch(bench.source(file)) == {"a.png": content}
    assert second.requests == ["bytes=60000-"]


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_url_without_the_file_is_not_requested_again(bench: Bench, status: int) -> None:
    good = Page(data(1000))
    bad = Page(b"", statuses=[status] * 9)
    assert bench.fetch(bench.source(bench.file("a.png", bad, good))) == {"a.png": good.content}
    assert len(bad.requests) == 1


def test_all_failures_are_listed_at_once_and_what_arrived_stays(bench: Bench) -> None:
    good = Page(data(1000))
    files = [
        bench.file("a.png", Page(b"", statuses=[404])),
        bench.file("b.png", good),
        bench.file("c.png", Page(b"", statuses=[500] * 99)),
    ]
    source = bench.source(*files)
    with pytest.raises(UserError) as raised:
        bench.fetch(source)
    text = str(raised.value)
    assert "a.png: 127.0.0.1" in text
    assert "HTTP 404" in text
    assert "HTTP 500" in text
    assert "b.png" not in text
    assert not bench.out.exists()
    for name in ("a.png", "c.png"):
        bench.server.pages[f"/0/{name}"] = Page(data(10))
    bench.fetch(source)
    assert len(good.requests) == 1


def test_a_wrong_content_length_gives_no_wrong_file(bench: Bench) -> None:
    longer, shorter = Page(data(10_000), claim=500), Page(data(10_000), claim=-500)
    assert bench.fetch(bench.source(bench.file("a.png", longer, known=True))) == {"a.png": longer.content}
    with pytest.raises(UserError, match="9500 bytes instead of 10000"):
        bench.fetch(bench.source(bench.file("a.png", shorter, known=True)), out=bench.root / "other")
    assert not (bench.root / "other").exists()


def test_a_content_length_too_long_without_a_checksum_is_an_error(bench: Bench) -> None:
    liar = Page(data(10_000), claim=500)
    with pytest.raises(UserError, match=r"a\.png"):
        bench.fetch(bench.source(bench.file("a.png", liar)))
    assert not bench.out.exists()


def test_a_reply_without_a_length_ends_where_the_known_file_does(bench: Bench) -> None:
    flood = Page(data(4_000_000), states_length=False)
    right = Page(data(10_000))
    assert bench.fetch(bench.source(bench.file("a.png", flood, right, known=True))) == {
        "a.png": right.content
    }
    flood.sent, flood.requests = 0, []
    file = replace(bench.file("b.png", flood), bytes=10_000)
    bench.out = bench.root / "other"
    with pytest.raises(UserError, match=r"b\.png: .*more than 10000 bytes"):
        bench.fetch(bench.source(file))
    assert len(flood.requests) == 1
    assert not any(name.startswith("b.png") for name in bench.left())


def test_a_response_without_a_length_is_read_to_its_end(bench: Bench) -> None:
    page = Page(data(300_000), states_length=False)
    for known in (True, False):
        assert bench.fetch(bench.source(bench.file("a.png", page, known=known))) == {"a.png": page.content}


def test_wrong_bytes_are_discarded_and_the_next_url_is_requested(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    wrong, right = Page(data(1000, 1)), Page(data(1000, 2))
    assert bench.fetch(bench.source(bench.file("a.png", wrong, right, known=True))) == {
        "a.png": right.content
    }
    assert "is discarded: its SHA-256 is" in caplog.text
    with pytest.raises(UserError, match=f"SHA-256 is {hashlib.sha256(wrong.content).hexdigest()}"):
        bench.fetch(bench.source(replace(bench.file("a.png", wrong), sha256="0" * 64)))
    assert "a.png" not in bench.left()
    assert len(wrong.requests) == 2


def test_an_md5_is_checked_too(bench: Bench) -> None:
    page = Page(data(1000))
    file = bench.file("a.png", page)
    right = hashlib.md5(page.content, usedforsecurity=False).hexdigest()
    with pytest.raises(UserError, match=f"MD5 is {right}, not 00"):
        bench.fetch(bench.source(replace(file, md5="00")))
    assert bench.fetch(bench.source(replace(file, md5=right))) == {"a.png": page.content}


def test_damage_in_what_lay_in_the_cache_is_found_and_loaded_again(bench: Bench) -> None:
    page = Page(data(100_000))
    source = bench.source(bench.file("a.png", page, known=True))
    leave_half(bench, source, page).write_bytes(bytes(50_000))
    assert bench.fetch(source) == {"a.png": page.content}


def test_a_login_page_is_not_an_image(bench: Bench) -> None:
    portal = Page(b"<html>please log in</html>", type="text/html")
    with pytest.raises(UserError, match=r"it is an HTML page"):
        bench.fetch(bench.source(bench.file("a.png", portal)))
    assert not bench.digests.exists()


def test_the_first_download_records_a_digest_and_later_ones_must_match(bench: Bench) -> None:
    page = Page(data(1000, 1))
    file = bench.file("a.png", page)
    bench.fetch(bench.source(file))
    recorded = {file.urls[0]: hashlib.sha256(page.content).hexdigest()}
    assert json.loads(bench.digests.read_text()) == recorded
    page.content = data(1000, 2)
    before = (bench.out / "a.png").read_bytes()
    with pytest.raises(UserError, match="SHA-256"):
        bench.fetch(bench.source(file))
    assert (bench.out / "a.png").read_bytes() == before
    assert json.loads(bench.digests.read_text()) == recorded


def test_an_empty_file_is_none(bench: Bench) -> None:
    with pytest.raises(UserError, match=r"a\.txt: 127.*: the file is empty"):
        bench.fetch(bench.source(bench.file("a.txt", Page(b""))))
    assert not bench.digests.exists()


@pytest.mark.parametrize(
    ("name", "value"), [("HTTPS_PROXY", "socks5://localhost:1"), ("SSL_CERT_FILE", "/nonexistent/a.pem")]
)
def test_an_environment_that_allows_no_network_is_reported(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"(?s)^the network cannot be used .*{name}.* unset them$") as raised:
        bench.fetch(bench.source(bench.file("a.png", Page(data(10)))))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["notes.txt", "holiday.png", ".hidden", "folder"])
def test_files_of_others_are_not_replaced(bench: Bench, name: str) -> None:
    page = Page(data(1000))
    source = bench.source(bench.file("a.png", page))
    bench.fetch(source)
    (bench.out / name).mkdir() if name == "folder" else (bench.out / name).write_text("mine")
    page.requests.clear()
    with pytest.raises(UserError, match=rf"out: toy would replace .* known to belong to it: {name}; m"):
        bench.fetch(source)
    assert (bench.out / name).exists()
    assert page.requests == []


def test_a_link_to_a_folder_elsewhere_stays_one(bench: Bench) -> None:
    elsewhere = bench.root / "elsewhere" / "toy"
    elsewhere.mkdir(parents=True)
    bench.out.symlink_to(elsewhere)
    page = Page(data(1000))
    assert bench.fetch(bench.source(bench.file("a.png", page))) == {"a.png": page.content}
    assert bench.out.is_symlink()
    assert (elsewhere / "a.png").exists()


def test_a_file_is_not_replaced_by_a_set(bench: Bench) -> None:
    bench.out.write_text("mine")
    with pytest.raises(UserError, match="out: is a file, but has to be the folder of toy"):
        bench.fetch(bench.source(bench.file("a.png", Page(data(1000)))))
    assert bench.out.read_text() == "mine"


def test_a_redirected_file_is_resumed_too(bench: Bench) -> None:
    bench.server.pages["/cdn"] = Page(data(100_000), cuts=[30_000])
    file = replace(bench.file("a.png", Page(b"", redirect="/cdn")), sha256=sha256(data(100_000)))
    assert bench.fetch(bench.source(file)) == {"a.png": data(100_000)}
    assert bench.server.pages["/cdn"].requests == ["", "bytes=30000-"]


@pytest.mark.parametrize(
    "location",
    [
        "javascript:alert(1)",
        f"http://{'a' * 300}/x",
        "http://a..b/",
        "http://host:port/",
        "ftp://x/y",
        "/0/a.png",
    ],
)
def test_a_url_that_redirects_to_nowhere_has_failed(bench: Bench, location: str) -> None:
    right = Page(data(1000))
    file = bench.file("a.png", Page(b"", redirect=location), right)
    assert bench.fetch(bench.source(file)) == {"a.png": right.content}
    alone = replace(file, urls=file.urls[:1])
    with pytest.raises(UserError, match=r"toy could not be downloaded:\n  a\.png: 127"):
        bench.fetch(bench.source(alone), out=bench.root / "other")


@pytest.mark.parametrize(
    "url", ["http://[::1/a.png", "http://host:port/a.png", "nothing", "http://", "ftp://x/a"]
)
def test_an_invalid_url_has_failed(bench: Bench, url: str) -> None:
    right = Page(data(1000))
    file = bench.file("a.png", right)
    assert bench.fetch(bench.source(replace(file, urls=(url, *file.urls)))) == {"a.png": right.content}
    with pytest.raises(UserError, match=r"toy could not be downloaded:\n  a\.png: "):
        bench.fetch(bench.source(replace(file, urls=(url,))), out=bench.root / "other")


def test_no_message_and_no_log_shows_a_password(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    page = Page(data(1000), statuses=[503])
    bench.server.pages["/m/example.org/a.png"] = page
    host = bench.server.base.removeprefix("http://")
    source = bench.source(PublishedFile(("https://example.org/a.png",), "a.png"))
    assert bench.fetch(source, mirror=f"http://me:hunter%202@{host}/m") == {"a.png": page.content}
    assert page.authorizations == ["Basic " + base64.b64encode(b"me:hunter 2").decode()] * 2
    messages = []
    for mirror in (f"me:hunter%202@{host}/none", "me:hunter:2@host:port", "me:hunter/2@host"):
        with pytest.raises(UserError) as raised:
            bench.fetch(source, mirror=f"http://{mirror}", out=bench.root / "other")
        messages.append(str(raised.value))
    assert f"With the mirror http://***@{host}/none no other server is used." in messages[0]
    assert messages[1].startswith("the mirror http://***@host:port: neither a folder nor a URL")
    assert "hunter" not in "".join(messages) + caplog.text


def test_a_silent_server_is_left_after_the_timeout(bench: Bench) -> None:
    page = Page(data(1000), silent=[1.5])
    assert bench.fetch(bench.source(bench.file("a.png", page))) == {"a.png": page.content}
    assert len(page.requests) == 2


def test_a_host_that_is_down_is_not_waited_for_by_every_file(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = [PublishedFile((f"http://127.0.0.1:{port}/{i}.png",), f"{i}.png") for i in range(200)]
    retries = replace(RETRIES, first_wait_s=0.1, longest_wait_s=0.1)
    began = time.monotonic()
    with pytest.raises(UserError, match="and 180 more"):
        fetch(
            bench.source(*files),
            bench.out,
            cache=bench.cache,
            mirror=None,
            digests=bench.digests,
            retries=retries,
        )
    # Each file alone would wait 0.3 s: 200 files on 8 connections, 7.5 s.
    assert time.monotonic() - began < 4


KILLED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it
from pathlib import Path
from alkdnet.sources.fetching import fetch
from alkdnet.sources.catalogue import PublishedFile, Source
url, root, sha256 = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
file = PublishedFile((url,), "a.png", sha256=sha256)
source = Source("toy", "files", ("test",), 1, "none", "none", (file,))
fetch(source, root / "out", cache=root / "cache", mirror=None, digests=root / "cache" / "digests.json")
"""


def killed_script(bench: Bench, source: Source) -> list[str]:
    (file,) = source.files
    return [sys.executable, "-c", KILLED, file.urls[0], str(bench.root), str(file.sha256)]


def test_the_download_of_a_killed_process_is_resumed_at_its_last_byte(bench: Bench, repository: Path) -> None:
    page = Page(data(400_000), drip_s=0.01)
    source = bench.source(bench.file("a.png", page, known=True))
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    script = [
        sys.executable,
        "-c",
        KILLED,
        source.files[0].urls[0],
        str(bench.root),
        str(source.files[0].sha256),
    ]
    part = bench.cache / "toy" / "a.png.part"
    for size in (50_000, 200_000):
        with subprocess.Popen(script, env=environment) as process:
            while not part.exists() or part.stat().st_size < size:
                assert process.poll() is None, "ended before it was killed"
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
    arrived = part.stat().st_size
    page.drip_s = 0.0
    assert bench.fetch(source) == {"a.png": page.content}
    assert page.requests[0] == ""
    assert int(page.requests[1][6:-1]) >= 50_000
    assert page.requests[2] == f"bytes={arrived}-"


def test_an_interrupt_ends_it_at_once_and_keeps_what_arrived(bench: Bench, repository: Path) -> None:
    page = Page(data(400_000), drip_s=0.3)
    source = bench.source(bench.file("a.png", page, known=True))
    script = [
        sys.executable,
        "-c",
        KILLED,
        source.files[0].urls[0],
        str(bench.root),
        str(source.files[0].sha256),
    ]
    part = bench.cache / "toy" / "a.png.part"
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    with subprocess.Popen(script, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not part.exists() or part.stat().st_size < 20_000:
            assert process.poll() is None, "ended before it was interrupted"
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate()
    # The whole file would take 30 s.
    assert time.monotonic() - began < 15
    assert "KeyboardInterrupt" in errors
    assert 20_000 <= part.stat().st_size < 400_000


def test_nothing_is_asked_when_everything_had_arrived(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(data(1000))
    source = bench.source(bench.file("a.png", page))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("alkdnet.sources.fetching.shutil.copyfile", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bench.fetch(source)
    assert not bench.out.exists()
    assert bench.fetch(source) == {"a.png": page.content}
    assert len(page.requests) == 1


def zip_of(images: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in images.items():
            archive.writestr(f"Toy/HR/{name}", content)
        archive.writestr("Toy/readme.txt", "text")
    return packed.getvalue()


def toy_archive(bench: Bench, content: bytes, images: int) -> tuple[Source, Page]:
    page = Page(content, cuts=[10_000])
    file = replace(bench.file("toy.zip", page, known=True), members="Toy/HR/*.png")
    return replace(bench.source(file, kind="archives"), images=images), page


def test_an_archive_is_unpacked_and_deleted(bench: Bench) -> None:
    images = {f"{i}.png": data(5000, i) for i in range(5)}
    source, page = toy_archive(bench, zip_of(images), 5)
    assert bench.fetch(source) == images
    assert bench.left() == {"digests.json"}
    assert page.sent == len(page.content)
    # The checksums of its files are recorded, so that they are not taken for the user's own.
    assert RecordedChecksums(bench.digests).contents(source) == {
        name: hashlib.sha256(content).hexdigest() for name, content in images.items()
    }
    assert bench.fetch(source) == images
    bench.digests.unlink()
    with pytest.raises(UserError, match=r"not known to belong to it: 0\.png, 1\.png, 2\.png and 2 more"):
        bench.fetch(source)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PK, but no archive", r"toy\.zip: not a complete zip or tar archive"),
        (zip_of({"1.png": data(1000)}), "toy: 1 images in the archive, 2 expected"),
    ],
)
def test_an_archive_that_is_not_the_expected_one_is_not_used(
    bench: Bench, content: bytes, problem: str
) -> None:
    source, _ = toy_archive(bench, content, 2)
    with pytest.raises(UserError, match=problem):
        bench.fetch(source)
    assert not bench.out.exists()
    assert not bench.digests.exists()


def test_a_full_disk_is_noticed_before_the_first_byte(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    source, page = toy_archive(bench, zip_of({"1.png": data(50_000)}), 1)
    usage = type("Usage", (), {"free": 60_000})
    monkeypatch.setattr("alkdnet.data.disk.shutil.disk_usage", lambda _: usage)
    # The archive and what is unpacked from it: twice 50 kB.
    with pytest.raises(UserError, match=r"1\d\d kB are needed, 60 kB are free"):
        bench.fetch(source)
    assert page.requests == []


def test_a_mirror_folder_is_not_copied_to_a_full_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    source = in_mirror_folder(bench, "a.png", data(50_000))
    usage = type("Usage", (), {"free": 40_000})
    monkeypatch.setattr("alkdnet.data.disk.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"50 kB are needed, 40 kB are free"):
        bench.fetch(source, mirror=str(bench.root / "mirror"))
    assert not bench.out.exists()


def in_mirror_folder(bench: Bench, name: str, content: bytes) -> Source:
    """Put a file into the folder `mirror` and return the set that has it alone."""
    path = bench.root / "mirror" / "example.org" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return bench.source(PublishedFile((f"https://example.org/{name}",), name))


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"<html>please log in</html>", r"it is an HTML page"), (b"", "the file is empty")],
)
def test_a_mirror_folder_is_not_believed_more_than_a_server(
    bench: Bench, content: bytes, problem: str
) -> None:
    source = in_mirror_folder(bench, "a.png", content)
    with pytest.raises(UserError, match=rf"example\.org/a\.png: .*{problem}"):
        bench.fetch(source, mirror=str(bench.root / "mirror"))
    assert not bench.digests.exists()
    source = in_mirror_folder(bench, "a.png", data(1000))
    assert bench.fetch(source, mirror=str(bench.root / "mirror")) == {"a.png": data(1000)}


def test_what_cannot_be_read_in_a_mirror_folder_is_listed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = in_mirror_folder(bench, "a.png", data(1000))

    def reject(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(download, "verify", reject)
    with pytest.raises(UserError, match=r"  a\.png: .*example\.org/a\.png: Permission denied\n"):
        bench.fetch(source, mirror=str(bench.root / "mirror"))


@pytest.mark.parametrize("mirror", ["nowhere", "https:/example.org"])
def test_a_missing_mirror_folder_is_reported(bench: Bench, mirror: str) -> None:
    source = bench.source(*(PublishedFile((f"https://example.org/{i}",), f"{i}") for i in range(3)))
    with pytest.raises(
        UserError, match=f"^the mirror {mirror}: no such folder, and not a URL such as https://"
    ):
        bench.fetch(source, mirror=mirror)


@pytest.mark.parametrize("mirror", ["http://host:port", "https://", "ftp://example.org"])
def test_an_invalid_mirror_url_is_reported(bench: Bench, mirror: str) -> None:
    source = bench.source(PublishedFile(("https://example.org/a.png",), "a.png"))
    with pytest.raises(UserError, match=r"^the mirror \S+: neither a folder nor a URL such as https://"):
        bench.fetch(source, mirror=mirror)


def test_two_processes_do_not_disturb_each_other(bench: Bench) -> None:
    page = Page(data(40_000), drip_s=0.01)
    source = bench.source(bench.file("a.png", page))
    outs = [bench.root / "one", bench.root / "two"]
    threads = [threading.Thread(target=bench.fetch, args=(source, None, out)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(out / "a.png").read_bytes() == page.content for out in outs] == [True, True]


def test_a_mirror_url_is_used_instead_of_the_original(bench: Bench) -> None:
    page = Page(data(1000))
    bench.server.pages["/mirror/example.org/some/a%20b.png"] = page
    file = PublishedFile(("https://example.org/some/a%20b.png",), "a.png")
    assert bench.fetch(bench.source(file), mirror=f"{bench.server.base}/mirror/") == {"a.png": page.content}
    missing = replace(file, urls=("https://example.org/none.png",))
    with pytest.raises(UserError, match=r"HTTP 404\n.*mirror .* no other server is used"):
        bench.fetch(bench.source(missing), mirror=f"{bench.server.base}/mirror")


def test_a_mirror_folder_is_used_alone_and_not_changed(bench: Bench) -> None:
    content = data(1000)
    mirror = bench.root / "mirror"
    original = mirror / "example.org" / "some" / "a b.png"
    original.parent.mkdir(parents=True)
    original.write_bytes(content)
    there = PublishedFile(("https://other.org/x.png", "https://example.org/some/a%20b.png"), "a.png")
    absent = PublishedFile((f"{bench.server.base}/0/c.png",), "c.png")
    bench.server.pages["/0/c.png"] = Page(data(10))
    assert bench.fetch(bench.source(there), mirror=str(mirror)) == {"a.png": content}
    assert original.stat().st_nlink == 1
    assert list(json.loads(bench.digests.read_text())) == ["https://other.org/x.png"]
    with pytest.raises(UserError, match=r"c\.png: no file .*c\.png\n.*no other server is used"):
        bench.fetch(bench.source(there, absent), mirror=str(mirror))
    assert bench.server.pages["/0/c.png"].requests == []
    original.write_bytes(data(1000, 9))
    with pytest.raises(UserError, match="SHA-256"):
        bench.fetch(bench.source(there), mirror=str(mirror))


def test_an_archive_in_a_mirror_folder_is_unpacked_in_place(bench: Bench) -> None:
    source, page = toy_archive(bench, zip_of({"1.png": data(1000)}), 1)
    path = bench.root / "mirror" / source.files[0].urls[0].partition("://")[2]
    path.parent.mkdir(parents=True)
    path.write_bytes(page.content)
    assert list(bench.fetch(source, mirror=str(bench.root / "mirror"))) == ["1.png"]
    assert path.exists()
    assert page.requests == []


def local(source: Source, root: Path, folder: Path | None = None) -> list[str]:
    fetch(
        source,
        root / "out",
        cache=root / "c",
        mirror=None,
        digests=root / "c" / "digests.json",
        folder=folder,
    )
    return sorted(path.name for path in (root / "out").iterdir())


def test_embedded_photographs(tmp_path: Path) -> None:
    assert len(local(SOURCES["embedded_train"], tmp_path / "train")) == 9
    assert local(SOURCES["embedded_test"], tmp_path) == [
        "astronaut.png",
        "chelsea.png",
        "coffee.png",
        "ihc.png",
        "rocket.jpg",
    ]


def test_photographs_are_not_copied_to_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("alkdnet.data.disk.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"2\.09 MB are needed, 1 kB are free"):
        local(SOURCES["embedded_test"], tmp_path)


def test_another_version_of_a_photograph_is_rejected(tmp_path: Path) -> None:
    source = SOURCES["embedded_test"]
    altered = replace(source, files=(replace(source.files[0], sha256="0" * 64),))
    with pytest.raises(UserError, match=r"data/astronaut\.png of the installed skimage has another checksum"):
        local(altered, tmp_path)
    absent = replace(source, files=(replace(source.files[0], urls=("skimage/data/eagle.png",)),))
    with pytest.raises(UserError, match=r"skimage has no data/eagle\.png"):
        local(absent, tmp_path)
    assert not (tmp_path / "out").exists()


def fill(folder: Path, names: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(PNG)
    return folder


def test_a_folder_of_the_user_is_copied_and_what_is_left_out_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = fill(tmp_path / "mine", ["b.JPG", "a.png"])
    assert local(SOURCES["folder"], tmp_path, mine) == ["a.png", "b.JPG"]
    assert (mine / "a.png").stat().st_nlink == 1
    assert not caplog.messages
    fill(mine, ["notes.txt", "c.HEIC", "d.heic", "e.avif", "README", ".hidden.png"])
    fill(mine / "more", ["f.png"])
    assert local(SOURCES["folder"], tmp_path, mine) == ["a.png", "b.JPG"]
    left_out = "1 .avif, 2 .heic, 1 .txt, 1 without suffix, 1 folder (not searched)"
    assert caplog.messages == [f"{mine}: 2 images are copied; left out: {left_out}"]


def test_a_folder_that_cannot_serve_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        local(SOURCES["folder"], tmp_path, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"mine: no images in it \(\.bmp, .*\); left out: 1 \.txt$"):
        local(SOURCES["folder"], tmp_path, fill(tmp_path / "mine", ["notes.txt"]))
    with pytest.raises(UserError, match=r"mine: a\.jpg, a\.png would have"):
        local(SOURCES["folder"], tmp_path, fill(tmp_path / "mine", ["a.jpg", "a.png"]))
    with pytest.raises(UserError, match="needs the path"):
        local(SOURCES["folder"], tmp_path)


def test_manga109_is_explained_used_or_rejected_incomplete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = SOURCES["manga109"]
    folder = tmp_path / "manga109"
    assert local(source, tmp_path, folder) == [NOT_AVAILABLE]
    text = (tmp_path / "out" / NOT_AVAILABLE).read_text()
    assert "http://www.manga109.org/en/" in text
    # The row is named as its folder; the pipeline may be any.
    assert "dvc repro --force download@out\n" in text
    assert "paper" not in text
    assert str(tmp_path) not in text
    assert caplog.messages == [f"{text}The folder to fill: {folder}"]
    names = [f"{i:03d}.png" for i in range(110)]
    fill(folder, names[:57])
    with pytest.raises(UserError, match=r"57 images \(000\.png to 056\.png\), but manga109 has 109; c"):
        local(source, tmp_path, folder)
    fill(folder, names[:109])
    assert local(source, tmp_path, folder) == names[:109]
    fill(folder, names)
    with pytest.raises(UserError, match=r"110 images \(.*\), but manga109 has 109; .* remove"):
        local(source, tmp_path, folder)


def test_a_wrong_folder_for_manga109_is_rejected(tmp_path: Path) -> None:
    source = SOURCES["manga109"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: this is a file, not a folder with the images of manga109"):
        local(source, tmp_path, tmp_path / "file")
    fill(tmp_path / "books", ["readme.txt"])
    fill(tmp_path / "books" / "ARMS", ["000.jpg"])
    with pytest.raises(UserError, match=r"books: has folders but no images; put the 109 images"):
        local(source, tmp_path, tmp_path / "books")
    assert not (tmp_path / "out").exists()


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["set5", "set14", "bsd100", "alkdnet_x2", "alkdnet_x4", "bsrn_x2", "bsrn_x4", "imdn_x2", "imdn_x4"],
)
def test_published_files_come_from_the_mirror_with_their_digests(
    name: str, data_dir: Path, tmp_path: Path
) -> None:
    source = SOURCES[name]
    mirror = data_dir / "mirror"
    fetch(source, tmp_path / "out", cache=tmp_path, mirror=str(mirror), digests=tmp_path / "digests.json")
    sums = dict(reversed(line.split()) for line in (mirror / "SHA256SUMS").read_text().splitlines())
    assert len(list((tmp_path / "out").iterdir())) == source.images
    for file in source.files:
        found = hashlib.sha256((tmp_path / "out" / file.name).read_bytes()).hexdigest()
        assert found == sums[file.urls[0].removeprefix("https://")]
    assert not (tmp_path / "digests.json").exists()


def test_a_file_of_the_users_is_copied_and_a_pair_of_ncnn_with_it(tmp_path: Path) -> None:
    for name in ("mine.param", "mine.bin", "other.bin"):
        (tmp_path / name).write_text(name)
    assert local(SOURCES["file"], tmp_path, tmp_path / "mine.param") == ["mine.bin", "mine.param"]
    with pytest.raises(UserError, match=r"gone\.pth: no such file of weights"):
        local(SOURCES["file"], tmp_path, tmp_path / "gone.pth")
    with pytest.raises(UserError, match="the source `file` needs the path of your file"):
        local(SOURCES["file"], tmp_path)
