"""One self-contained HTML page of facts, tables and pictures. Nothing is fetched; everything put in is escaped."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Literal

import cv2
import matplotlib as mpl
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from pipeline.core.errors import DataError

INK = "#010203"  # stands for the page's own text colour in a chart
COLORS = ("#2f6fde", "#d9822b", "#1f9e75", "#b0489b", "#8a8f98")  # apart from one another on white and on black
PNG = b"\x89PNG\r\n\x1a\n"
PHOTOGRAPHS = 400_000  # bytes: no chart is as large


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
    """A picture: the data URI of an image, or the markup of a chart."""

    caption: str
    alt: str
    source: str
    uri: str = ""
    svg: str = ""  # markup that is safe as it is: only the charts below make it
    wide: bool = False  # whether it needs the page's whole width to be read


@dataclass(frozen=True, slots=True)
class Section:
    """One chapter of the page."""

    name: str  # its anchor
    title: str
    question: str
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    source: str = ""  # the file that the facts come from


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


def render(page: Page) -> bytes:
    """The page as HTML, UTF-8; the same page gives the same bytes."""
    environment = Environment(
        loader=PackageLoader("pipeline.io"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(page=page).encode()


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
    """The data URI of a PNG file. A sheet of photographs goes in as JPEG, because pages are mailed.

    Raises:
        DataError: the file is missing or no PNG.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    if not data.startswith(PNG):
        raise DataError(f"{path} is no PNG")
    if len(data) < PHOTOGRAPHS:
        return f"data:image/png;base64,{base64.b64encode(data).decode()}"
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path} is no PNG")
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def line_chart(name: str, lines: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str) -> Markup:
    """Lines over whole numbers as the markup of an SVG in the page's text colour; the same bytes for the same points.

    Args:
        name: unique on the page; it makes the ids inside the picture unique.
        lines: points by label.
        x: label of the axis.
        y: label of the axis.
    """
    with _chart(name) as (chart, axes):
        for (label, points), color in zip(lines.items(), cycle(COLORS), strict=False):
            marker = "o" if len(points) <= 12 else ""
            axes.plot(*zip(*points, strict=True), label=label, color=color, linewidth=1.8, marker=marker)
        _plain(axes, x, y)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, labelcolor=INK)
        return _markup(chart)


def scatter_chart(name: str, points: Sequence[tuple[str, float, float]], x: str, y: str) -> Markup:
    """Named points over a logarithmic axis, as `line_chart`.

    Args:
        name: unique on the page.
        points: label, x above 0, and y.
        x: label of the axis.
        y: label of the axis.
    """
    with _chart(name) as (chart, axes):
        axes.set_xscale("log")
        for (label, price, value), color in zip(points, cycle(COLORS), strict=False):
            axes.plot(price, value, "o", color=color, markersize=8)
            axes.annotate(label, (price, value), (0, 7), textcoords="offset points", color=INK, ha="center", fontsize=9)
        _plain(axes, x, y)
        axes.margins(0.18, 0.22)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
        return _markup(chart)


@contextmanager
def _chart(name: str) -> Iterator[tuple[Figure, Axes]]:
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10.0}):
        chart = Figure(figsize=(5.6, 3.0), layout="constrained")
        yield chart, chart.add_subplot()


def _markup(chart: Figure) -> Markup:
    out = io.StringIO()
    chart.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = out.getvalue()
    return Markup(svg[svg.index("<svg") :].replace(INK, "currentColor"))  # noqa: S704 - matplotlib escapes its texts


def _plain(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(colors=INK)
    axes.grid(color=INK, alpha=0.12)
    axes.spines[:].set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
