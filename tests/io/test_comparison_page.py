"""The page, as HTML and in a real browser."""

import re
from pathlib import Path

import pytest

from pipeline.core.contenders import Contender, fields, latency, size
from pipeline.io.comparison_page import page
from pipeline.io.page import render
from tests.browser import browser, opened

HOSTILE = "<script>alert(1)</script>"


def contender(model: str, version: int, ap: float, macs: float, benchmark: str = "b1" * 32) -> Contender:
    figures = {"AP": ap, "AP50": ap + 0.2, "AP_small": ap / 2, "worst_recall": ap - 0.1, "minutes": 3.6, "macs": macs}
    figures |= {"parameters": macs / 200, "bytes": macs / 50, latency("cpu"): 1 + macs / 1e8, size("cpu"): 4e6}
    return Contender(f"run{version}", model, version, "demo", benchmark, figures, "camera lobby")


ROWS = [
    contender("nano", 3, 0.70, 0.25e9),
    contender("ssdlite", 1, 0.41, 0.24e9),
    contender("fcos", 2, 0.65, 7.1e9),
    Contender("run4", HOSTILE, 4, "demo", "c2" * 32, {"AP": 0.9}),
]


@pytest.fixture
def html() -> str:
    return render(page(fields(ROWS), "MLflow, experiment sightline")).decode()


def test_each_benchmark_has_its_table_best_first(html: str) -> None:
    assert "4 registered iterations on 2 benchmarks" in html
    assert re.findall(r'<th scope="row"[^>]*>([^<]+)</th>', html)[:3] == [
        "nano, version 3", "fcos, version 2", "ssdlite, version 1",
    ]  # fmt: skip
    bests = re.findall(
        r'<td class="best"><span aria-hidden="true">★ </span><span class="unseen">best: </span>([^<]+)</td>', html
    )
    assert bests[:2] == ["0.700", "0.900"]  # AP and AP50 of nano
    assert "0.24" in bests  # the multiply-adds of ssdlite


def test_ap_is_drawn_against_every_cost_that_two_have(html: str) -> None:
    drawn = re.findall(r"<figcaption>AP against ([^:]+):", html)
    assert drawn == ["Train, min", "MACs, G", "cpu, ms"]  # the second benchmark has one detector: no chart
    assert "nano 3: AP 0.700 at 0.25" in html


def test_nothing_is_judged_and_nothing_is_fetched(html: str) -> None:
    assert 'class="verdict' not in html
    assert "Made by <code>sightline compare</code>" in html
    assert html.count("<script") == 1  # the page's own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert render(page(fields(ROWS), "MLflow, experiment sightline")).decode() == html


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it_without_an_error_and_without_the_network(html: str, tmp_path: Path, width: int) -> None:
    file = tmp_path / "comparison.html"
    file.write_text(html, encoding="utf-8")
    with browser() as started, opened(started, file, width) as tab:
        assert tab.page.locator(".chart svg").count() == 3
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width  # wide tables scroll in their frame
        assert tab.page.locator("table").first.get_by_text("0.700").is_visible()
        assert tab.told == []
        assert tab.strayed == []
