"""The report in a real browser, from disk: seen, walked through by keyboard, in the dark, on a phone, and printed."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from pipeline.io.page import Page, Section, Video, render
from tests.browser import Tab, browser, opened
from tests.test_report import CHAPTERS, build_world, run_report
from tests.tried import write_clip

if TYPE_CHECKING:
    from playwright.sync_api import Browser

A4 = 688  # CSS px between the margins of 14 mm
OUTLINE = "() => getComputedStyle(document.activeElement).outlineStyle"
FOCUSED = """() => {
    const it = document.activeElement;
    if (it.matches("video")) return `video ${it.getAttribute("src")}`;  // its controls are stops of the browser's own
    if (it === document.body) return "";
    return it.id || it.getAttribute("href") || `${it.className}: ${it.innerText.slice(0, 40)}`;
}"""
PLAYED = """it => new Promise((done) => {
    it.ontimeupdate = () => { if (it.currentTime > 0.3) done(); };
})"""
PNG = cv2.imencode(".png", np.zeros((3, 4, 3), np.uint8))[1].tobytes()
STILL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
WIDTH = "() => document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def started() -> Iterator["Browser"]:
    with browser() as it:
        yield it


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        build_world(root, patch, "lobby")
        run_report()
    return root / "reports" / "index.html"


@pytest.fixture
def tab(started: "Browser", report: Path, request: pytest.FixtureRequest) -> Iterator[Tab]:
    """The report; the test fails where the browser complained or the page asked for anything at all."""
    options: dict[str, Any] = getattr(request, "param", {})
    with opened(started, report, reduced_motion="reduce", **options) as it:
        yield it
    assert it.told == []
    assert [url for url in it.asked if not url.startswith("data:")] == []


def test_every_section_is_reached_from_the_contents(tab: Tab) -> None:
    links = tab.page.locator("nav a")
    assert links.all_inner_texts() == list(CHAPTERS)
    for link in links.all():
        link.click()
        name = tab.page.evaluate("location.hash.slice(1)")
        box = tab.page.locator(f"section#{name} h2").bounding_box()
        assert box
        assert 0 <= box["y"] < 900


@pytest.mark.parametrize("tab", [{"width": 1400}], indirect=True)
def test_contents_stay_in_sight_and_say_where_one_is(tab: Tab) -> None:
    tab.page.evaluate("document.querySelector('#groups').scrollIntoView()")
    current = tab.page.locator("nav a[aria-current]")
    tab.page.locator("nav a[href='#groups'][aria-current]").wait_for()
    assert current.count() == 1
    box = current.bounding_box()
    assert box
    assert 0 <= box["y"] < 900


@pytest.mark.parametrize("tab", [{"width": 390}], indirect=True, ids=["phone"])
def test_the_whole_page_can_be_walked_through_by_keyboard(tab: Tab) -> None:
    seen: list[str] = []
    tab.page.keyboard.press("Tab")
    while (now := tab.page.evaluate(FOCUSED)) and len(seen) < 1000:
        if not (now.startswith("video ") and seen[-1] == now):
            assert tab.page.evaluate(OUTLINE) != "none", f"no focus is seen on {now}"
            seen.append(now)
        tab.page.keyboard.press("Tab")
    assert seen[0] == "#content"
    names = tab.page.eval_on_selector_all("main section", "them => them.map((it) => `#${it.id}`)")
    assert set(names) <= set(seen)
    kinds = ("a", "button", "video", "summary", ".chart[tabindex='0']", ".tables .scroll[tabindex='0']")
    stops = {kind: tab.page.locator(kind).count() for kind in kinds}
    assert all(stops.values())  # a wide table is one: it scrolls by keyboard
    assert len(seen) == sum(stops.values())


@pytest.mark.parametrize("tab", [{"width": 1400}], indirect=True, ids=["wide"])
def test_a_table_that_has_the_room_is_no_stop(tab: Tab) -> None:
    tab.page.locator(".tables .scroll[tabindex='-1']").first.wait_for()
    assert tab.page.locator(".tables .scroll[tabindex='0']").count() == 0


def test_what_a_screen_reader_is_offered_has_roles_and_names(tab: Tab) -> None:
    page = tab.page
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("navigation", name="Contents").count() == 1
    assert page.get_by_role("region", name="Training", exact=True).get_by_role("heading", level=2).count() == 1
    assert page.get_by_role("img", name="Loss by epoch: loss from 3 to 0.5; loss/box from 2 to 0.333").count() == 1
    assert page.get_by_role("table", name="Boxes by class").get_by_role("rowheader", name="person").count() == 1
    assert page.locator("img:not([alt]), img[alt='']").count() == 0


def test_the_skip_link_leads_past_the_contents(tab: Tab) -> None:
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Enter")
    assert tab.page.evaluate(FOCUSED) == "content"


def test_a_chart_tells_its_figures_to_pointer_and_keys(tab: Tab) -> None:
    chart = tab.page.locator("#training .chart").first
    tip = chart.get_by_role("status")
    mark = chart.locator("[data-tip='loss: 1 at epoch 3']")
    mark.hover()
    assert tip.inner_text() == "loss: 1 at epoch 3"
    tab.page.mouse.move(0, 0)
    chart.focus()
    tab.page.keyboard.press("ArrowRight")
    assert tip.inner_text() == "loss: 3 at epoch 1"
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        tab.page.keyboard.press(key)
    assert tip.inner_text() == "loss: 1.5 at epoch 2"
    tab.page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_a_series_can_be_hidden(tab: Tab) -> None:
    figure = tab.page.locator("#training figure").first
    line = figure.locator(".chart path[stroke='var(--c2)']").first
    button = figure.get_by_role("button", name="loss/box")
    assert line.is_visible()
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert not line.is_visible()
    assert figure.locator(".chart path[stroke='var(--c1)']").first.is_visible()
    button.press("Enter")
    assert line.is_visible()


@pytest.mark.parametrize("tab", [{"width": 390}, {"width": 320}], indirect=True, ids=["phone", "small phone"])
def test_nothing_hangs_over_on_a_phone(tab: Tab) -> None:
    assert tab.page.evaluate(WIDTH) <= tab.page.viewport_size["width"]  # type: ignore[index]
    verdict, contents = (tab.page.locator(it).bounding_box() for it in (".verdict", "nav"))
    assert verdict
    assert contents
    assert verdict["y"] < contents["y"]  # the verdict comes first


def colours(tab: Tab) -> list[str]:
    script = """() => [getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector('.chart path[stroke="var(--c1)"]')).stroke,
        getComputedStyle(document.querySelector('.chart text')).fill]"""
    found: list[str] = tab.page.evaluate(script)
    return found


@pytest.mark.parametrize("tab", [{"color_scheme": "dark"}], indirect=True)
def test_the_dark_is_dark_and_paper_is_white(tab: Tab) -> None:
    dark = colours(tab)
    tab.page.emulate_media(color_scheme="light")
    light = colours(tab)
    assert not set(dark) & set(light)
    assert all(channel < 50 for channel in map(int, dark[0][4:-1].split(",")))
    assert all(channel > 230 for channel in map(int, light[0][4:-1].split(",")))
    tab.page.emulate_media(media="print", color_scheme="dark")
    assert colours(tab)[:2] == ["rgb(255, 255, 255)", light[1]]


@pytest.mark.parametrize("tab", [{"width": A4}], indirect=True)
def test_it_prints_without_a_cut_table(tab: Tab) -> None:
    tab.page.emulate_media(media="print")
    assert tab.page.evaluate(WIDTH) <= A4
    cut = """them => them.filter((it) => it.scrollWidth > it.parentElement.clientWidth + 1)
        .map((it) => it.caption.innerText)"""
    assert tab.page.eval_on_selector_all(".scroll > table", cut) == []
    assert not tab.page.locator("figure details").first.is_visible()
    assert tab.page.pdf(prefer_css_page_size=True).startswith(b"%PDF-")


@pytest.mark.parametrize("tab", [{"java_script_enabled": False}], indirect=True)
def test_without_javascript_nothing_is_missing(tab: Tab) -> None:
    assert tab.page.locator(".chart svg").first.is_visible()
    assert tab.page.locator(".legend").first.inner_text().split() == ["loss", "loss/box"]
    assert tab.page.locator(".legend button").count() == 0
    assert tab.page.locator("section").count() == len(CHAPTERS)


def write_page(folder: Path) -> Path:
    clip = Video("A missed event", "A person walks by", "reports/fieldtest/events.json", "fieldtest/clip 1.mp4", STILL)
    section = Section("fieldtest", "Field test", "What would the operator have seen?", pictures=(clip,))
    path = folder / "index.html"
    path.write_bytes(render(Page("t", "s", passed=True, verdict="v", reasons=(), sections=(section,))))
    return path


@pytest.mark.parametrize("script", [True, False], ids=["paper", "without JavaScript"])
def test_a_clip_shows_its_still_where_it_cannot_play(started: "Browser", tmp_path: Path, script: bool) -> None:  # noqa: FBT001
    with opened(started, write_page(tmp_path), java_script_enabled=script) as tab:
        still = tab.page.get_by_role("img", name="A person walks by")
        assert still.is_visible() is not script
        tab.page.emulate_media(media="print")
        assert still.is_visible()
        assert not tab.page.locator("video").is_visible()


def test_a_clip_plays_from_beside_the_page_by_keyboard(started: "Browser", tmp_path: Path) -> None:
    write_clip(tmp_path / "fieldtest" / "clip 1.mp4")
    page = write_page(tmp_path)
    with opened(started, page) as tab:
        video = tab.page.locator("video")
        assert video.get_attribute("poster") == STILL
        assert [url for url in tab.asked if url != STILL] == []  # nothing is read before someone asks for it
        video.focus()
        tab.page.keyboard.press("Space")
        video.evaluate(PLAYED)
        assert video.evaluate("it => [it.videoWidth, it.videoHeight]") == [64, 48]
        assert {Path(url).name for url in tab.asked if url != STILL} == {"clip%201.mp4"}
        assert tab.strayed == []
        assert tab.told == []


def test_the_clips_of_the_field_test_play_in_the_report(started: "Browser", report: Path) -> None:
    with opened(started, report) as tab:
        videos = tab.page.locator("#fieldtest video")
        assert videos.count() == 2
        for video in videos.all():
            assert str(video.get_attribute("poster")).startswith("data:image/jpeg;base64,")
            video.evaluate("it => it.play()")
            video.evaluate(PLAYED)
            assert video.evaluate("it => [it.videoWidth, it.videoHeight]") == [64, 48]
        asked = {url for url in tab.asked if not url.startswith("data:")}
        assert {Path(url).name for url in asked} == {"01-missed.mp4", "02-false-alarm.mp4"}
        assert tab.strayed == []
        assert tab.told == []
