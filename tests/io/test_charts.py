"""Charts as a browser gets them: read back from the markup, in pixels of the plot."""

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from markupsafe import Markup

from pipeline.io.charts import DASHES, HEIGHT, ROWS_WIDTH, STEP, WIDTH, Row, bars, dots, histogram, lines, scatter, slim

HOSTILE = "</text><script>alert(1)</script>\"'&"
PLACE = re.compile(r"translate\((-?[\d.]+),(-?[\d.]+)\)")


def tree(chart: Markup) -> ET.Element:
    return ET.fromstring(chart)  # noqa: S314 - ours


def words(chart: Markup) -> list[str]:
    return ["".join(it.itertext()) for it in tree(chart).iter("text")]


def tips(chart: Markup) -> dict[str, ET.Element]:
    return {it.attrib["data-tip"]: it for it in tree(chart).iter() if "data-tip" in it.attrib}


def place(element: ET.Element) -> tuple[float, float]:
    found = PLACE.search(element.attrib.get("transform", "translate(0,0)"))
    assert found
    return float(found[1]), float(found[2])


def test_the_same_figures_give_the_same_bytes() -> None:
    from pipeline.io.charts import _drawn  # noqa: PLC0415 - what was drawn before is kept; here it must not be

    first = lines({"loss": [(1, 2.0), (2, 1.0)]}, "epoch", "loss")
    _drawn.cache_clear()
    assert lines({"loss": [(1, 2.0), (2, 1.0)]}, "epoch", "loss") == first


def test_a_line_runs_through_its_points_on_the_pages_colours() -> None:
    chart = lines({"a": [(0, 0.0), (0.5, 1.0), (1, 0.5)], "b": [(0, 0.25)]}, "recall", "precision", shares=True)
    drawn = [it.attrib for it in tree(chart).iter("path") if it.attrib.get("stroke") == "var(--c1)"]
    assert [it["d"] for it in drawn] == [f"M0,{HEIGHT}L{WIDTH // 2},0L{WIDTH},{HEIGHT // 2}"]
    assert place(tips(chart)["b: 0.25 at recall 0"]) == (0, 0.75 * HEIGHT)
    assert not re.findall(r'(?:fill|stroke)="#', chart)  # every colour is the style sheet's
    assert {"recall", "precision"} <= set(words(chart))


def test_series_differ_by_more_than_their_colour() -> None:
    chart = lines({name: [(0, 1.0), (1, 0.0)] for name in "abc"}, "x", "y")
    drawn = [it.attrib for it in tree(chart).iter("path") if "stroke" in it.attrib and "data-tip" not in it.attrib]
    assert [it["stroke"] for it in drawn] == ["var(--c1)", "var(--c2)", "var(--c3)"]
    assert [it.get("stroke-dasharray") for it in drawn] == [None, *(",".join(map(str, it)) for it in DASHES[1:3])]


@pytest.mark.parametrize(
    ("count", "opacity", "told"),
    [pytest.param(15, None, 15, id="few are seen"), pytest.param(1000, "0", 250, id="of very many a part tells")],
)
def test_points_of_long_lines_wait_for_the_pointer(count: int, opacity: str | None, told: int) -> None:
    found = tips(lines({"loss": [(n, float(n)) for n in range(count)]}, "epoch", "loss", whole=True))
    assert {it.attrib.get("opacity") for it in found.values()} == {opacity}
    assert len(found) == told


def test_an_operating_point_is_larger_than_the_points_of_its_line() -> None:
    found = tips(
        lines({"person": [(0, 1.0), (1, 0.0)]}, "recall", "precision", shares=True, marked={"person": (0.5, 0.5)})
    )
    mark = found.pop("person, operating point: precision 0.5, recall 0.5")
    radius = {float(it.attrib["d"].partition(",")[0][1:]) for it in found.values()}
    assert float(mark.attrib["d"].partition(",")[0][1:]) > max(radius)
    assert place(mark) == (WIDTH / 2, HEIGHT / 2)


