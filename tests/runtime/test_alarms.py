"""When an alarm is raised, what belongs to it, and when it ends."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import ConfigError, DataError
from pipeline.runtime.alarms import GRACE_S, MOST_TRACKS, AlarmLogic, Event
from pipeline.runtime.site import CameraRules, Site
from pipeline.runtime.tracking import Track

CLASSES = ("person", "vehicle")
THRESHOLDS = {"person": 0.5, "vehicle": 0.6}
SIZE = (200, 100)
STEP = 0.2  # seconds between looks
LEFT, RIGHT = {"x": 0.25}, {"x": 0.75}  # where feet are
ZONES = [
    {"name": "left", "kind": "include", "polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]},
    {"name": "tree", "kind": "exclude", "polygon": [[0, 0], [0.2, 0], [0.2, 1], [0, 1]]},
]


def rules(camera: dict[str, Any] | None = None, **over: Any) -> CameraRules:
    """Rules of a camera, from what stands in site.yaml: persons, without cool-down, unless asked otherwise."""
    values = {"classes": {"person": {}}, "cooldown_s": 0.0, **over}
    return Site.parse("", {"version": 1, "rules": values, "cameras": {"hall": camera or {}}}).camera("hall")


def logic(camera: dict[str, Any] | None = None, **over: Any) -> AlarmLogic:
    return AlarmLogic("hall", rules(camera, **over), CLASSES, THRESHOLDS)


def track(
    at_s: float,
    *,
    track_id: int = 1,
    label: str = "person",
    score: float = 0.9,
    x: float = 0.5,
    y: float = 0.8,
    height: float = 0.4,
    **over: Any,
) -> Track:
    """A track seen now, with its feet at x, y."""
    w, h = SIZE
    box = np.array([(x - 0.05) * w, (y - height) * h, (x + 0.05) * w, y * h], np.float32)
    it = Track(track_id, CLASSES.index(label), box, score, 0.0, at_s, 3, confirmed=True, visible=True)
    return replace(it, **over)


Seen = Callable[[float], Sequence[Track]]


def run(it: AlarmLogic, seen: Seen, until_s: float, from_s: float = 0.0, step: float = STEP) -> list[Event]:
    """The events of looks at an even distance."""
    times = from_s + step * np.arange(round((until_s - from_s) / step) + 1)
    return [event for t in times.tolist() for event in it.update(seen(t), t, SIZE)]


def between(start: float, end: float, **over: Any) -> Seen:
    """A track that is seen in this time, and gone before and after."""
    return lambda t: [track(t, **over)] if start - 1e-9 <= t <= end + 1e-9 else []


def both(*parts: Seen) -> Seen:
    return lambda t: [it for part in parts for it in part(t)]


def test_an_event_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    begun, ended = run(logic(), between(1, 4), 10)
    assert begun == Event(
        camera="hall",
        kind="presence",
        label="person",
        zone="",
        start_s=pytest.approx(1.0),
        end_s=None,
        confirmed_s=pytest.approx(1.6),
        track_ids=(1,),
        score=0.9,
        alarm=True,
    )
    assert ended == replace(begun, end_s=pytest.approx(4.0))


@pytest.mark.parametrize(
    ("over", "camera", "seen", "raised"),
    [
        pytest.param({}, {}, between(0, 5), True, id="seen-long-enough"),
        pytest.param({}, {}, between(0, 0.4), False, id="too-short"),
        pytest.param({}, {}, between(0, 5, score=0.49), False, id="below-the-contracts-threshold"),
        pytest.param({}, {}, between(0, 5, score=0.5), True, id="at-the-threshold"),
        pytest.param(
            {"classes": {"person": {"threshold": 0.95}}}, {}, between(0, 5), False, id="below-the-sites-threshold"
        ),
        pytest.param(
            {"classes": {"person": {"threshold": 0.2}}}, {}, between(0, 5, score=0.3), True, id="at-the-sites-threshold"
        ),
        pytest.param({"classes": {"person": {"min_height": 0.41}}}, {}, between(0, 5), False, id="too-small"),
        pytest.param({"classes": {"person": {"min_height": 0.4}}}, {}, between(0, 5), True, id="just-tall-enough"),
        pytest.param({"classes": {"person": {"min_duration_s": 3}}}, {}, between(0, 2.8), False, id="short-of-3-s"),
        pytest.param({"classes": {"person": {"min_duration_s": 3}}}, {}, between(0, 3), True, id="for-3-s"),
        pytest.param({"classes": {"person": {"min_duration_s": 0}}}, {}, between(1, 1), True, id="a-single-look"),
        pytest.param({}, {}, between(0, 5, label="vehicle"), False, id="a-class-without-a-rule"),
        pytest.param({}, {}, between(0, 5, confirmed=False), False, id="a-track-not-confirmed"),
        pytest.param({}, {"zones": ZONES}, between(0, 5, x=0.3), True, id="in-the-zone"),
        pytest.param({}, {"zones": ZONES}, between(0, 5, x=0.7), False, id="beside-the-zone"),
        pytest.param({}, {"zones": ZONES}, between(0, 5, x=0.1), False, id="in-the-zone-but-excluded"),
        pytest.param({}, {"zones": ZONES[1:]}, between(0, 5, x=0.7), True, id="outside-the-excluded"),
        pytest.param({}, {"zones": ZONES}, between(0, 5, x=0.3, y=1.1), True, id="cut-off-by-the-lower-edge"),
    ],
)
def test_what_raises_an_alarm(over: dict[str, Any], camera: dict[str, Any], seen: Seen, raised: bool) -> None:
    events = run(logic(camera, **over), seen, 5)
    assert [event.alarm for event in events if event.end_s is None] == ([True] if raised else [])
