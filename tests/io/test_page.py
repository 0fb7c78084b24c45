import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.io.page import (
    Cell,
    Page,
    Picture,
    Section,
    Table,
    embedded,
    figure,
    interval,
    line_chart,
    mark,
    number,
    render,
    text,
)

HOSTILE = "<script>alert(1)</script>\"'&"
VOID = {"meta", "img", "line", "circle", "path", "use", "br"}


class Reader(HTMLParser):
    """What a browser would see: the text, the tags with their attributes, and whether they close in order."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    path = tmp_path / "figure.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((2, 3, 3), np.uint8))[1].tobytes())
    return path


def page(word: str = "lobby", picture: Picture | None = None) -> Page:
    rows = ((text(word), number(1200), mark(word, good=False), interval(0.25, 0.5, 0.75)),)
    chart = Picture(
        "Loss", f"Loss of {word}", "models/curves.jsonl", svg=line_chart("loss", {"loss": [(1, 2.0)]}, "x", "y")
    )
    section = Section(
        "data",
        "Data",
        "What is there?",
        ((word, word),),
        (word,),
        (Table(word, ("Camera", "Frames", "Verdict", "Recall"), rows, "data/frames.json"),),
        (chart, picture) if picture else (chart,),
        "data/facts.json",
    )
    return Page(f"Iteration {word}", word, passed=False, verdict=word, reasons=(word,), sections=(section,))


def test_the_same_page_gives_the_same_bytes() -> None:
    assert render(page()) == render(page())


def test_it_is_well_formed_and_names_its_parts(picture_file: Path) -> None:
    picture = Picture("Worst frames", "A sheet of frames", "reports/gallery.png", embedded(picture_file))
    seen = Reader(render(page(picture=picture)))
    assert seen.open == []
    assert [tag for tag, _ in seen.tags if re.fullmatch(r"h\d", tag)] == ["h1", "h2", "h2"]
    assert seen.all("html") == [{"lang": "en"}]
    assert {"class": "skip", "href": "#content"} in seen.all("a")
    assert {"id": "content"} in seen.all("main")
    assert [it["alt"] for it in seen.all("img")] == ["A sheet of frames"]
    assert [it["scope"] for it in seen.all("th")] == ["col"] * 4 + ["row"]
    assert len(seen.all("caption")) == 1
    for source in ("data/facts.json", "data/frames.json", "models/curves.jsonl", "reports/gallery.png"):
        assert source in seen.text


def test_nothing_is_fetched(picture_file: Path) -> None:
    seen = Reader(render(page(picture=Picture("a", "b", "c", embedded(picture_file)))))
    assert not [tag for tag, _ in seen.tags if tag in {"script", "link", "iframe", "object", "base"}]
    loaded = [value for _, it in seen.tags for key, value in it.items() if key in {"src", "href", "xlink:href"}]
    assert all(value.startswith(("data:", "#")) for value in loaded)
    assert "default-src 'none'" in seen.all("meta")[3]["content"]


def test_everything_put_in_is_escaped() -> None:
    html = render(page(HOSTILE)).decode()
    seen = Reader(html.encode())
    assert not seen.all("script")
    assert HOSTILE in seen.text
    assert not [it for _, it in seen.tags if "onerror" in it]
    assert "<script" not in html


def test_a_verdict_is_told_in_words_and_signs_not_by_colour_alone() -> None:
    good = Page("t", "s", passed=True, verdict="May be promoted", reasons=(), sections=())
    assert "✓ May be promoted" in " ".join(Reader(render(good)).text.split())
    assert "✗ lobby" in " ".join(Reader(render(page())).text.split())
    thin = Page("t", "s", passed=True, verdict="With conditions", reasons=("few",), sections=(), conditional=True)
    assert [it["class"] for it in Reader(render(thin)).all("div") if "verdict" in it["class"]] == ["verdict open"]
    assert "✓ With conditions few" in " ".join(Reader(render(thin)).text.split())


def test_a_chart_is_a_picture_in_the_pages_colour_with_the_same_bytes() -> None:
    lines = {"val/AP": [(1.0, 0.1), (2.0, 0.4)], "a < b & c": [(2.0, 0.5)]}
    chart = line_chart("ap", lines, "epoch", "AP")
    assert chart == line_chart("ap", lines, "epoch", "AP")
    words = {"".join(e.itertext()) for e in ET.fromstring(chart).iter() if e.tag.endswith("}text")}  # noqa: S314 - ours
    assert {"val/AP", "a < b & c", "epoch", "AP"} <= words
    assert "currentColor" in chart
    assert "#010203" not in chart
    assert "date" not in chart.lower()


def test_two_charts_share_no_id() -> None:
    lines = {"loss": [(1.0, 0.1), (2.0, 0.4)]}
    ids = [set(re.findall(r' id="([^"]+)"', line_chart(name, lines, "x", "y"))) for name in ("one", "two")]
    drawn = [{i for i in found if re.fullmatch(r"[a-z][0-9a-f]{10}", i)} for found in ids]
    assert drawn[0]
    assert not drawn[0] & drawn[1]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(7, "7", id="small"),
        pytest.param(1234567, "1\u202f234\u202f567", id="thousands"),
        pytest.param(0.12345, "0.123", id="fraction"),
        pytest.param(0.0, "0.000", id="nothing"),
        pytest.param(0.000123456, "0.000123", id="tiny"),
        pytest.param(1.5e-7, "1.5e-07", id="tinier"),
    ],
)
def test_figures(value: float, shown: str) -> None:
    assert figure(value) == shown
    assert number(value) == Cell(shown, "number")


def test_what_is_not_defined_is_a_dash() -> None:
    assert number(None) == Cell("-", "number")


def test_png_is_whole(picture_file: Path) -> None:
    assert base64.b64decode(embedded(picture_file).removeprefix("data:image/png;base64,")) == picture_file.read_bytes()


def test_a_sheet_of_photographs_goes_in_as_jpeg(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photograph = cv2.resize(rng.integers(0, 256, (90, 160, 3), np.uint8), (1600, 900), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / "sheet.png"
    path.write_bytes(cv2.imencode(".png", photograph)[1].tobytes())
    jpeg = base64.b64decode(embedded(path).removeprefix("data:image/jpeg;base64,"))
    assert len(jpeg) < path.stat().st_size / 2
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert np.abs(shown.astype(int) - photograph).mean() < 5


@pytest.mark.parametrize(
    ("content", "told"),
    [pytest.param(None, "does not exist", id="missing"), pytest.param(b"<svg onload=x>", "is no PNG", id="no png")],
)
def test_png_that_is_none_is_an_error(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=told):
        embedded(path)
