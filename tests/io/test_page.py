import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from markupsafe import Markup

from pipeline.core.errors import DataError
from pipeline.io.charts import COLOURS, lines
from pipeline.io.page import (
    Cell,
    Chart,
    Headline,
    Media,
    Page,
    Picture,
    Section,
    Table,
    Video,
    embedded,
    figure,
    interval,
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


def page(word: str = "lobby", picture: Media | None = None) -> Page:
    rows = ((text(word), number(1200), mark(word, good=False), interval(0.25, 0.5, 0.75)),)
    chart = Chart("Loss", f"Loss of {word}", "models/curves.jsonl", lines({word: [(1, 2.0)]}, word, "y"))
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
    assert [tag for tag, _ in seen.tags if re.fullmatch(r"h\d", tag)] == ["h1", "h2", "h2", "h2"]
    assert seen.all("html") == [{"lang": "en"}]
    assert {"class": "skip", "href": "#content"} in seen.all("a")
    assert [it["id"] for it in seen.all("main")] == ["content"]
    assert [it["alt"] for it in seen.all("img")] == ["A sheet of frames"]
    assert [it["scope"] for it in seen.all("th")] == ["col"] * 4 + ["row"]
    assert len(seen.all("caption")) == 1
    for source in ("data/facts.json", "data/frames.json", "models/curves.jsonl", "reports/gallery.png"):
        assert source in seen.text


def test_nothing_is_fetched(picture_file: Path) -> None:
    seen = Reader(render(page(picture=Picture("a", "b", "c", embedded(picture_file)))))
    assert not [tag for tag, _ in seen.tags if tag in {"link", "iframe", "object", "base"}]
    loaded = [value for _, it in seen.tags for key, value in it.items() if key in {"src", "href", "xlink:href"}]
    assert seen.all("script") == [{}]
    assert all(value.startswith(("data:", "#")) for value in loaded)
    assert "default-src 'none'" in seen.all("meta")[3]["content"]


def test_everything_put_in_is_escaped() -> None:
    html = render(page(HOSTILE)).decode()
    seen = Reader(html.encode())
    assert len(seen.all("script")) == html.count("<script") == 1
    assert HOSTILE in seen.text
    assert not [it for _, it in seen.tags if "onerror" in it]


def test_a_verdict_is_told_in_words_and_signs_not_by_colour_alone() -> None:
    good = Page("t", "s", passed=True, verdict="May be promoted", reasons=(), sections=())
    assert "✓ May be promoted" in " ".join(Reader(render(good)).text.split())
    assert "✗ lobby" in " ".join(Reader(render(page())).text.split())
    thin = Page("t", "s", passed=True, verdict="With conditions", reasons=("few",), sections=(), conditional=True)
    assert [it["class"] for it in Reader(render(thin)).all("div") if "verdict" in it.get("class", "")] == [
        "verdict open"
    ]
    assert "✓ With conditions few" in " ".join(Reader(render(thin)).text.split())


RATIO_TEXT, RATIO_GRAPHICS = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11, level AA
PAIRS = [  # colour, what it lies on, ratio
    *[(ink, paper, RATIO_TEXT) for ink in ("ink", "soft", "accent") for paper in ("paper", "card")],
    *[(verdict, f"{verdict}-paper", RATIO_TEXT) for verdict in ("good", "bad", "open")],
    *[("ink", f"{verdict}-paper", RATIO_TEXT) for verdict in ("good", "bad", "open")],
    *[(verdict, "card", RATIO_TEXT) for verdict in ("good", "bad")],
    *[(f"c{i}", "card", RATIO_GRAPHICS) for i in range(1, COLOURS + 1)],
    ("card", "ink", RATIO_TEXT),  # the tip of a chart
]


def colours() -> dict[str, dict[str, str]]:
    """The variables of the style sheet, as they hold in each way to look at the page."""
    css = render(page()).decode()
    light, dark, paper = (
        dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6});", it))
        for it in re.findall(r":root {(.*?)}", css, re.DOTALL)
    )
    return {"light": light, "dark": light | dark, "print": light | paper}


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (it / 12.92 if it <= 0.04045 else ((it + 0.055) / 1.055) ** 2.4 for it in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_what_wcag_computes() -> None:  # the two ends, and a pair that is known to be just too pale
    assert contrast("#ffffff", "#000") == pytest.approx(21)
    assert contrast("#fff", "#777777") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("way", ["light", "dark", "print"])
@pytest.mark.parametrize(("colour", "ground", "least"), PAIRS)
def test_colours_stand_out(way: str, colour: str, ground: str, least: float) -> None:
    of = colours()[way]
    assert contrast(of[colour], of[ground]) >= least


def test_the_script_is_allowed_by_its_hash_and_no_other() -> None:
    html = render(page()).decode()
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == html.count("<script") == 1
    told = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = Reader(html.encode()).all("meta")[3]["content"]
    assert f"script-src 'sha256-{told}';" in policy
    assert "unsafe-eval" not in policy


def clip(name: str = "fieldtest/clips/missed 1.mp4") -> Video:
    return Video(
        "A missed event",
        "A person walks by the door",
        "reports/fieldtest/events.json",
        name,
        "data:image/png;base64,AA",
    )


def test_a_clip_is_a_file_beside_the_page_that_waits_to_be_played() -> None:
    html = render(page(picture=clip()))
    seen = Reader(html)
    (video,) = seen.all("video")
    assert video["src"] == "fieldtest/clips/missed%201.mp4"
    assert video["preload"] == "none"
    assert "controls" in video
    assert "data:image/png;base64,AA" in [it["src"] for it in seen.all("img") if it.get("class") == "still"]
    assert video["aria-label"] == "A person walks by the door"
    assert {"href": "fieldtest/clips/missed%201.mp4"} in seen.all("a")  # for a browser that cannot play it
    assert "A missed event" in seen.text
    assert "reports/fieldtest/events.json" in seen.text
    assert "the clips are files beside it" in seen.text
    assert "the clips are files beside it" not in Reader(render(page())).text


def test_a_clip_of_a_hostile_name_stays_a_name() -> None:
    seen = Reader(render(page(picture=clip('"><script>javascript:x'))))
    assert seen.all("video")[0]["src"] == "%22%3E%3Cscript%3Ejavascript%3Ax"


def test_a_chart_has_its_words_its_legend_and_its_figures() -> None:
    table = Table("Loss, every figure", ("Epoch", "loss"), ((number(1), number(2.0)),), "models/curves.jsonl")
    chart = Chart(
        "Loss", "Loss falls", "models/curves.jsonl", svg=Markup("<svg></svg>"), legend=("loss", "lr"), values=table
    )
    seen = Reader(render(page(picture=chart)))
    assert "Loss falls" in [it.get("aria-label") for it in seen.all("div") if it.get("role") == "img"]
    assert [it["data-series"] for it in seen.all("li") if "data-series" in it] == ["1", "2"]
    assert len(seen.all("details")) == 1
    assert "Loss, every figure" in seen.text


def test_headlines_lead_to_their_sections() -> None:
    it = Page(
        "t", "s", passed=True, verdict="v", reasons=(), sections=(Section("data", "Data", "?"),),
        headlines=(Headline("AP50", "0.913", "412 objects", "data", "reports/metrics.json"),),
    )  # fmt: skip
    seen = Reader(render(it))
    assert "AP500.913412 objectsSource: reports/metrics.json" in seen.text
    assert [it["href"] for it in seen.all("a")] == ["#content", "#data", "#data", "#data"]


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


def test_jpeg_goes_in_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "still.jpg"
    path.write_bytes(cv2.imencode(".jpg", np.zeros((9, 9, 3), np.uint8))[1].tobytes())
    assert base64.b64decode(embedded(path).removeprefix("data:image/jpeg;base64,")) == path.read_bytes()


def test_a_sheet_of_photographs_goes_in_as_webp(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photograph = cv2.resize(rng.integers(0, 256, (90, 160, 3), np.uint8), (1600, 900), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / "sheet.png"
    path.write_bytes(cv2.imencode(".png", photograph)[1].tobytes())
    webp = base64.b64decode(embedded(path).removeprefix("data:image/webp;base64,"))
    assert len(webp) < path.stat().st_size / 2
    shown = cv2.imdecode(np.frombuffer(webp, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert np.abs(shown.astype(int) - photograph).mean() < 5


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(None, "does not exist", id="missing"),
        pytest.param(b"<svg onload=x>", "is neither PNG nor JPEG", id="no picture"),
    ],
)
def test_a_picture_that_is_none_is_an_error(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=told):
        embedded(path)
