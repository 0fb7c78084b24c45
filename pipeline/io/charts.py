"""Charts of the page as SVG: Vega-Lite specifications, drawn when the page is made. Same figures, same bytes.

The page gets the drawing and not the library, which would weigh more than all charts together. Colours are the style
sheet's variables, so a chart follows the page into the dark and onto paper. A mark carries its exact figures in
`data-tip`, which the page's script shows to a pointer or to the arrow keys.
"""

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import floor, log10
from typing import Any
from xml.etree import ElementTree as ET

from markupsafe import Markup

VERSION = "6.4"  # of Vega-Lite, among those that vl-convert carries
COLOURS = 6  # --c1 ... of the style sheet; further series begin again
DASHES = ([1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [4, 5], [1, 3])  # a second sign beside the colour
WIDTH, HEIGHT, STEP = 310, 180, 22  # px of the plot, and of one row: readable at the 390 px of a phone
ROWS_WIDTH, LABEL = 200, 150
SCALE = 1.15  # of the drawing where the page has the room
FEW = 15  # points of a line that are drawn as dots; more are seen under the pointer
MOST = 300  # points of a chart that tell their figures: each takes some 150 bytes
INK, SOFT, LINE = "var(--ink)", "var(--soft)", "var(--line)"
FIRST, SECOND = "var(--c1)", "var(--c2)"
CONFIG = {
    "font": "sans-serif",
    "view": {"stroke": None},
    "text": {"fontSize": 12},
    "axis": {
        "labelColor": SOFT,
        "titleColor": INK,
        "gridColor": LINE,
        "domainColor": SOFT,
        "tickColor": SOFT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "tickSize": 4,
        "aria": False,
        "labelFlush": False,
        "labelOverlap": "greedy",
    },
}
SILENT = {  # attributes that say nothing here: the picture as a whole has its words
    *("class", "role", "aria-hidden", "aria-roledescription", "pointer-events", "font-family", "version"),
    *("stroke-miterlimit",),
}
PLAIN = {"opacity": "1", "stroke-width": "1", "transform": "translate(0,0)", "stroke-dasharray": "1,0"}
FINE = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")
PLACES = {"d", "transform", "x", "y", "x2", "y2", "width", "height"}

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a chart of rows: a figure with its interval, or what could not be measured."""

    label: str
    value: float | None = None  # None: `note` says why
    low: float | None = None
    high: float | None = None
    note: str = ""  # what it rests on
    parts: tuple[tuple[str, float], ...] = ()  # figures that the value is the mean of, by name, the mildest first


def lines(
    series: Mapping[str, Points],
    x: str,
    y: str,
    *,
    whole: bool = False,
    shares: bool = False,
    marked: Mapping[str, tuple[float, float]] | None = None,
) -> Markup:
    """Lines, each with a colour and a dash of its own.

    Args:
        series: points by name.
        x: title of the axis.
        y: title of the axis.
        whole: x has whole numbers alone, as epochs.
        shares: both axes are 0 to 1.
        marked: a point of each series that matters most, by name.
    """
    rows = [
        {"x": a, "y": b, "series": name, "n": n, "tip": f"{name}: {_short(b)} at {x} {_short(a)}"}
        for name, points in series.items()
        for n, (a, b) in enumerate(points)
    ]
    nth = max(1, -(-len(rows) // MOST))
    stars = [
        {"x": a, "y": b, "series": name, "tip": f"{name}, operating point: {y} {_short(b)}, {x} {_short(a)}"}
        for name, (a, b) in (marked or {}).items()
    ]
    few = all(len(points) <= FEW for points in series.values())
    dash = {"field": "series", "scale": _by_series(series, DASHES), "legend": None}
    tip = {"description": {"field": "tip"}}
    dot = {"type": "point", "filled": True, "shape": "circle"}
    limits = {"domain": [0, 1]} if shares else {}
    colour = {"field": "series", "type": "nominal", "legend": None}
    return _draw(
        {
            "width": WIDTH,
            "height": HEIGHT,
            "data": {"values": rows},
            "encoding": {
                "x": _axis("x", x, {"zero": False, **limits}, {"tickMinStep": 1, "format": "d"} if whole else {}),
                "y": _axis("y", y, {"zero": True, **limits}),
                "color": colour | {"scale": _by_series(series, [f"var(--c{i})" for i in range(1, COLOURS + 1)])},
            },
            "layer": [
                {"mark": {"type": "line", "strokeWidth": 2, "aria": False}, "encoding": {"strokeDash": dash}},
                _only(f"datum.n % {nth} == 0")
                | {"mark": dot | {"size": 28, "opacity": 1 if few else 0}, "encoding": tip},
                {"data": {"values": stars}, "mark": dot | {"size": 90, "opacity": 1}, "encoding": tip},
            ],
        }
    )


def dots(rows: Sequence[Row], x: str, *, asked: float | None = None, shares: bool = True) -> Markup:
    """Rows of estimates with their intervals; what could not be measured says why.

    Args:
        rows: from top to bottom.
        x: title of the axis.
        asked: what is asked for, as a broken line.
        shares: the axis is 0 to 1, not as far as the figures go.
    """
    mark = {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": FIRST}, "encoding": _tip()}
    return _rows(rows, x, [mark], asked, [0, 1] if shares else None)


def bars(rows: Sequence[Row], x: str, *, asked: float | None = None, shares: bool = False) -> Markup:
    """Rows of bars from 0, as `dots`; over a bar, the figures it is the mean of, the mildest palest."""
    bar = {"mark": {"type": "bar", "height": 12, "color": FIRST}, "encoding": _tip()}
    parts = [
        {
            "i": i,
            "value": value,
            "tip": f"{row.label}, {name}: {_short(value)}",
            "strength": 0.4 + 0.6 * n / len(row.parts),
        }
        for i, row in enumerate(rows)
        for n, (name, value) in enumerate(row.parts, start=1)
    ]
    strength = {"field": "strength", "type": "quantitative", "scale": None, "legend": None}
    tick = {
        "data": {"values": parts},
        "mark": {"type": "tick", "thickness": 3, "size": 18, "color": SECOND},
        "encoding": _tip() | {"opacity": strength},
    }
    return _rows(rows, x, [bar, *([tick] if parts else [])], asked, [0, 1] if shares else None)


def histogram(bins: Sequence[tuple[float, float, float]], x: str, y: str, *, mean: float | None) -> Markup:
    """Columns over an axis.

    Args:
        bins: low end, high end and height of each.
        x: title of the axis.
        y: title of the axis.
        mean: of what was counted, as a broken line.
    """
    rows = [
        {"low": low, "high": high, "y": count, "tip": f"{low:g} to {high:g}: {_short(count)} {y.lower()}"}
        for low, high, count in bins
    ]
    ends = [bins[0][0], bins[-1][1]] if bins else [0, 1]
    column = {
        "mark": {"type": "bar", "color": FIRST, "binSpacing": 1},
        "encoding": {
            "x": _axis("low", x, {"domain": ends, "zero": False}, {"tickCount": 5}) | {"bin": "binned"},
            "x2": {"field": "high"},
            "y": _axis("y", y, {"zero": True}, {"tickMinStep": 1}),
            "description": {"field": "tip"},
        },
    }
    layers = [column, *_broken("x", x, mean)]
    return _draw({"width": WIDTH, "height": HEIGHT, "data": {"values": rows}, "layer": layers})


def scatter(points: Sequence[tuple[str, float, float]], x: str, y: str) -> Markup:
    """Named points over a logarithmic axis.

    Args:
        points: label, x above 0, and y.
        x: title of the axis.
        y: title of the axis.
    """
    rows = [
        {"x": a, "y": b, "label": label, "tip": f"{label}: {y} {_short(b)} at {x} {_short(a)}"}
        for label, a, b in points
    ]
    xs, ys = [a for _, a, _ in points], [b for _, _, b in points]
    low, high = min(xs) / 1.6, max(xs) * 1.6
    steps = [step * 10.0**power for power in range(floor(log10(low)), floor(log10(high)) + 1) for step in (1, 2, 5)]
    slack = 0.2 * (max(ys) - min(ys)) or 0.1
    return _draw(
        {
            "width": WIDTH,
            "height": HEIGHT,
            "data": {"values": rows},
            "encoding": {
                "x": _axis("x", x, {"type": "log", "domain": [low, high]}, {"format": "~g", "values": steps}),
                "y": _axis("y", y, {"domain": [min(ys) - slack, max(ys) + slack], "nice": False}),
            },
            "layer": [
                {
                    "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "color": FIRST},
                    "encoding": {"description": {"field": "tip"}},
                },
                {
                    "mark": {"type": "text", "dy": -12, "color": INK, "aria": False},
                    "encoding": {"text": {"field": "label"}},
                },
            ],
        }
    )


def _rows(
    rows: Sequence[Row], x: str, marks: list[dict[str, Any]], asked: float | None, domain: list[float] | None
) -> Markup:
    """Labels at the left, marks and intervals in the middle, notes at the right."""
    values = [{"i": i, "tip": _told(row), **asdict(row), "parts": None} for i, row in enumerate(rows)]
    limits: dict[str, Any] = {"domain": domain} if domain else {"zero": True}
    interval = {"type": "rule", "strokeWidth": 2.5, "color": FIRST, "aria": False}
    in_rows = [
        _text("true", "label", -10, "right", {"color": INK, "limit": LABEL}),
        _text("datum.value != null", "note", ROWS_WIDTH + 8, "left", {"color": SOFT}),
        _text("datum.value == null", "note", 4, "left", {"color": SOFT, "limit": ROWS_WIDTH + 60}),
        _only("datum.low != null") | {"mark": interval, "encoding": {"x": {"field": "low"}, "x2": {"field": "high"}}},
        *(_only("datum.value != null") | mark for mark in marks),
    ]
    row = {"field": "i", "type": "ordinal", "axis": None, "scale": {"domain": list(range(len(rows)))}}
    return _draw(
        {
            "width": ROWS_WIDTH,
            "height": {"step": STEP},
            "data": {"values": values},
            "encoding": {"x": _axis("value", x, limits, {"tickCount": 5})},
            "layer": [it | {"encoding": {"y": row, **it["encoding"]}} for it in in_rows] + _broken("x", x, asked),
        }
    )


def _text(test: str, field: str, x: int, align: str, look: Mapping[str, Any]) -> dict[str, Any]:
    mark = {"type": "text", "align": align, "aria": False, **look}
    return _only(test) | {"mark": mark, "encoding": {"x": {"value": x}, "text": {"field": field}}}


def _only(test: str) -> dict[str, Any]:
    return {"transform": [{"filter": test}]}


def _told(row: Row) -> str:
    value = "" if row.value is None else _short(row.value)
    sure = "" if row.low is None or row.high is None else f" ({_short(row.low)} to {_short(row.high)})"
    return f"{row.label}: {', '.join(filter(None, (value + sure, row.note)))}"


def _tip() -> dict[str, Any]:
    return {"description": {"field": "tip"}}


def _broken(axis: str, title: str, value: float | None) -> list[dict[str, Any]]:
    """A broken line across the plot; none where there is no value."""
    rule = {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5, "color": SECOND, "aria": False}
    place = {"field": "at", "type": "quantitative", "title": title}
    drawn = {"data": {"values": [{"at": value}]}, "mark": rule, "encoding": {axis: place}}
    return [] if value is None else [drawn]


def _axis(field: str, title: str, scale: Mapping[str, Any], axis: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "title": title, "scale": dict(scale), "axis": dict(axis or {})}


def _by_series(names: Iterable[str], values: Sequence[object]) -> dict[str, Any]:
    named = list(names)
    return {"domain": named, "range": [values[i % len(values)] for i in range(len(named))]}


def _short(value: float) -> str:
    return f"{value:.4g}"


def _draw(spec: Mapping[str, Any]) -> Markup:
    return _drawn(json.dumps({"background": None, "padding": 6, "config": CONFIG, **spec}, sort_keys=True))


@functools.lru_cache(maxsize=256)
def _drawn(spec: str) -> Markup:
    import vl_convert  # noqa: PLC0415 - 80 MB that only a page with charts needs

    return Markup(slim(vl_convert.vegalite_to_svg(spec, vl_version=VERSION, allowed_base_urls=[])))  # noqa: S704 - escaped


def slim(svg: str) -> str:
    """The same drawing as markup for inside a page, in about half the bytes; `aria-label` becomes `data-tip`."""
    root = ET.fromstring(svg)  # noqa: S314 - made here
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        kept = {key: _rounded(key, value) for key, value in element.attrib.items() if key not in SILENT}
        tip = {"data-tip": kept.pop("aria-label")} if "aria-label" in kept else {}
        element.attrib = {key: value for key, value in kept.items() if PLAIN.get(key) != value} | tip
    _prune(root)
    root.set("width", f"{float(root.attrib['width']) * SCALE:.0f}")
    root.attrib.pop("height")  # the style sheet keeps the shape, as the page may be narrower
    return ET.tostring(root, encoding="unicode")


def _rounded(key: str, value: str) -> str:
    return FINE.sub(lambda found: f"{float(found[0]):.1f}", value) if key in PLACES else value


def _prune(element: ET.Element) -> None:
    """Leave out paths that nobody sees, and groups without anything in them or with nothing to say of it."""
    kept: list[ET.Element] = []
    for child in element:
        _prune(child)
        unseen = child.tag == "path" and not {"fill", "stroke"} & child.attrib.keys()
        kept += [] if unseen else [*child] if child.tag == "g" and not child.attrib else [child]
    element[:] = [child for child in kept if child.tag != "g" or len(child)]
