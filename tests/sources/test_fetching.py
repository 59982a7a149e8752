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
from typing import Any

import pytest

from alkdnet.data.images import NOT_AVAILABLE
from alkdnet.errors import UserError
from alkdnet.sources import fetching as download
from alkdnet.sources.catalogue import SOURCES, PublishedFile, Source
from alkdnet.sources.fetching import fetch
from alkdnet.sources.ledger import DigestLedger
from alkdnet.sources.transfer import Patience
from pipeline.stage import Stage

PATIENCE = Patience(attempts=4, first_wait_s=0.01, longest_wait_s=0.05, timeout_s=1.0)
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Page:
    """What the server does with one path; lists are used up, one entry a request."""

    content: bytes
    etag: str = ""
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    claim: int = 0
    head_length: int | None = None
    head_encoding: str = ""
    heads: bool = True
    states_length: bool = True
    type: str = "application/octet-stream"
    silent: list[float] = field(default_factory=list)
    drip_s: float = 0.0
    shift: int = 0
    redirect: str = ""
    requests: list[str] = field(default_factory=list)
    head_requests: int = 0
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

    def do_HEAD(self) -> None:
        page = self.server.pages[self.path]
        page.head_requests += 1
        self.send_response(302 if page.redirect else 200 if page.heads else 405)
        if page.redirect:
            self.send_header("Location", page.redirect)
        elif page.states_length:
            length = len(page.content) if page.head_length is None else page.head_length
            self.send_header("Content-Length", str(length))
        if page.head_encoding:
            self.send_header("Content-Encoding", page.head_encoding)
        self.end_headers()

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path)
        self.close_connection = True
        if page is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range", "")
        page.requests.append(asked)
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
            self.send_header("Retry-After", "0")
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
        changed = self.headers.get("If-Range", page.etag) != page.etag
        return int(asked[6:-1]) if asked and page.ranges and not changed else None

    def _send(self, page: Page, first: int | None) -> None:
        first = None if first is None else first + page.shift
        body = page.content[first or 0 :]
        self.send_response(200 if first is None else 206)
        if first is not None:
            self.send_header("Content-Range", f"bytes {first}-{len(page.content) - 1}/{len(page.content)}")
        if page.states_length:
            self.send_header("Content-Length", str(len(body) + page.claim))
        self.send_header("Content-Type", page.type)
        if page.etag:
            self.send_header("ETag", page.etag)
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
        for number, home in enumerate((page, *others)):
            self.server.pages[f"/{number}/{name}"] = home
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
            patience=PATIENCE,
        )
        return {path.name: path.read_bytes() for path in sorted((out or self.out).iterdir())}

    def left(self) -> set[str]:
        return {path.name for path in self.cache.rglob("*") if path.suffix != ".lock"}


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Bench:
    return Bench(server, tmp_path)


def data(size: int, seed: int = 0) -> bytes:
    return PNG + random.Random(seed).randbytes(size - len(PNG))


def test_fetches_many_files_and_leaves_nothing_in_the_cache(bench: Bench) -> None:
    contents = {f"{i:02d}.png": data(5000 + i, i) for i in range(30)}
    files = [bench.file(name, Page(content), known=True) for name, content in contents.items()]
    assert bench.fetch(bench.source(*files)) == contents
    assert bench.left() == set()


def test_several_files_arrive_at_once(bench: Bench) -> None:
    files = [bench.file(f"{i}.png", Page(data(4096 * 4, i), drip_s=0.05)) for i in range(8)]
    began = time.monotonic()
    bench.fetch(bench.source(*files))
    assert time.monotonic() - began < 8 * 4 * 0.05 / 2


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_connections_cut_at_random_bytes_are_taken_up_again(bench: Bench, known: bool, seed: int) -> None:
    rng = random.Random(seed)
    content = data(200_000, seed)
    page = Page(content, etag='"v1"', cuts=[rng.randrange(0, 60_000) for _ in range(8)])
    page.statuses = [rng.choice([429, 500, 503]) for _ in range(2)]
    assert bench.fetch(bench.source(bench.file("a.png", page, known=known))) == {"a.png": content}
    # Nothing that had arrived was sent twice.
    assert page.sent == len(content)
    assert sum(bool(asked) for asked in page.requests) >= 3