def test_rows_have_their_estimates_where_they_belong() -> None:
    rows = [
        Row("hut", 0.1),
        Row("lobby", 0.5, 0.25, 0.75, "n = 412"),
        Row("hall", note="4 of 30 objects"),
    ]
    chart = dots(rows, "Recall", asked=0.9)
    assert place(tips(chart)["lobby: 0.5 (0.25 to 0.75), n = 412"]) == (ROWS_WIDTH / 2, 1.5 * STEP)
    line = next(it for it in tree(chart).iter("line") if it.attrib.get("stroke-width") == "2.5")
    assert place(line) == (ROWS_WIDTH / 4, 1.5 * STEP)
    assert float(line.attrib["x2"]) == ROWS_WIDTH / 2
    broken = next(it for it in tree(chart).iter("line") if it.attrib.get("stroke") == "var(--c2)")
    assert place(broken)[0] == pytest.approx(0.9 * ROWS_WIDTH)
    assert {"hut", "lobby", "hall", "n = 412", "4 of 30 objects", "Recall"} <= set(words(chart))
    assert len(tips(chart)) == 2  # what could not be measured has no mark


def test_bars_start_at_nothing_and_carry_their_parts() -> None:
    rows = [Row("fog", 0.5, note="80% left", parts=(("severity 1", 0.6), ("severity 5", 0.4))), Row("rain", 0.25)]
    found = tips(bars(rows, "AP", shares=True))
    assert found["fog: 0.5, 80% left"].attrib["d"].startswith(f"M0,{(STEP - 12) // 2}h{ROWS_WIDTH // 2}v12")
    mild, severe = found["fog, severity 1: 0.6"], found["fog, severity 5: 0.4"]
    assert float(mild.attrib["opacity"]) < float(severe.attrib.get("opacity", "1"))


def test_columns_have_the_height_of_their_counts() -> None:
    found = tips(histogram([(0.5, 0.75, 10), (0.75, 1.0, 5)], "IoU", "Objects", mean=0.7))
    heights = [float(re.findall(r"v(-?[\d.]+)", it.attrib["d"])[0]) for it in found.values()]
    assert list(found) == ["0.5 to 0.75: 10 objects", "0.75 to 1: 5 objects"]
    assert heights == [HEIGHT, HEIGHT / 2]


def test_points_lie_on_a_logarithmic_axis() -> None:
    found = tips(scatter([("a", 1, 0.5), ("b", 10, 0.6), ("c", 100, 0.7)], "MACs", "AP"))
    a, b, c = (place(it)[0] for it in found.values())
    assert b - a == pytest.approx(c - b, abs=0.2)  # pixels are told to a tenth


@pytest.mark.parametrize(
    "chart",
    [
        pytest.param(lambda: lines({}, "x", "y"), id="lines"),
        pytest.param(lambda: dots([], "x"), id="dots"),
        pytest.param(lambda: bars([Row("a", note="not measured")], "x"), id="bars"),
        pytest.param(lambda: histogram([], "x", "y", mean=None), id="histogram"),
    ],
)
def test_nothing_to_draw_is_an_empty_plot(chart: Callable[[], Markup]) -> None:
    assert not tips(chart())


def test_names_from_outside_are_text() -> None:
    for chart in (
        lines({HOSTILE: [(1, 1.0), (2, 2.0)]}, HOSTILE, HOSTILE, marked={HOSTILE: (1, 1.0)}),
        dots([Row(HOSTILE, 0.5, note=HOSTILE), Row(HOSTILE, note=HOSTILE)], HOSTILE),
        bars([Row(HOSTILE, 0.5, parts=((HOSTILE, 0.5),))], HOSTILE),
        scatter([(HOSTILE, 1, 0.5)], HOSTILE, HOSTILE),
    ):
        assert "<script" not in chart
        assert any("script>" in tip for tip in tips(chart))
        assert {it.tag for it in tree(chart).iter()} <= {"svg", "g", "path", "line", "text"}


def test_a_drawing_loses_its_silent_parts_and_keeps_what_is_seen() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="50" viewBox="0 0 100 50"><g class="x" role="img">'
        '<path d="M0,0h9v9z" aria-hidden="true"/><g opacity="1"><path aria-label="a: 1" d="M0,1.23456L2,3" fill="red"/>'
        '</g></g><g transform="translate(2,0)"><text>1.23456</text></g><g/></svg>'
    )
    assert slim(svg) == (
        '<svg width="115" viewBox="0 0 100 50"><path d="M0,1.2L2,3" fill="red" data-tip="a: 1" />'
        '<g transform="translate(2,0)"><text>1.23456</text></g></svg>'
    )
