import os
import signal
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.site import Site
from pipeline.services.watch_run import cameras_of, opened, stopping
from tests.watching import LIMIT_S, write_clip


@pytest.fixture
def site() -> Site:
    return Site.model_validate(
        {"version": 1, "cameras": {"door": {"source": "a/door.mkv"}, "gate": {}, "yard": {"source": "rtsp://h/main"}}}
    )


@pytest.mark.parametrize(
    ("given", "cameras"),
    [
        pytest.param([], {"door": "a/door.mkv", "yard": "rtsp://h/main"}, id="all of the site"),
        pytest.param(["yard"], {"yard": "rtsp://h/main"}, id="a camera of the site"),
        pytest.param(["rtsp://h/main"], {"yard": "rtsp://h/main"}, id="a source of the site"),
        pytest.param(["clips/hall.mp4"], {"hall": "clips/hall.mp4"}, id="a file"),
        pytest.param(["clips/gate.mp4"], {"gate": "clips/gate.mp4"}, id="a file for a camera without a source"),
        pytest.param(["rtsp://u:p@h:554/live/ch1?x=p"], {"ch1": "rtsp://u:p@h:554/live/ch1?x=p"}, id="an address"),
        pytest.param(["rtsp://u:p@h"], {"h": "rtsp://u:p@h"}, id="an address without a path"),
        pytest.param(["rtsp://h/password=p4ss"], {"password": "rtsp://h/password=p4ss"}, id="a password in the path"),
    ],
)
def test_cameras_are_named(given: list[str], cameras: dict[str, str], site: Site) -> None:
    assert cameras_of(given, site) == cameras


@pytest.mark.parametrize(
    ("given", "match"),
    [
        pytest.param(["gate"], "cameras.gate has no source", id="no source"),
        pytest.param(["a/hall.mp4", "b/hall.mp4"], "two sources would be the camera 'hall'", id="one name"),
    ],
)
def test_cameras_that_cannot_be_named(given: list[str], match: str, site: Site) -> None:
    with pytest.raises(DataError, match=match):
        cameras_of(given, site)


def test_nothing_to_watch_is_said() -> None:
    with pytest.raises(DataError, match="nothing to watch"):
        cameras_of([], Site.default(["person"]))


@pytest.mark.parametrize("loop", [False, True])
def test_a_looped_file_is_live(*, loop: bool, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "door.mkv", range(3))
    assert opened(str(clip), lambda _: None, loop=loop).live == loop


def test_a_signal_asks_to_stop_and_a_second_one_is_not_held_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopping() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(LIMIT_S)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_time_asks_to_stop() -> None:
    with stopping(0.01) as stop:
        assert stop.wait(LIMIT_S)
