"""Footage looked at once, and what would have been reported of it at any threshold."""

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.core.types import Detections
from pipeline.runtime.following import Follower
from pipeline.runtime.frames import LazyFrame
from pipeline.runtime.motion import MotionParams
from pipeline.runtime.recording import Look, Recording, record, replay
from pipeline.runtime.site import Site
from tests.watching import CLASSES, DETECTOR, frames, seen

FPS = 10.0
RULES = Site.parse("", {"version": 1, "rules": {"classes": {"person": {}}}}).camera("hall")
THRESHOLDS = {"person": 0.5, "vehicle": 0.5}
WALK = [None] * 30 + list(range(0, 120, 3)) + [None] * 60  # seconds 3 to 7
STANDING = [None] * 30 + [60] * 100  # from second 3 on


def follower() -> Follower:
    return Follower("hall", RULES, CLASSES, DETECTOR.thresholds)


class Counted:
    """The detector, and on which frames it was asked."""

    def __init__(self) -> None:
        self.looked: list[int] = []

    def __call__(self, frame: LazyFrame) -> Detections:
        self.looked.append(frame.index)
        return seen(frame)


def recorded(
    lefts: Sequence[int | None], motion: MotionParams | None, start_s: float = 0.0
) -> tuple[Recording, Counted]:
    detect = Counted()
    return record(frames(lefts, FPS), detect, motion, follower(), start_s), detect


def test_every_frame_is_kept_and_looked_at_where_no_gate_decides() -> None:
    it, detect = recorded(WALK, None)
    assert [look.index for look in it.looks] == list(range(len(WALK))) == detect.looked
    assert it.before == ()
    assert all(look.found is not None and look.size == (160, 96) for look in it.looks)
    assert it.span_s == pytest.approx((0.0, len(WALK) / FPS))


def test_motion_decides_when_to_look() -> None:
    it, detect = recorded(WALK, MotionParams())
    looked = [look.index for look in it.looks if look.found is not None]
    assert looked == detect.looked
    walking, after = [[i for i in looked if low <= i < high] for low, high in ((30, 70), (90, 130))]
    assert 10 <= len(walking) <= 20  # at most five a second, for four
    assert len(after) <= 4  # half a one a second, for four
    assert {i for i, look in enumerate(it.looks) if look.moving} <= set(range(30, 90))


def test_what_is_not_certain_yet_is_looked_at_again_where_nothing_moves() -> None:
    appears = MotionParams(settle_s=0.0, still_fps=0.5)  # motion itself would not ask so soon
    _, detect = recorded(STANDING, appears)
    first = next(i for i in detect.looked if i >= 30)
    again = [i for i in detect.looked if first < i <= first + 5]
    assert again, detect.looked  # within half a second, the least duration
    certain = [i for i in detect.looked if i >= first + 30]
    assert len(certain) <= 6  # then seldom


def test_the_time_before_is_looked_at_and_belongs_to_nothing() -> None:
    it, _ = recorded(WALK, MotionParams(), start_s=5.0)
    assert [look.index for look in it.before] == list(range(50))
    assert [look.index for look in it.looks] == list(range(50, len(WALK)))
    assert it.span_s == pytest.approx((5.0, len(WALK) / FPS))
    assert it.looks[0].found is not None  # a camera that is switched on looks at once
    (event,) = replay(it, "hall", RULES, CLASSES, THRESHOLDS).events[-1:]
    assert event.start_s == 5.0  # it began with the stretch, though the person came at 3


def test_every_frame_is_shown_to_who_watches() -> None:
    shown: list[int] = []
    record(frames(WALK, FPS), seen, MotionParams(), follower(), 5.0, lambda it: shown.append(it.index))
    assert shown == list(range(len(WALK)))


def test_a_replay_reports_what_the_scores_allow() -> None:
    it, _ = recorded(WALK, None)
    told = replay(it, "hall", RULES, CLASSES, THRESHOLDS)
    (event,) = [event for event in told.events if event.alarm]
    assert (event.camera, event.label) == ("hall", "person")
    assert event.score == pytest.approx(0.9)
    assert (event.start_s, event.confirmed_s, event.end_s) == pytest.approx((3.0, 3.5, 6.9))
    assert len(told.tracks) == len(it.looks)
    assert [len(tracks) for tracks in told.tracks[30:70]] == [1] * 40
    above = replay(it, "hall", RULES, CLASSES, {"person": 0.95, "vehicle": 0.5})
    assert [event for event in above.events if event.alarm] == []


def test_an_event_that_lasts_ends_with_the_recording() -> None:
    it, _ = recorded(STANDING, None)
    (event,) = [event for event in replay(it, "hall", RULES, CLASSES, THRESHOLDS).events if event.alarm]
    assert event.end_s == pytest.approx(12.9)


@pytest.mark.parametrize("count", [0, 1])
def test_a_recording_of_hardly_anything_has_no_length(count: int) -> None:
    it, _ = recorded([None] * count, MotionParams())
    assert it.span_s == (0.0, 0.0)
    assert replay(it, "hall", RULES, CLASSES, THRESHOLDS).events == ()


def test_times_need_not_be_even() -> None:
    looks = [Look(i, at, (160, 96), moving=False, found=None) for i, at in enumerate((1.0, 1.1, 1.9, 2.5))]
    assert Recording((), tuple(looks)).span_s == pytest.approx((1.0, 3.0))  # the last one lasts half a second
    assert np.isfinite(Recording((), ()).span_s).all()
