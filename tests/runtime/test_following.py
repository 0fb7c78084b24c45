"""From detections to events without pictures, and when another look is asked for."""

from typing import Any

import numpy as np
import pytest

from pipeline.core.types import Detections
from pipeline.runtime.following import Follower, starts
from pipeline.runtime.site import CameraRules, Site
from pipeline.runtime.tracking import TrackerParams

CLASSES = ("person", "vehicle")
THRESHOLDS = {"person": 0.5, "vehicle": 0.6}
SIZE = (200, 100)
NONE = Detections.empty()


def rules(**classes: dict[str, Any]) -> CameraRules:
    values = {"version": 1, "rules": {"classes": classes or {"person": {}}, "cooldown_s": 0.0}}
    return Site.parse("", values).camera("hall")


def follower(tracker: TrackerParams | None = None, **classes: dict[str, Any]) -> Follower:
    return Follower("hall", rules(**classes), CLASSES, THRESHOLDS, tracker)


def found(score: float = 0.9, label: int = 0) -> Detections:
    return Detections(np.array([[80, 20, 120, 90]], np.float32), np.array([score], np.float32), np.array([label]))


def test_what_stays_becomes_an_event() -> None:
    it = follower()
    told = [event for at in (0.0, 0.2, 0.4, 0.6) for event in it.step(found(), at, SIZE)]
    assert [(e.camera, e.label, e.start_s, e.confirmed_s, e.end_s, e.alarm) for e in told] == [
        ("hall", "person", 0.0, 0.6, None, True)
    ]
    (last,) = it.close(0.8)
    assert (last.start_s, last.end_s) == (0.0, 0.6)


def test_where_nobody_looked_tracks_stay_and_are_not_seen() -> None:
    it = follower()
    it.step(found(), 0.0, SIZE)
    before = it.tracks
    it.step(None, 5.0, SIZE)
    it.step(None, 6.0, SIZE)
    (track,) = it.tracks
    assert (track.track_id, track.visible, track.last_s) == (before[0].track_id, False, 0.0)
    assert before[0].visible  # what was given out does not change afterwards


def test_to_look_in_vain_ends_a_track() -> None:
    it = follower()
    for at in (0.0, 0.2, 1.5):
        it.step(found() if at == 0 else NONE, at, SIZE)
    assert it.tracks == []


@pytest.mark.parametrize(
    ("looks", "curious"),
    [
        pytest.param([(0.0, NONE)], False, id="nothing there"),
        pytest.param([(0.0, found())], True, id="seen once, not long enough"),
        pytest.param([(0.0, found()), (0.4, found())], True, id="not yet its least duration"),
        pytest.param([(0.0, found()), (0.5, found())], False, id="decided"),
        pytest.param([(0.0, found()), (0.2, NONE)], False, id="gone again"),
        pytest.param([(0.0, found()), (0.2, None)], True, id="nobody looked since"),
        pytest.param([(0.0, found(0.3))], False, id="too unsure to begin a track"),
        pytest.param([(0.0, found(0.9, label=1))], False, id="a class that nobody asked for"),
    ],
)
def test_what_is_not_certain_yet_asks_for_another_look(
    looks: list[tuple[float, Detections | None]],
    curious: bool,  # noqa: FBT001
) -> None:
    it = follower()
    for at, seen in looks:
        it.step(seen, at, SIZE)
    assert it.curious is curious


def test_an_unconfirmed_track_is_not_certain_however_short_the_duration() -> None:
    it = follower(person={"min_duration_s": 0.0})
    it.step(found(0.55), 0.0, SIZE)  # below the score that is beyond doubt
    assert it.curious
    it.step(found(0.55), 0.2, SIZE)
    assert not it.curious


def test_tracks_begin_at_the_scores_that_are_reported() -> None:
    own = rules(person={"threshold": 0.3}, vehicle={})
    assert starts(own, CLASSES, THRESHOLDS) == (0.3, 0.6)
    assert starts(rules(person={"threshold": 0.0}), CLASSES, THRESHOLDS) == (0.0, 0.6)
    it = follower(person={"threshold": 0.3}, vehicle={})
    it.step(found(0.4), 0.0, SIZE)
    assert len(it.tracks) == 1
    other = follower(person={}, vehicle={})
    other.step(found(0.4), 0.0, SIZE)
    assert other.tracks == []


def test_a_tracker_may_be_given() -> None:
    it = follower(TrackerParams(high_score=0.95))
    it.step(found(0.9), 0.0, SIZE)
    assert it.tracks == []


def test_motion_is_told_to_the_alarms() -> None:
    (event,) = follower().step(None, 1.0, SIZE, moving=True)
    assert (event.kind, event.alarm) == ("motion", False)
