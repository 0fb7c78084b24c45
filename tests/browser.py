"""A real browser that opens a page from disk, and what it complained of or asked for."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Tab:
    """A page that is open."""

    page: "Page"
    told: list[str] = field(default_factory=list)  # by its console, and its errors
    asked: list[str] = field(default_factory=list)  # every address but its own
    strayed: list[str] = field(default_factory=list)  # those outside the folder; none is let through


@contextmanager
def browser() -> Iterator["Browser"]:
    """Chromium without a window. Skips the test where the machine has none."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - half a second

    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no browser on this machine; install chromium (Debian: apt-get install chromium)")
    with sync_playwright() as p:
        started = p.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield started
        finally:
            started.close()


@contextmanager
def opened(started: "Browser", file: Path, width: int = 1280, height: int = 900, **options: Any) -> Iterator[Tab]:
    """The file, open; `options` are those of playwright's `new_context`."""
    context = started.new_context(viewport={"width": width, "height": height}, **options)
    tab = Tab(context.new_page())
    own, folder = file.as_uri(), file.parent.as_uri()

    def meet(route: "Route") -> None:
        url = route.request.url
        if url != own:
            tab.asked.append(url)
        if url.startswith((folder, "data:")):
            route.continue_()
        else:
            tab.strayed.append(url)
            route.abort()

    context.route("**/*", meet)
    tab.page.on("console", lambda message: tab.told.append(message.text))
    tab.page.on("pageerror", lambda error: tab.told.append(str(error)))
    tab.page.goto(own)
    try:
        yield tab
    finally:
        context.close()
