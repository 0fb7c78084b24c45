"""One HTML page of facts, tables, charts, pictures and clips. Nothing is fetched; everything put in is escaped."""

import base64
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import quote

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.core.errors import DataError
from pipeline.io.charts import DASHES

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PHOTOGRAPHS = 200_000  # bytes: no drawing is as large
QUALITY = 80  # of WebP: lettering stays clean


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table."""

    text: str
    kind: Literal["text", "number", "best", "good", "bad", "quiet", "digest", "interval"] = "text"
    interval: tuple[float, float, float] = (0.0, 0.0, 0.0)  # low, estimate, high in 0..1, for kind interval


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of a row is its heading."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    source: str  # the file that the values come from


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in the page itself."""

    kind: ClassVar[str] = "picture"
    caption: str
    alt: str  # what it shows, for those who cannot see it
    source: str
    uri: str = ""  # see `embedded`
    wide: bool = False  # whether it needs the page's whole width to be read


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of figures, in the page's own colours; `charts` makes the markup."""

    kind: ClassVar[str] = "chart"
    caption: str
    alt: str  # what it says, in words
    source: str
    svg: Markup
    legend: tuple[str, ...] = ()  # names of the series, in the order of their colours; one series needs none
    values: Table | None = None  # the figures drawn, where no table of the section has them
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Video:
    """A clip that plays on the page, from a file beside it: clips are too large to be a part of the page."""

    kind: ClassVar[str] = "video"
    caption: str
    alt: str  # what happens in it, in words
    source: str  # the file with the figures that the caption tells
    src: str  # the clip's path relative to the page, parts separated by `/`
    poster: str = ""  # data URI of a still, see `embedded`
    wide: bool = False


Media = Picture | Chart | Video


@dataclass(frozen=True, slots=True)
class Section:
    """One chapter of the page."""

    name: str  # its anchor
    title: str
    question: str
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Media, ...] = ()
    source: str = ""  # the file that the facts come from


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the few figures that everyone should know."""

    title: str
    value: str
    note: str  # how sure it is, or what it rests on
    section: str  # the anchor of the section that tells more
    source: str


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page; the verdict comes first, where there is one."""

    title: str
    subtitle: str
    passed: bool
    verdict: str
    reasons: tuple[str, ...]  # or the conditions of a promotion
    sections: tuple[Section, ...]
    conditional: bool = False  # passed, but under conditions
    command: str = "dvc repro report"  # what makes it
    headlines: tuple[Headline, ...] = ()


@functools.cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.io"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["url"] = quote
    environment.globals["dashes"] = DASHES
    return environment


def render(page: Page) -> bytes:
    """The page as HTML, UTF-8; the same page gives the same bytes.

    The script is allowed by its hash alone: nothing that is put into the page can run, whatever it says.
    """
    templates = _templates()
    style, script = (Markup(templates.get_template(name).render()) for name in ("report.css", "report.js"))  # noqa: S704 - ours
    told = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    clips = any(it.kind == Video.kind for section in page.sections for it in section.pictures)
    values = {"page": page, "style": style, "script": script, "script_hash": told, "clips": clips}
    return templates.get_template("report.html").render(values).encode()


def text(value: object) -> Cell:
    """A cell of text."""
    return Cell(str(value))


def digest(value: object) -> Cell:
    """A cell of a hash, which may break anywhere."""
    return Cell(str(value), "digest")


def number(value: float | None, digits: int = 3) -> Cell:
    """A cell of a number; a dash where the figure is not defined."""
    return Cell("-" if value is None else figure(value, digits), "number")


def figure(value: float, digits: int = 3) -> str:
    """A number as text: whole ones in groups of three digits, others with so many decimals, tiny ones with digits."""
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    return f"{value:.{digits}g}" if 0 < abs(value) < 10**-digits else f"{value:.{digits}f}"


def mark(text: str, *, good: bool) -> Cell:
    """A cell that judges: by its words and a sign first, by colour second."""
    return Cell(text, "good" if good else "bad")


def interval(low: float, estimate: float, high: float) -> Cell:
    """A cell with an estimate and its confidence interval, all in 0..1, drawn and written."""
    return Cell(f"{low:.3f} to {high:.3f}", "interval", (low, estimate, high))


def embedded(path: Path) -> str:
    """The data URI of a PNG or JPEG file. A PNG of photographs goes in as WebP, because pages are mailed.

    Raises:
        DataError: the file is missing or neither of them.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    if data.startswith(JPEG):
        return _uri("jpeg", data)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data.startswith(PNG) else None
    if image is None:
        raise DataError(f"{path} is neither PNG nor JPEG")
    if len(data) < PHOTOGRAPHS:
        return _uri("png", data)
    return _uri("webp", cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
