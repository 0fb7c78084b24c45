"""From tracks to what an alarm is asked for. The demo's annotations must give the events that ship with them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.event_truth import (
    Segment,
    Truth,
    clipped,
    during,
    from_tracks,
    hours_watched,
    incidents,
)
from pipeline.core.events import Alarm, TruthEvent
from pipeline.core.types import Annotation, Frame

DEMO = Path(__file__).parents[2] / "data" / "demo"
CLASSES = ("person", "vehicle")
FPS = 10


def frames(count: int, camera: str = "hall", clip: str = "hall", first_s: float | None = 0.0) -> list[Frame]:
    return [
        Frame(f"{clip}{i}", camera, clip, i, None if first_s is None else first_s + i / FPS, 100, 50, f"{clip}.mp4")
        for i in range(count)
    ]


def box(
    track: str = "1", label: str = "person", x: float = 10, *, ignore: bool = False, **attributes: str
) -> Annotation:
    return Annotation("", label, x, 10, 20, 30, ignore=ignore, track_id=track, attributes=attributes)


def seen(it: Annotation, *spans: range, clip: str = "hall") -> dict[str, list[Annotation]]:
    """The box in these frames."""
    return {f"{clip}{i}": [it] for span in spans for i in span}


def demo(camera: str) -> Truth:
    document = json.loads((DEMO / "truth" / f"{camera}.json").read_bytes())
    fps = {"lot_a": 12.5, "lobby": 10, "hall": 12, "lot_b": 12, "aisle": 15, "workshop": 15}[camera]
    names = {it["id"]: it["name"] for it in document["categories"]}
    shown = [
        Frame(str(it["id"]), camera, camera, (i := it["frame_index"]), i / fps, it["width"], it["height"], camera)
        for it in document["images"]
    ]
    found: dict[str, list[Annotation]] = {}
    for it in document["annotations"]:
        label, ignore, track = names[it["category_id"]], bool(it["iscrowd"]), str(it["track_id"] or "")
        x, y, width, height = it["bbox"]
        one = Annotation("", label, x, y, width, height, ignore=ignore, track_id=track)
        found.setdefault(str(it["image_id"]), []).append(one)
    return from_tracks(shown, found, ("person", "vehicle", "bicycle"), gap_s=3.0)


@pytest.mark.parametrize("camera", ["lot_a", "lobby", "hall", "lot_b", "aisle", "workshop"])
def test_the_demos_tracks_give_the_demos_events(camera: str) -> None:
    told = json.loads((DEMO / "events" / f"{camera}.json").read_bytes())
    found = [(it.label, round(it.start_s, 3), round(it.end_s, 3)) for it in demo(camera).events]
    assert sorted(found) == sorted((it["class"], it["enter_s"], it["leave_s"]) for it in told)


def test_the_demos_ignore_regions_are_ignored_moments() -> None:
    """In the hall somebody half outside the picture is one for frames 0 to 5, and a leg for frames 13 to 22."""
    spans = [(round(it.start_s * 12), round(it.end_s * 12)) for it in demo("hall").ignored]
    assert spans == [(0, 6), (13, 23)]


def test_moments_of_a_track_further_apart_than_the_gap_are_two_events() -> None:
    shown = frames(100)
    found = seen(box(), range(10, 20), range(49, 60))
    (one,) = from_tracks(shown, found, CLASSES, gap_s=3.0).events
    assert (one.camera, one.label, one.start_s, one.end_s) == ("hall", "person", 1.0, 6.0)
    spans = [(it.start_s, it.end_s) for it in from_tracks(shown, found, CLASSES, gap_s=2.0).events]
    assert spans == [(1.0, 2.0), (pytest.approx(4.9), pytest.approx(6.0))]


def test_frames_that_come_unevenly_are_one_event() -> None:
    shown = [Frame(str(i), "hall", "hall", i, t, 100, 50, "") for i, t in enumerate([0.0, 0.1, 0.24, 0.3, 0.4])]
    (one,) = from_tracks(shown, {str(i): [box()] for i in range(5)}, CLASSES, gap_s=0.0).events
    assert one.start_s == 0.0
    assert one.end_s == pytest.approx(0.5)


def left_half(camera: str, label: str, boxes: NDArray[np.float64]) -> Mapping[str, NDArray[np.bool_]]:
    assert (camera, label) == ("hall", "person")
    assert boxes[0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.8])
    return {"left": boxes[:, 2] <= 0.5, "right": boxes[:, 2] > 0.5}


def test_zones_have_events_of_their_own() -> None:
    found = seen(box(x=10), range(10)) | seen(box(x=60), range(10, 30))
    events = from_tracks(frames(50), found, CLASSES, 3.0, left_half).events
    assert [(it.zone, it.start_s, it.end_s) for it in events] == [("left", 0.0, 1.0), ("right", 1.0, 3.0)]


def test_the_condition_is_the_tracks_most_frequent_value() -> None:
    found = seen(box(light="dim"), range(10)) | seen(box(light="dark"), range(10, 30))
    (one,) = from_tracks(frames(50), found, CLASSES, 3.0, condition="light").events
    assert one.condition == "dark"


def test_an_ignore_region_of_no_class_stands_for_all_and_one_of_a_class_for_that() -> None:
    found = seen(box("", "crowd", ignore=True), range(5)) | seen(box("", "vehicle", ignore=True), range(20, 25))
    truth = from_tracks(frames(50), found, CLASSES, 3.0)
    assert truth.events == ()
    spans = [(it.label, round(it.start_s, 6), round(it.end_s, 6)) for it in truth.ignored]
    assert spans == [("", 0.0, 0.5), ("vehicle", 2.0, 2.5)]


def test_what_is_of_no_wanted_class_is_no_event() -> None:
    assert from_tracks(frames(9), seen(box(label="dog"), range(9)), CLASSES, 3.0) == Truth((), ())


def test_the_same_track_number_in_two_clips_is_two_tracks() -> None:
    shown = frames(10) + frames(10, clip="later", first_s=1.5)
    found = seen(box(), range(10)) | seen(box(), range(10), clip="later")
    assert len(from_tracks(shown, found, CLASSES, gap_s=3.0).events) == 2


@pytest.mark.parametrize(
    ("shown", "found", "told"),
    [
        pytest.param(frames(3, first_s=None), {}, "frame 0 has no time", id="no-times"),
        pytest.param(frames(3), seen(box(""), range(3)), "a person in frame 0 has no track", id="no-track"),
        pytest.param(frames(9) + frames(9, clip="b"), {}, "clip hall begins before", id="clips-overlap"),
    ],
)
def test_what_cannot_be_made_into_events(
    shown: Sequence[Frame], found: Mapping[str, Sequence[Annotation]], told: str
) -> None:
    with pytest.raises(DataError, match=told.replace("clip hall", "clip (hall|b)")):
        from_tracks(shown, found, CLASSES, 3.0)


def event(start: float, end: float, camera: str = "hall", label: str = "person", **over: str) -> TruthEvent:
    return TruthEvent(camera, label, start, end, **over)


SEGMENTS = (Segment("hall", 10, 20), Segment("hall", 30, 40), Segment("lot", 0, 5))


@pytest.mark.parametrize(
    ("whole", "events", "ignored"),
    [
        pytest.param((12, 14), [(12, 14)], [], id="within"),
        pytest.param((5, 14), [(10, 14)], [], id="lasts-into-it"),
        pytest.param((15, 25), [(15, 20)], [], id="lasts-beyond-it"),
        pytest.param((15, 35), [(15, 20), (30, 35)], [], id="through-two"),
        pytest.param((20, 30), [], [], id="between"),
        pytest.param((0, 100), [(10, 20), (30, 40)], [], id="all-the-time"),
        pytest.param((5, 10.4), [], [(10, 10.4)], id="a-sliver-is-ignored"),
        pytest.param((5, 10.5), [(10, 10.5)], [], id="just-long-enough"),
        pytest.param((12, 12.3), [], [(12, 12.3)], id="too-short-by-itself"),
    ],
)
def test_clipped(whole: tuple[float, float], events: list[object], ignored: list[object]) -> None:
    truth = clipped(Truth((event(*whole, zone="door"),), ()), SEGMENTS, lambda *_: 0.5)
    assert [(it.start_s, it.end_s) for it in truth.events] == events
    assert [(it.start_s, it.end_s) for it in truth.ignored] == ignored
    assert {it.zone for it in (*truth.events, *truth.ignored)} <= {"door"}


def test_rounding_does_not_make_an_event_too_short() -> None:
    assert len(clipped(Truth((event(11.9, 12.1),), ()), SEGMENTS, lambda *_: 0.2).events) == 1  # 0.19999999999999929


def test_ignored_moments_are_clipped_too_however_short() -> None:
    truth = clipped(Truth((), (event(19.9, 33),)), SEGMENTS, lambda *_: 0.5)
    assert [(it.start_s, it.end_s) for it in truth.ignored] == [(19.9, 20), (30, 33)]


def test_the_least_duration_may_differ_by_camera_and_class() -> None:
    least = {("hall", "person"): 1.0, ("hall", "vehicle"): 3.0, ("lot", "person"): 5.0}
    events = (event(10, 12), event(10, 12, label="vehicle"), event(0, 4, "lot"))
    truth = clipped(Truth(events, ()), SEGMENTS, lambda camera, label: least[camera, label])
    assert truth.events == events[:1]


@pytest.mark.parametrize(
    "segments",
    [
        pytest.param([Segment("hall", 5, 5)], id="empty"),
        pytest.param([Segment("hall", 5, 9), Segment("hall", 8, 12)], id="overlapping"),
        pytest.param([Segment("hall", 5, float("nan"))], id="no-number"),
    ],
)
def test_segments_must_be_whole_and_apart(segments: list[Segment]) -> None:
    with pytest.raises(DataError, match=r"camera hall: the segment .* is empty or overlaps another"):
        clipped(Truth((), ()), segments, lambda *_: 0.0)


def test_alarms_count_that_are_raised_in_a_segment() -> None:
    alarms = [Alarm(camera, "person", 0, 99, "", t, 1.0) for camera, t in [("hall", 9), ("hall", 10), ("lot", 10)]]
    assert during(alarms, SEGMENTS) == [alarms[1]]


def test_incidents() -> None:
    events = [
        event(0, 10, condition="rain"),
        event(3, 6, condition="night"),
        event(14, 20),
        event(26, 30, condition="dry"),
        event(1, 2, label="vehicle"),
        event(1, 2, zone="door"),
        event(5, 6, camera="lot"),
    ]
    assert incidents(events, within_s=5.0) == (
        event(0, 20, condition="night + rain"),
        event(1, 2, label="person", zone="door"),
        event(1, 2, label="vehicle"),
        event(26, 30, condition="dry"),
        event(5, 6, camera="lot"),
    )
    assert len(incidents(events, within_s=3.0)) == 6


def test_a_camera_whose_time_is_all_ignored_cannot_be_judged() -> None:
    with pytest.raises(DataError, match="camera lot: all its time is ignored"):
        hours_watched(Truth((), (event(0, 3, "lot"), event(2, 9, "lot"))), SEGMENTS)


def test_hours_are_those_in_which_a_false_alarm_would_have_counted() -> None:
    ignored = (event(8, 12), event(11, 14, label="vehicle"), event(18, 32), event(35, 36), event(0, 1, "lot"))
    hours = hours_watched(Truth((), ignored), SEGMENTS)
    assert {camera: round(time * 3600, 6) for camera, time in hours.items()} == {"hall": 20 - 4 - 2 - 2 - 1, "lot": 4}
