"""The page that compares pictures: its text, and what a browser makes of it."""

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, UnidentifiedImageError

from alkdnet.compare import page
from alkdnet.compare.page import write_page
from alkdnet.errors import UserError

HOSTILE = """x"><script>alert('1')<&amp;.png"""
VOID = {"meta", "img", "input"}
RED, BLUE, GREEN = (200, 0, 0), (0, 0, 200), (0, 200, 0)


class Page(HTMLParser):
    """The elements of a page; every one that is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _picture(path: Path, colour: tuple[int, int, int], width: int = 40, height: int = 20) -> Path:
    Image.new("RGB", (width, height), colour).save(path)
    return path


def test_the_page_has_the_pixels_and_loads_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    small = _picture(tmp_path / "lr.png", RED, 10, 5)
    target = tmp_path / "new" / "page.html"
    size = write_page([tmp_path / "a.png", small], target)
    text = target.read_text(encoding="utf-8")
    assert size == target.stat().st_size
    shown = Page(text)
    uris = [str(image["src"]) for image in shown.all("img")]
    content = base64.b64decode(uris[0].removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)
    assert [image["alt"] for image in shown.all("img")] == ["a.png", "lr.png"]
    assert len(shown.all("canvas")) == 2
    assert "4× as large" in text
    without = re.sub(r"data:image/png;base64,[\w+/=]+", "", text)
    assert not re.search(r"https?:|//\w|@import|url\(|fetch\(|\bimport\b", without)
    (policy,) = [each["content"] for each in shown.all("meta") if "http-equiv" in each]
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def test_hostile_names_are_text(tmp_path: Path) -> None:
    first, second = _picture(tmp_path / HOSTILE.replace("/", ""), RED), _picture(tmp_path / "b.png", BLUE)
    write_page([first, second], tmp_path / "p.html")
    shown = Page((tmp_path / "p.html").read_text())
    assert len(shown.all("script")) == 1
    assert shown.all("img")[0]["alt"] == first.name
    assert shown.texts.count(first.name) == 3  # two menus and a caption
    write_page([first, second], tmp_path / "p.html", labels=["<b>\n{{ 7 * 7 }}", "\udcff"])
    shown = Page((tmp_path / "p.html").read_text())
    assert [image["alt"] for image in shown.all("img")] == [r"<b>\n{{ 7 * 7 }}", r"\udcff"]


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder in ("imdn", "bsrn"):
        (tmp_path / folder).mkdir()
    pictures = [_picture(tmp_path / folder / "a.png", RED) for folder in ("imdn", "bsrn")]
    write_page(pictures, tmp_path / "p.html")
    alts = [image["alt"] for image in Page((tmp_path / "p.html").read_text()).all("img")]
    assert alts == [str(path) for path in pictures]


def test_a_picture_with_damaged_metadata_is_shown(tmp_path: Path) -> None:
    whole, damaged = _picture(tmp_path / "whole.png", RED), tmp_path / "damaged.png"
    content, end_of_header = whole.read_bytes(), 33
    no_checksum = b"\0\0\0\x04tEXta\0bc\0\0\0\0"
    damaged.write_bytes(content[:end_of_header] + no_checksum + content[end_of_header:])
    with pytest.raises(UnidentifiedImageError):
        Image.open(damaged)
    write_page([whole, damaged], tmp_path / "p.html")
    first, second = Page((tmp_path / "p.html").read_text()).all("img")
    assert first["src"] == second["src"]


def test_what_cannot_be_compared_is_rejected_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = _picture(tmp_path / "a.png", RED), _picture(tmp_path / "b.png", BLUE)
    odd, flat = _picture(tmp_path / "c.png", RED, 39), _picture(tmp_path / "d.png", RED, 20, 20)
    target = tmp_path / "p.html"
    for other in (odd, flat):
        with pytest.raises(UserError, match=rf"a\.png: 40x20\n.*{other.name}: \d+x20\n"):
            write_page([a, other], target)
    with pytest.raises(UserError, match="two pictures"):
        write_page([a], target)
    with pytest.raises(UserError, match="--label: 1 for 2"):
        write_page([a, b], target, labels=["x"])
    with pytest.raises(UserError, match=r"must end in \.html"):
        write_page([a, b], tmp_path / "b.png")
    with pytest.raises(UserError, match=r"none\.png: no such file"):
        write_page([a, tmp_path / "none.png"], target)
    monkeypatch.setattr(page, "LARGEST_PICTURE", 10)
    with pytest.raises(UserError, match=r"a\.png: .* as PNG"):
        write_page([a, b], target)
    monkeypatch.undo()
    monkeypatch.setattr(page, "LARGEST_PAGE", 10)
    with pytest.raises(UserError, match="fewer pictures"):
        write_page([a, b], target)
    assert not target.exists()


def _screenshot(page: Path, script: str, width: int, height: int) -> tuple[npt.NDArray[np.uint8], str]:
    """Return the pixels (HWC) and the document that headless Chromium makes of a page and a script."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    text = page.read_text().replace("</body>", f"<script>onload = () => {{ {script} }};</script></body>")
    changed, picture = page.with_name("changed.html"), page.with_name("shot.png")
    changed.write_text(text)
    options = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *(f"--user-data-dir={page.parent / 'profile'}", f"--window-size={width},{height}"),
    ]
    command = [browser, *options, f"--screenshot={picture}", changed.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    command = [browser, *options, "--dump-dom", changed.as_uri()]
    document = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    return np.asarray(Image.open(picture).convert("RGB")), document


def _shares(pixels: npt.NDArray[np.uint8]) -> list[int]:
    """Return how many pixels are red, blue and green."""
    return [int((pixels == colour).all(axis=-1).sum()) for colour in (RED, BLUE, GREEN)]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_a_browser_shows_slider_and_details(width: int, height: int, tmp_path: Path) -> None:
    pictures = [_picture(tmp_path / f"{index}.png", each) for index, each in enumerate((RED, BLUE, GREEN))]
    write_page(pictures, tmp_path / "p.html")
    hide = "document.querySelector('.details').style.visibility = 'hidden'; bar.hidden = true;"

    pixels, document = _screenshot(tmp_path / "p.html", hide, width, height)
    red, blue, green = _shares(pixels)
    assert green == 0
    assert red == pytest.approx(blue, rel=0.05)
    columns = np.flatnonzero((pixels == BLUE).all(axis=-1).any(axis=0))
    assert columns.min() == pytest.approx(width / 2, abs=2)
    # The script has drawn all details, at the size that they have in the window.
    sides = [
        re.findall(r'(?:width|height)="(\d+)"', canvas) for canvas in re.findall("<canvas .*?>", document)
    ]
    assert [len(set(each)) for each in sides] == [1, 1, 1]

    moved = (
        "slider.value = 25; slider.dispatchEvent(new Event('input'));"
        "right.value = 2; right.dispatchEvent(new Event('change'));"
    )
    pixels, document = _screenshot(tmp_path / "p.html", hide + moved, width, height)
    assert re.findall(r'class="name".*?>(.*?)<', document) == ["0.png", "2.png"]
    red, blue, green = _shares(pixels)
    assert blue == 0
    assert green == pytest.approx(3 * red, rel=0.1)

    same = "right.value = 0; right.dispatchEvent(new Event('change'));"
    alone = _shares(_screenshot(tmp_path / "p.html", hide + same, width, height)[0])
    assert alone == [pytest.approx(red + green, rel=0.05), 0, 0]


@pytest.mark.slow
def test_keys_and_pointer_move_the_details_of_all_pictures(tmp_path: Path) -> None:
    halves = np.zeros((512, 512, 3), np.uint8)
    halves[:, :256], halves[:, 256:] = RED, BLUE
    Image.fromarray(halves).save(tmp_path / "a.png")
    Image.fromarray(halves[::2, ::2]).save(tmp_path / "b.png")
    write_page([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "p.html")
    read = (
        "const colour = (canvas) => canvas.getContext('2d').getImageData(5, 5, 1, 1).data.join();"
        "const seen = () => found.push(canvases.map(colour).join(' '));"
        "const found = []; draw(); seen();"
        "const typed = (key) => new KeyboardEvent('keydown', {key, shiftKey: true, bubbles: true});"
        "const key = (name) => stage.dispatchEvent(typed(name));"
        "for (let n = 0; n < 40; n++) key('ArrowRight'); seen();"
        "const box = stage.getBoundingClientRect();"
        "stage.setPointerCapture = () => {};"  # events of a script have no pointer
        "stage.dispatchEvent(new PointerEvent('pointerdown', {clientX: box.left + 1, clientY: box.top + 1}));"
        "seen(); key('+'); document.title = found.join('|') + '|' + zoom.value;"
    )
    _, document = _screenshot(tmp_path / "p.html", read, 1000, 800)
    (title,) = re.findall(r"<title>(.*?)</title>", document)
    red, blue = ("{},{},{},255".format(*each) for each in (RED, BLUE))
    assert title.split("|") == [f"{red} {red}", f"{blue} {blue}", f"{red} {red}", "8"]