@pytest.mark.parametrize("known", [True, False])
def test_a_server_without_ranges_is_asked_for_the_whole_again(bench: Bench, known: bool) -> None:
    page = Page(data(100_000), etag='"v1"', ranges=False, cuts=[40_000, 10_000])
    assert bench.fetch(bench.source(bench.file("a.png", page, known=known))) == {"a.png": page.content}
    assert page.sent == 150_000


def test_an_endlessly_cutting_server_without_ranges_is_given_up(bench: Bench) -> None:
    page = Page(data(100_000), ranges=False, cuts=[1000] * 100)
    with pytest.raises(UserError, match=r"a\.png: 127\.0\.0\.1:\d+: peer closed connection"):
        bench.fetch(bench.source(bench.file("a.png", page)))
    assert len(page.requests) == PATIENCE.attempts + 1
    assert not bench.out.exists()


def test_a_file_that_changed_meanwhile_is_not_spliced(bench: Bench) -> None:
    old, new = data(100_000, 1), data(100_000, 2)
    page = Page(old, etag='"v1"')
    source = bench.source(bench.file("a.png", page))
    leave_half(bench, source, page)
    page.content, page.etag, page.cuts = new, '"v2"', []
    assert bench.fetch(source) == {"a.png": new}


def leave_half(bench: Bench, source: Source, page: Page) -> Path:
    """Fetch half of a file of 100 kB and give up; return what has arrived."""
    page.cuts = [50_000, 0]
    patience = replace(PATIENCE, attempts=1)
    with pytest.raises(UserError):
        fetch(source, bench.out, cache=bench.cache, mirror=None, digests=bench.digests, patience=patience)
    part = bench.cache / "toy" / "a.png.part"
    assert part.stat().st_size == 50_000
    return part


def test_without_digest_and_version_nothing_is_spliced(bench: Bench) -> None:
    page = Page(data(100_000), cuts=[50_000])
    assert bench.fetch(bench.source(bench.file("a.png", page))) == {"a.png": page.content}
    assert page.requests == ["", ""]


def test_another_home_goes_on_where_the_first_stopped(bench: Bench) -> None:
    content = data(100_000)
    first, second = Page(content, cuts=[60_000] + [0] * 50), Page(content)
    file = bench.file("a.png", first, second, known=True)
    assert bench.fetch(bench.source(file)) == {"a.png": content}
    assert second.requests == ["bytes=60000-"]


@pytest.mark.parametrize("shift", [100, -100])
def test_a_wrong_range_is_not_appended(bench: Bench, shift: int) -> None:
    page = Page(data(100_000), etag='"v1"', cuts=[50_000], shift=shift)
    assert bench.fetch(bench.source(bench.file("a.png", page))) == {"a.png": page.content}
    assert page.requests == ["", "bytes=50000-", ""]


def test_a_file_of_unknown_length_that_was_whole_is_not_sent_again(bench: Bench) -> None:
    page = Page(data(1000), etag='"v1"', heads=False)
    file = bench.file("a.png", page)
    part = bench.cache / "toy" / "a.png.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(page.content)
    note = {"url": file.urls[0], "validator": '"v1"', "total": None}
    part.with_name("a.png.part.json").write_text(json.dumps(note))
    assert bench.fetch(bench.source(file)) == {"a.png": page.content}
    assert page.requests == ["bytes=1000-"]
    assert page.sent == 0


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_home_without_the_file_is_left_at_once(bench: Bench, status: int) -> None:
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


