from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.types import Detections
from pipeline.runtime.frames import LazyFrame
from pipeline.runtime.motion import MotionParams
from pipeline.runtime.session import open_session
from pipeline.runtime.site import ClassRule, Rules, Site
from pipeline.runtime.tracking import TrackerParams
from pipeline.runtime.watching import PARTS, CameraPipeline, Detector, Observation, detector_of
from tests.watching import CLASSES, DETECTOR, SQUARE, frame, frames, picture, seen

SITE = Site.default(CLASSES)
STILL = [None] * 40  # four seconds
CROSSING = [*range(0, 120, 3)]  # four seconds from the left to the right


def pipeline_of(detector: Detector = DETECTOR, motion: MotionParams | None = None, **more: Any) -> CameraPipeline:
    return CameraPipeline("door", detector, SITE.camera("door"), motion, **more)


def watched(pipeline: CameraPipeline, given: list[LazyFrame]) -> list[Observation]:
    return [pipeline.step(it) for it in given]


def test_without_a_gate_every_frame_is_looked_at() -> None:
    found = watched(pipeline_of(), frames(STILL))
    assert all(it.detected for it in found)


def test_where_nothing_moves_the_floor_rate_looks() -> None:
    found = watched(pipeline_of(motion=MotionParams(floor_fps=0.5)), frames(STILL))
    assert [it.timestamp_s for it in found if it.detected] == [0.0, 2.0]
    assert not any(it.moving for it in found)


def test_where_something_moves_the_budget_looks() -> None:
    found = watched(pipeline_of(motion=MotionParams(detect_fps=5)), frames(STILL[:10] + CROSSING))
    during = [it for it in found if it.timestamp_s >= 1]
    looks = [it.timestamp_s for it in during if it.detected]
    assert sum(it < 2 for it in looks) == pytest.approx(5, abs=1)  # while it is new; later as the gate sees fit
    assert len(looks) <= 5 * 4 + 1
    assert sum(it.moving for it in during) > 35


def test_a_person_who_walks_through_is_one_track_and_one_alarm() -> None:
    pipeline = pipeline_of(motion=MotionParams())
    found = watched(pipeline, frames(STILL[:10] + CROSSING + STILL))
    ended = pipeline.close()
    events = [event for it in found for event in it.events] + ended
    begun, last = (event for event in events if event.alarm)
    assert (begun.label, begun.end_s) == ("person", None)
    assert begun.start_s == pytest.approx(1.0, abs=0.25)
    assert last.end_s == pytest.approx(5.0, abs=1.0)  # the gate looks at least once a second at what moves in its place
    assert begun.track_ids == (1,)
    assert {track.track_id for it in found for track in it.tracks} == {1}
    assert [event.kind for event in events if not event.alarm] == ["motion", "motion"]  # recorded, begin and end


def test_between_two_looks_tracks_are_told_as_not_visible() -> None:
    found = watched(pipeline_of(motion=MotionParams(detect_fps=5)), frames(STILL[:10] + CROSSING))
    told = [(it.detected, track.visible) for it in found for track in it.tracks if it.timestamp_s > 2]
    assert (True, True) in told
    assert {visible for detected, visible in told if not detected} == {False}


def test_given_detections_take_the_place_of_a_model() -> None:
    """What the field test does: detections were made before, and no pixel is asked for."""
    box = np.array([[10, 10, 50, 90]], np.float32)
    before = {0.0: 0.9, 0.1: 0.8, 0.2: 0.7}

    def replayed(it: LazyFrame) -> Detections:
        score = np.array([before[it.timestamp_s]], np.float32)
        return Detections(box, score, np.ones(1, np.int64))

    found = watched(pipeline_of(Detector(replayed, CLASSES, {"person": 0.5, "vehicle": 0.25})), frames(STILL[:3]))
    assert [it.tracks[0].score for it in found] == pytest.approx([0.9, 0.8, 0.7])
    assert [it.tracks[0].label for it in found] == [1, 1, 1]


@pytest.mark.parametrize(
    ("own", "threshold", "tracks"),
    [
        pytest.param(None, 0.8, 1, id="above the operating threshold"),
        pytest.param(None, 0.95, 0, id="below the operating threshold"),
        pytest.param(0.8, 0.95, 1, id="the site asks for less"),
        pytest.param(0.95, 0.8, 0, id="the site asks for more"),
    ],
)
def test_a_track_begins_at_the_score_that_is_reported(own: float | None, threshold: float, tracks: int) -> None:
    site = Site(version=1, rules=Rules(classes={"person": ClassRule(threshold=own)}))
    detector = replace(DETECTOR, thresholds={"person": threshold, "vehicle": 0.5})
    it = CameraPipeline("door", detector, site.camera("door")).step(frame(0, 0.0, picture(20)))
    assert len(it.tracks) == tracks


def test_the_tracker_can_be_given() -> None:
    given = frames([20, 20])
    assert watched(pipeline_of(tracker=TrackerParams(sure_score=1.0, confirm_hits=2)), given)[1].tracks[0].confirmed
    assert not watched(pipeline_of(tracker=TrackerParams(sure_score=1.0, confirm_hits=3)), given)[1].tracks[0].confirmed


def test_a_picture_of_another_size_begins_anew() -> None:
    small = [frame(i, i / 10, picture(20)) for i in range(10)]
    large = [frame(i, i / 10, picture(20, (320, 192))) for i in range(10, 20)]
    found = watched(pipeline_of(motion=MotionParams(detect_fps=1000, floor_fps=1000)), small + large)
    change = found[10]
    assert [(event.end_s, event.track_ids) for event in change.events] == [(0.9, (1,))]
    assert [(track.hits, track.first_s) for track in change.tracks] == [(1, 1.0)]
    assert change.size == (320, 192)


def test_seconds_are_told_by_part() -> None:
    ticks = iter(range(100))
    pipeline = pipeline_of(clock=lambda: float(next(ticks)))
    it = pipeline.step(frame(0, 0.0), decode_s=0.25)
    assert it.seconds == dict(zip(PARTS, (0.25, 1.0, 1.0, 1.0), strict=True))


def test_what_lasts_ends_with_the_last_frame() -> None:
    pipeline = pipeline_of()
    watched(pipeline, frames([20] * 20))
    assert [event.end_s for event in pipeline.close()] == [1.9]
    assert pipeline.close() == []


def test_a_session_is_a_detector(write_export: Any, tmp_path: Path) -> None:
    session = open_session(write_export(tmp_path / "cpu"))
    detector = detector_of(session)
    white = frame(0, 0.0, np.full((32, 32, 3), 255, np.uint8))
    found = detector.detect(white)
    assert found.boxes.tolist() == [[8, 8, 24, 24]]
    assert detector.classes == ("person", "vehicle")
    assert detector.thresholds == {"person": 0.5, "vehicle": 0.25}


def test_the_test_detector_finds_the_square() -> None:
    assert seen(frame(0, 0.0, picture(30))).boxes.tolist() == [[30, 20, 30 + SQUARE, 20 + SQUARE]]
    assert not len(seen(frame(0, 0.0)))
