import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from pipeline.core.errors import SightlineError
from pipeline.runtime.site import CameraRules, Site
from pipeline.runtime.tracking import Track
from pipeline.runtime.watching import Observation
from pipeline.services.watch_view import INCLUDE, Scene, View, drawn
from tests.watching import CLASSES, LIMIT_S, SIZE, Image, frame, picture

ZONES: Any = {
    "zones": [{"name": "door", "kind": "include", "polygon": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]}],
    "lines": [{"name": "gate", "from": [0.5, 0.2], "to": [0.5, 0.8]}],
}
PLAIN = CameraRules({})
RULES = Site.model_validate(
    {"version": 1, "rules": {"classes": {"person": {}}}, "cameras": {"door": ZONES}}, strict=False
).camera("door")
SCENE = Scene(PLAIN, CLASSES)


def stripes() -> Image:
    """Fine stripes: what a blur takes away."""
    return np.repeat((np.indices(SIZE[::-1])[1] % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


def seen(label: int = 0, *, pixels: Image | None = None, visible: bool = True) -> Observation:
    track = Track(7, label, np.array([40, 20, 80, 80], np.float32), 0.9, 0.0, 0.5, 5, True, visible)
    shown = frame(0, 0.5, stripes() if pixels is None else pixels)
    return Observation("door", 0.5, SIZE, [track], [], detected=True, moving=True, seconds={}, frame=shown)


@contextmanager
def view(scene: Scene = SCENE, name: str = "door") -> Iterator[View]:
    it = View(0, {name: scene})
    yield it
    it.close()


def get(it: View, path: str, host: str = "") -> tuple[int, http.client.HTTPMessage, bytes]:
    parts = urlsplit(it.address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT_S)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_people_are_masked_and_others_are_not() -> None:
    person, car = (drawn(seen(label), SCENE)[30:70, 50:70] for label in (0, 1))
    assert person.std() < 5
    assert car.std() > 100


def test_the_mask_reaches_beyond_the_box_and_covers_who_is_not_seen_just_now() -> None:
    shown = drawn(seen(visible=False), SCENE)
    assert shown[30:70, 37:39].std() < 5  # a tenth of the width beyond
    assert shown[30:70, 10:30].std() > 100


def test_masks_at_the_edge_and_outside_of_the_picture() -> None:
    it = seen()
    boxes = [[-30, -10, 20, 50], [150, 90, 200, 120], [300, 300, 400, 400]]
    tracks = [replace(it.tracks[0], box=np.array(box, np.float32)) for box in boxes]
    shown = drawn(replace(it, tracks=tracks), SCENE)
    assert shown[10:40, 2:18].std() < 60
    assert shown.shape == (SIZE[1], SIZE[0], 3)


def test_nothing_is_masked_where_it_was_asked_for() -> None:
    assert drawn(seen(), replace(SCENE, masked=()))[30:70, 50:70].std() > 100


def test_boxes_zones_and_lines_are_drawn() -> None:
    black = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    shown = drawn(seen(1, pixels=black), replace(SCENE, rules=RULES))
    assert np.abs(shown[86, 100].astype(int) - INCLUDE).max() < 30  # the zone's lower side
    assert shown[50, 80].any()  # the line at half the width
    assert shown[60, 40].any()  # the box's left side


def test_the_source_s_own_picture_is_left_alone() -> None:
    it = seen()
    assert it.frame is not None
    before = it.frame.rgb()
    drawn(it, SCENE)
    assert np.array_equal(before, it.frame.rgb())


def test_the_page_shows_each_camera_and_asks_for_nothing_else() -> None:
    with view(name="<b>&") as it:
        status, headers, body = get(it, "/")
    assert status == 200
    page = body.decode()
    assert "&lt;b&gt;&amp;" in page
    assert "<b>" not in page
    assert '<img src="/0.mjpeg"' in page
    assert page.count("src=") == 1
    assert "http" not in page
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_current_picture_is_the_latest_that_was_looked_at() -> None:
    with view() as it:
        assert get(it, "/0.jpg")[0] == 404
        it.emit(seen(pixels=np.full((SIZE[1], SIZE[0], 3), 200, np.uint8)))
        it.emit(replace(seen(), detected=False))
        status, headers, body = get(it, "/0.jpg")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    shown = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert abs(int(shown[5, 5, 0]) - 200) < 10


def test_a_stream_shows_one_picture_after_another_and_ends_with_the_view() -> None:
    with view() as it:
        it.emit(seen(pixels=picture(20)))
        parts = urlsplit(it.address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT_S)
        connection.request("GET", "/0.mjpeg")
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        first = part(answer)
        it.emit(seen(pixels=picture(100)))
        deadline = time.monotonic() + LIMIT_S
        while part(answer) == first:
            assert time.monotonic() < deadline
    while answer.read(1 << 16):  # returns at the end of the stream, or the test times out
        pass


def part(answer: http.client.HTTPResponse) -> bytes:
    """One picture of a stream."""
    lines = [answer.readline() for _ in range(4)]
    assert lines[0] == b"--frame\r\n"
    data = answer.read(int(lines[2].partition(b":")[2]))
    assert answer.readline() == b"\r\n"
    return data


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        pytest.param("/1.jpg", "", 404, id="no such camera"),
        pytest.param("/-1.jpg", "", 404, id="from the end"),
        pytest.param("/x.jpg", "", 404, id="no number"),
        pytest.param("/0.png", "", 404, id="no such kind"),
        pytest.param("/../etc/passwd", "", 404, id="no file of ours"),
        pytest.param("/", "evil.example", 403, id="another host's name"),
        pytest.param("/", "evil.example:80", 403, id="another host's name and port"),
        pytest.param("/", "localhost", 200, id="this machine's name"),
    ],
)
def test_what_is_answered(path: str, host: str, status: int) -> None:
    with view() as it:
        it.emit(seen())
        assert get(it, path, host)[0] == status


def test_a_port_that_is_taken_is_said() -> None:
    with view() as it, pytest.raises(SightlineError, match="give --web another port"):
        View(urlsplit(it.address).port or 0, {})


def test_a_closed_view_answers_no_more() -> None:
    with view() as it:
        pass
    with pytest.raises(OSError):  # noqa: PT011 - refused, in the system's words
        get(it, "/")