@pytest.mark.parametrize("claim", [500, -500])
def test_a_server_that_lies_about_the_length_yields_no_file(bench: Bench, claim: int) -> None:
    liar = Page(data(10_000), claim=claim)
    with pytest.raises(UserError, match=r"bytes instead of 10000"):
        bench.fetch(bench.source(bench.file("a.png", liar, known=True)))
    assert not bench.out.exists()


def test_a_length_too_long_without_digest_ends_in_an_error(bench: Bench) -> None:
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
    with pytest.raises(UserError, match=r"b\.png: .*more than 10000 bytes, which is all that it should have"):
        bench.fetch(bench.source(file))
    assert len(flood.requests) == 1
    assert not any(name.startswith("b.png") for name in bench.left())


def test_a_reply_without_a_length_is_taken_whole(bench: Bench) -> None:
    page = Page(data(300_000), states_length=False)
    for known in (True, False):
        assert bench.fetch(bench.source(bench.file("a.png", page, known=known))) == {"a.png": page.content}


def test_wrong_bytes_are_discarded_and_the_next_home_is_asked(
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
    page = Page(data(100_000), etag='"v1"')
    source = bench.source(bench.file("a.png", page, known=True))
    leave_half(bench, source, page).write_bytes(bytes(50_000))
    assert bench.fetch(source) == {"a.png": page.content}


def test_a_login_page_is_not_taken_for_an_image(bench: Bench) -> None:
    portal = Page(b"<html>please log in</html>", type="text/html")
    with pytest.raises(UserError, match=r"does not begin as a \.png file does"):
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
    with pytest.raises(UserError, match=r"a\.txt: 127.*: it is empty"):
        bench.fetch(bench.source(bench.file("a.txt", Page(b""))))
    assert not bench.digests.exists()


@pytest.mark.parametrize("head", [{"head_length": 20}, {"head_length": 20, "head_encoding": "gzip"}])
def test_a_wrong_answer_to_head_does_not_refuse_the_file(bench: Bench, head: dict[str, Any]) -> None:
    page = Page(data(1000), **head)
    assert bench.fetch(bench.source(bench.file("a.png", page))) == {"a.png": page.content}


@pytest.mark.parametrize(
    "note", ["", "[]", "null", "{}", '{"url": "u", "validator": null, "total": 1}', '{"url": "u"', "\xff"]
)
def test_a_note_that_says_nothing_is_as_good_as_none(bench: Bench, note: str) -> None:
    page = Page(data(100_000), etag='"v1"')
    source = bench.source(bench.file("a.png", page))
    part = leave_half(bench, source, page)
    part.with_name("a.png.part.json").write_text(note, encoding="latin-1")
    assert bench.fetch(source) == {"a.png": page.content}
    assert page.requests[-1] == ""


@pytest.mark.parametrize(
    ("name", "value"), [("HTTPS_PROXY", "socks5://localhost:1"), ("SSL_CERT_FILE", "/nonexistent/a.pem")]
)
def test_an_environment_that_allows_no_network_is_told(
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
    with pytest.raises(UserError, match=rf"out: toy would replace .* not known to be of it: {name}; move"):
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
    with pytest.raises(UserError, match="out: is a file where the folder of toy is to be"):
        bench.fetch(bench.source(bench.file("a.png", Page(data(1000)))))
    assert bench.out.read_text() == "mine"


def test_a_redirected_file_is_resumed_too(bench: Bench) -> None:
    bench.server.pages["/cdn"] = Page(data(100_000), etag='"v1"', cuts=[30_000])
    file = bench.file("a.png", Page(b"", redirect="/cdn"))
    assert bench.fetch(bench.source(file)) == {"a.png": data(100_000)}
    assert bench.server.pages["/cdn"].requests == ["", "bytes=30000-"]


def test_a_silent_server_is_left_after_the_timeout(bench: Bench) -> None:
    page = Page(data(1000), silent=[1.5])
    assert bench.fetch(bench.source(bench.file("a.png", page))) == {"a.png": page.content}
    assert len(page.requests) == 2


def test_a_host_that_is_down_is_not_waited_for_by_every_file(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = [PublishedFile((f"http://127.0.0.1:{port}/{i}.png",), f"{i}.png") for i in range(200)]
    patience = replace(PATIENCE, first_wait_s=0.1, longest_wait_s=0.1)
    began = time.monotonic()
    with pytest.raises(UserError, match="and 180 more"):
        fetch(
            bench.source(*files),
            bench.out,
            cache=bench.cache,
            mirror=None,
            digests=bench.digests,
            patience=patience,
        )
    # Each file alone would wait 0.3 s: 200 files on 8 connections, 7.5 s.
    assert time.monotonic() - began < 4


KILLED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it
from pathlib import Path
from alkdnet.sources.fetching import fetch
from alkdnet.sources.catalogue import PublishedFile, Source
url, root = sys.argv[1], Path(sys.argv[2])
file = PublishedFile((url,), "a.png")
source = Source("toy", "files", ("test",), 1, "none", "none", (file,))
fetch(source, root / "out", cache=root / "cache", mirror=None, digests=root / "cache" / "digests.json")
"""


def test_a_killed_process_is_continued_at_its_last_byte(bench: Bench, repository: Path) -> None:
    page = Page(data(400_000), etag='"v1"', drip_s=0.01)
    source = bench.source(bench.file("a.png", page))
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    script = [sys.executable, "-c", KILLED, source.files[0].urls[0], str(bench.root)]
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
    page = Page(data(400_000), etag='"v1"', drip_s=0.3)
    source = bench.source(bench.file("a.png", page))
    script = [sys.executable, "-c", KILLED, source.files[0].urls[0], str(bench.root)]
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
        patch.setattr(download, "_link", interrupt)
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
    page = Page(content, etag='"v1"', cuts=[10_000])
    file = replace(bench.file("toy.zip", page), members="Toy/HR/*.png")
    return replace(bench.source(file, kind="archives"), images=images), page


def test_an_archive_is_unpacked_and_deleted(bench: Bench) -> None:
    images = {f"{i}.png": data(5000, i) for i in range(5)}
    source, page = toy_archive(bench, zip_of(images), 5)
    remains = bench.out.with_name(".out.4711.tmp")
    remains.mkdir()
    assert bench.fetch(source) == images
    assert bench.left() == {"digests.json"}
    assert not remains.exists()
    assert page.sent == len(page.content)
    # What it holds is on record, so that it can be told from the user's own files and replaced.
    assert DigestLedger(bench.digests).contents(source) == {
        name: hashlib.sha256(content).hexdigest() for name, content in images.items()
    }
    assert bench.fetch(source) == images
    bench.digests.unlink()
    with pytest.raises(UserError, match=r"not known to be of it: 0\.png, 1\.png, 2\.png and 2 more; move"):
        bench.fetch(source)


def test_an_archive_that_cannot_be_read_is_named_and_not_kept(bench: Bench) -> None:
    source, page = toy_archive(bench, b"PK, but no archive", 1)
    with pytest.raises(UserError, match=r"toy\.zip: not a complete zip or tar archive"):
        bench.fetch(source)
    assert bench.left() == set()
    page.content, page.etag = zip_of({"1.png": data(1000)}), '"v2"'
    assert list(bench.fetch(source)) == ["1.png"]


@pytest.mark.parametrize("evil", [{"../x.png": b"x"}, {"bomb": bytes(1 << 20)}, {}])
def test_a_refused_archive_is_neither_used_nor_kept_nor_recorded(
    bench: Bench, evil: dict[str, bytes]
) -> None:
    source, _ = toy_archive(bench, zip_of({"1.png": data(1000), **evil}), 1 if evil else 2)
    with pytest.raises(UserError, match=r"refused|1 images in the archive, 2 expected"):
        bench.fetch(source)
    assert not bench.out.exists()
    assert bench.left() == set()


def test_a_full_disk_is_noticed_before_the_first_byte(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    source, page = toy_archive(bench, zip_of({"1.png": data(50_000)}), 1)
    usage = type("Usage", (), {"free": 60_000})
    monkeypatch.setattr("alkdnet.data.disk.shutil.disk_usage", lambda _: usage)
    # The archive and what is unpacked from it: twice 50 kB.
    with pytest.raises(UserError, match=r"1\d\d kB are needed, 60 kB are free"):
        bench.fetch(source)
    assert page.requests == []


def test_sizes_that_are_not_published_are_asked_for_before_the_first_byte(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [Page(data(5000, i)) for i in range(20)]
    source = bench.source(*(bench.file(f"{i}.png", page) for i, page in enumerate(pages)))
    usage = type("Usage", (), {"free": 60_000})
    monkeypatch.setattr("alkdnet.data.disk.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"\d+ kB are needed, 60 kB are free"):
        bench.fetch(source)
    assert [page.requests for page in pages] == [[]] * 20
    # A home that does not answer is not asked about every file.
    for page in pages:
        page.heads, page.head_requests = False, 0
    assert len(bench.fetch(source)) == 20
    assert sum(page.head_requests for page in pages) <= download.CONNECTIONS


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
    [(b"<html>please log in</html>", r"does not begin as a \.png file does"), (b"", "it is empty")],
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

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(download, "fingerprint", refuse)
    with pytest.raises(UserError, match=r"  a\.png: .*example\.org/a\.png: Permission denied\n"):
        bench.fetch(source, mirror=str(bench.root / "mirror"))


def test_a_bad_archive_in_a_mirror_folder_costs_no_half_download(bench: Bench) -> None:
    source = replace(in_mirror_folder(bench, "toy.zip", b"PK"), kind="archives")
    half = bench.cache / "toy" / "toy.zip.part"
    half.parent.mkdir(parents=True)
    half.touch()
    with pytest.raises(UserError, match=r"toy\.zip: not a complete"):
        bench.fetch(source, mirror=str(bench.root / "mirror"))
    assert half.exists()
    assert (bench.root / "mirror" / "example.org" / "toy.zip").exists()


@pytest.mark.parametrize("mirror", ["nowhere", "https:/example.org"])
def test_a_mirror_folder_that_is_not_there_is_told_once(bench: Bench, mirror: str) -> None:
    source = bench.source(*(PublishedFile((f"https://example.org/{i}",), f"{i}") for i in range(3)))
    with pytest.raises(UserError, match=f"^the mirror {mirror}: no such folder, and no URL as https://"):
        bench.fetch(source, mirror=mirror)


@pytest.mark.parametrize("mirror", ["http://host:port", "http://[bad", "https://", "ftp://example.org"])
def test_a_mirror_that_is_no_address_is_told(bench: Bench, mirror: str) -> None:
    source = bench.source(PublishedFile(("https://example.org/a.png",), "a.png"))
    with pytest.raises(UserError, match=r"the mirror \S+.* is (no URL|neither a folder nor a URL)"):
        bench.fetch(source, mirror=mirror)


def test_two_processes_do_not_disturb_each_other(bench: Bench) -> None:
    page = Page(data(40_000), etag='"v1"', drip_s=0.01)
    source = bench.source(bench.file("a.png", page))
    outs = [bench.root / "one", bench.root / "two"]
    threads = [threading.Thread(target=bench.fetch, args=(source, None, out)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(out / "a.png").read_bytes() == page.content for out in outs] == [True, True]


def test_a_mirror_url_is_asked_instead_of_the_home(bench: Bench) -> None:
    page = Page(data(1000))
    bench.server.pages["/mirror/example.org/some/a%20b.png"] = page
    file = PublishedFile(("https://example.org/some/a%20b.png",), "a.png")
    assert bench.fetch(bench.source(file), mirror=f"{bench.server.base}/mirror/") == {"a.png": page.content}
    missing = replace(file, urls=("https://example.org/none.png",))
    with pytest.raises(UserError, match=r"HTTP 404\n.*mirror .* is used alone"):
        bench.fetch(bench.source(missing), mirror=f"{bench.server.base}/mirror")


def test_a_mirror_folder_is_used_alone_and_left_as_it_is(bench: Bench) -> None:
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
    with pytest.raises(UserError, match=r"c\.png: no file .*c\.png\n.*is used alone"):
        bench.fetch(bench.source(there, absent), mirror=str(mirror))
    assert bench.server.pages["/0/c.png"].requests == []
    original.write_bytes(data(1000, 9))
    with pytest.raises(UserError, match="SHA-256"):
        bench.fetch(bench.source(there), mirror=str(mirror))


@pytest.mark.parametrize(
    ("value", "mirror"), [("", None), ("m", "/main/m"), ("/m", "/m"), ("http://m/x", "http://m/x")]
)
def test_the_mirror_of_a_stage(monkeypatch: pytest.MonkeyPatch, value: str, mirror: str | None) -> None:
    stage = Stage(params=None, paths=None, key="", root=Path("/main"))  # type: ignore[arg-type]
    monkeypatch.setenv("ALKDNET_MIRROR", value)
    assert stage.mirror == mirror


def test_a_mirrored_archive_is_unpacked_where_it_lies(bench: Bench) -> None:
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


def test_another_version_of_a_photograph_is_refused(tmp_path: Path) -> None:
    source = SOURCES["embedded_test"]
    altered = replace(source, files=(replace(source.files[0], sha256="0" * 64),))
    with pytest.raises(UserError, match=r"another data/astronaut\.png"):
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


def test_a_folder_of_the_user_is_copied_and_what_is_left_out_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = fill(tmp_path / "mine", ["b.JPG", "a.png"])
    assert local(SOURCES["folder"], tmp_path, mine) == ["a.png", "b.JPG"]
    assert (mine / "a.png").stat().st_nlink == 1
    assert not caplog.messages
    fill(mine, ["notes.txt", "c.HEIC", "d.heic", "e.avif", "README", ".hidden.png"])
    fill(mine / "more", ["f.png"])
    assert local(SOURCES["folder"], tmp_path, mine) == ["a.png", "b.JPG"]
    left_out = "1 .avif, 2 .heic, 1 .txt, 1 without ending, 1 folder (not searched)"
    assert caplog.messages == [f"{mine}: 2 images are taken; left out: {left_out}"]


def test_a_folder_that_cannot_serve_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        local(SOURCES["folder"], tmp_path, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"mine: no images in it \(\.bmp, .*\); left out: 1 \.txt$"):
        local(SOURCES["folder"], tmp_path, fill(tmp_path / "mine", ["notes.txt"]))
    with pytest.raises(UserError, match=r"mine: a\.jpg, a\.png would have"):
        local(SOURCES["folder"], tmp_path, fill(tmp_path / "mine", ["a.jpg", "a.png"]))
    with pytest.raises(UserError, match="needs the path"):
        local(SOURCES["folder"], tmp_path)


def test_manga109_is_told_about_used_or_refused_half_filled(
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
    with pytest.raises(
        UserError, match=r"57 of the 109 images of manga109 \(000\.png to 056\.png\); complete"
    ):
        local(source, tmp_path, folder)
    fill(folder, names[:109])
    assert local(source, tmp_path, folder) == names[:109]
    fill(folder, names)
    with pytest.raises(UserError, match=r"110 images \(.*\), 1 more than manga109 has; remove"):
        local(source, tmp_path, folder)
    (folder / "109.png").unlink()
    (folder / "007.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"these files are empty: 007\.png; copy"):
        local(source, tmp_path, folder)


def test_a_folder_of_manga109_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    source = SOURCES["manga109"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: a folder is wanted for the images of manga109"):
        local(source, tmp_path, tmp_path / "file")
    fill(tmp_path / "books", ["readme.txt"])
    fill(tmp_path / "books" / "ARMS", ["000.jpg"])
    with pytest.raises(UserError, match=r"books: has no images, only folders \(ARMS\); the 109 images"):
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
