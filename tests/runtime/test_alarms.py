"""When an alarm is raised, what belongs to it, and when it ends."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import ConfigError, DataError
from pipeline.core.event_truth import incidents
from pipeline.core.events import Alarm, figures, score
from pipeline.core.types import Detections
from pipeline.io.formats.events import read_events
from pipeline.runtime.alarms import GRACE_S, MOST_TRACKS, AlarmLogic, Event
from pipeline.runtime.site import CameraRules, Site
from pipeline.runtime.tracking import Track, Tracker

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
    times = (from_s + step * np.arange(round((until_s - from_s) / step) + 1)).round(9)
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
        start_s=1.0,
        end_s=None,
        confirmed_s=1.6,
        track_ids=(1,),
        score=0.9,
        alarm=True,
    )
    assert ended == replace(begun, end_s=4.0)


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
def test_what_raises_an_alarm(over: dict[str, Any], camera: dict[str, Any], seen: Seen, *, raised: bool) -> None:
    events = run(logic(camera, **over), seen, 5)
    assert [event.alarm for event in events if event.end_s is None] == ([True] if raised else [])


def spans(events: Sequence[Event]) -> list[tuple[float, float]]:
    """Begin and end of what has ended."""
    return [(round(it.start_s, 3), round(it.end_s, 3)) for it in events if it.end_s is not None]


@pytest.mark.parametrize(
    ("cooldown", "second", "expected"),
    [
        pytest.param(0, 4.0, [(1, 6)], id="within-the-grace"),
        pytest.param(0, 5.2, [(1, 2), (5.2, 7.2)], id="after-the-grace"),
        pytest.param(5, 6.8, [(1, 8.8)], id="within-the-cool-down"),
        pytest.param(5, 7.2, [(1, 2), (7.2, 9.2)], id="after-the-cool-down"),
    ],
)
def test_the_cool_down_merges(cooldown: float, second: float, expected: list[tuple[float, float]]) -> None:
    seen = both(between(1, 2), between(second, second + 2, track_id=2))
    events = run(logic(cooldown_s=cooldown), seen, 20)
    assert spans(events) == expected
    assert len(events) == 2 * len(expected)


def test_who_begins_within_the_cool_down_and_lasts_beyond_it_goes_on_with_the_event() -> None:
    seen = both(between(1, 2), between(6.8, 12, track_id=2))
    events = run(logic(cooldown_s=5, classes={"person": {"min_duration_s": 1}}), seen, 20)
    assert spans(events) == [(1, 12)]


def test_a_flicker_within_the_cool_down_does_not_draw_the_event_out() -> None:
    seen = both(between(1, 2), between(6, 6, track_id=2), between(8, 8, track_id=3), between(10, 10, track_id=4))
    assert spans(run(logic(cooldown_s=5), seen, 20)) == [(1, 2)]


def test_all_who_are_there_at_once_are_one_event() -> None:
    seen = both(between(1, 4, score=0.7), between(2, 9, track_id=2, score=0.8), between(8, 12, track_id=3, score=0.6))
    begun, ended = run(logic(), seen, 20)
    assert (begun.track_ids, begun.score) == ((1,), 0.7)
    assert (ended.track_ids, ended.score) == ((1, 2, 3), 0.8)
    assert spans([ended]) == [(1, 12)]


def test_classes_and_zones_have_events_of_their_own() -> None:
    zones = [
        ZONES[0],
        {"name": "right", "kind": "include", "classes": ["person"], "polygon": [[1, 0], [1, 1], [0.5, 0]]},
    ]
    it = logic({"zones": zones}, classes={"person": {}, "vehicle": {}})
    seen = both(
        between(0, 3, x=0.3), between(0, 3, track_id=2, label="vehicle", x=0.3), between(0, 3, track_id=3, x=0.9, y=0.3)
    )
    begun = [event for event in run(it, seen, 5) if event.end_s is None]
    assert [(e.label, e.zone, e.track_ids) for e in begun] == [
        ("person", "left", (1,)),
        ("person", "right", (3,)),
        ("vehicle", "left", (2,)),
    ]


def test_a_class_without_an_include_zone_has_the_whole_picture() -> None:
    zones = [{**ZONES[0], "classes": ["vehicle"]}]
    it = logic({"zones": zones}, classes={"person": {}, "vehicle": {}})
    seen = both(between(0, 3, x=0.9), between(0, 3, track_id=2, label="vehicle", x=0.9))
    assert {(e.label, e.zone) for e in run(it, seen, 5)} == {("person", "")}


def test_an_unsure_sighting_raises_nothing_but_carries_an_alarm_on() -> None:
    seen = both(between(0, 1), between(1.2, 9, score=0.2))
    assert spans(run(logic(), seen, 20)) == [(0, 9)]
    assert run(logic(), both(between(0, 0.2), between(0.4, 9, score=0.2)), 20) == []


def test_an_unsure_sighting_begins_no_stay() -> None:
    begun, _ = run(logic(), both(between(0, 0.8, score=0.2), between(1.0, 3)), 10)
    assert (begun.start_s, begun.confirmed_s) == (1.0, 1.6)
    assert run(logic(), both(between(0, 0.8, score=0.2), between(1.0, 1.2)), 10) == []


def test_two_sure_sightings_far_apart_are_no_stay() -> None:
    seen = both(between(0, 0), between(0.2, 59.8, score=0.2), between(60, 60))
    assert run(logic(), seen, 65) == []


def test_the_score_is_the_highest() -> None:
    begun, ended = run(logic(), both(between(0, 0.2), between(0.4, 1, score=0.7), between(1.2, 3, score=0.6)), 10)
    assert (begun.score, ended.score) == (0.9, 0.9)


def test_who_leaves_the_zone_ends_the_event_though_the_track_goes_on() -> None:
    seen = both(between(0, 4, x=0.45), between(4.2, 30, x=0.75))
    events = run(logic({"zones": ZONES}), seen, 4 + GRACE_S + 0.4)
    assert spans(events) == [(0, 4)]


def test_where_a_track_should_be_that_is_not_seen_moves_nobody_out_of_a_zone() -> None:
    it = logic({"zones": ZONES})
    run(it, between(0, 2, x=0.45), 2)
    assert [e for t in range(3, 20) for e in it.update([track(2.0, x=0.75, visible=False)], float(t), SIZE)] == []


def test_jitter_of_a_tenth_of_the_height_is_no_crossing() -> None:
    jitter = [(0.5 + 0.03 * (-1) ** i, 0.8) for i in range(20)]
    events = [e for e in run(logic(gate()), way([(0.3, 0.8), *jitter, (0.7, 0.8)]), 10) if e.kind == "crossing"]
    assert [e.direction for e in events if e.end_s is None] == ["left_to_right"]


def test_a_short_way_out_of_the_zone_does_not_end_an_event() -> None:
    out = 3.0
    seen = both(between(0, 4, x=0.45), between(4.2, 4 + out - 0.4, x=0.55), between(4 + out - 0.2, 9, x=0.45))
    assert spans(run(logic({"zones": ZONES}), seen, 20)) == [(0, 9)]


def test_an_alarms_track_that_is_followed_is_there_until_it_is_seen_elsewhere() -> None:
    """Nothing moves, so for long nobody looks, and the tracker keeps the track as it is."""
    it = logic()
    begun = run(it, between(0, 2), 2)
    still = [track(2.0, visible=False)]
    for t in range(3, 60):
        assert it.update(still, float(t), SIZE) == []
    assert it.update([track(60.0)], 60.0, SIZE) == []
    assert it.update([], 60.0 + GRACE_S, SIZE) == []
    (ended,) = it.update([], 60.1 + GRACE_S, SIZE)
    assert ended == replace(begun[0], end_s=60.0)


@pytest.mark.parametrize("idle", [pytest.param("stale", id="tracks-of-the-last-look"), pytest.param("none", id="none")])
def test_what_is_given_between_two_looks_changes_nothing(idle: str) -> None:
    """Looks every 2 s, frames every 0.2 s."""

    def seen(t: float) -> Sequence[Track]:
        look = 2 * int(t / 2 + 1e-9)
        looked = idle == "stale" or abs(t - look) < 1e-9
        return [track(float(look))] if looked and look <= 8 else []

    begun, ended = run(logic(), seen, 20)
    assert (begun.start_s, begun.confirmed_s, ended.end_s) == (0.0, 2.0, 8.0)


def test_after_an_outage_a_new_track_is_a_new_event() -> None:
    it = logic(cooldown_s=5)
    events = run(it, between(0, 4), 4) + run(it, between(60, 64, track_id=2), 64, from_s=60) + it.close(64.0)
    assert spans(events) == [(0, 4), (60, 64)]


def way(points: Sequence[tuple[float, float]], **over: Any) -> Seen:
    """A track that goes from point to point, one a look."""
    return lambda t: [track(t, x=points[i][0], y=points[i][1], **over)] if (i := round(t / STEP)) < len(points) else []


def gate(direction: str = "both") -> dict[str, Any]:
    return {"lines": [{"name": "gate", "from": [0.5, 1], "to": [0.5, 0], "direction": direction}]}


TO_RIGHT = [(x, 0.8) for x in (0.2, 0.3, 0.4, 0.6, 0.7, 0.8)]  # looking up from the lower edge


@pytest.mark.parametrize(
    ("direction", "points", "told"),
    [
        pytest.param("both", TO_RIGHT, ["left_to_right"], id="to-the-right"),
        pytest.param("both", TO_RIGHT[::-1], ["right_to_left"], id="to-the-left"),
        pytest.param("left_to_right", TO_RIGHT, ["left_to_right"], id="the-direction-asked-for"),
        pytest.param("right_to_left", TO_RIGHT, [], id="the-other-direction"),
        pytest.param("both", [*TO_RIGHT, *TO_RIGHT[::-1]], ["left_to_right", "right_to_left"], id="there-and-back"),
        pytest.param("both", TO_RIGHT[:3], [], id="not-over-it"),
    ],
)
def test_crossings(direction: str, points: list[tuple[float, float]], told: list[str]) -> None:
    events = [e for e in run(logic(gate(direction)), way(points), 10) if e.kind == "crossing"]
    assert [e.direction for e in events if e.end_s is None] == told
    assert [e.direction for e in events if e.end_s is not None] == told
    assert all((e.label, e.zone, e.track_ids, e.alarm) == ("person", "gate", (1,), True) for e in events)


def test_a_crossing_is_told_when_its_track_was_seen_long_enough() -> None:
    points = [(0.4, 0.8), (0.6, 0.8), (0.7, 0.8), (0.8, 0.8), (0.9, 0.8), (0.9, 0.8)]
    begun, ended = (e for e in run(logic(gate()), way(points), 9) if e.kind == "crossing")
    assert (begun.start_s, begun.end_s, begun.confirmed_s) == (0.2, None, 0.6)
    assert ended == replace(begun, end_s=begun.start_s)
    assert not [e for e in run(logic(gate()), way(points[:3]), 9) if e.kind == "crossing"]


@pytest.mark.parametrize(
    "pause", [pytest.param({"score": 0.2}, id="seen-unsurely"), pytest.param({"visible": False}, id="not-looked-for")]
)
def test_who_pauses_before_the_line_crosses_it_all_the_same(pause: dict[str, Any]) -> None:
    it = logic(gate())
    run(it, between(0, 1, x=0.4), 1)
    for t in range(2, 12):
        seen_s = float(t) if "score" in pause else 1.0
        assert it.update([track(seen_s, x=0.4, **pause)], float(t), SIZE) == []
    events = run(it, lambda t: [track(t, x=0.6, score=0.2)], 12.2, from_s=12)
    assert [(e.kind, e.direction, e.start_s) for e in events] == [("crossing", "left_to_right", 12.0)] * 2


def test_two_who_cross_are_two_crossings_whatever_the_cool_down() -> None:
    seen = both(way(TO_RIGHT), way(TO_RIGHT, track_id=2))
    events = [e for e in run(logic(gate(), cooldown_s=60), seen, 9) if e.kind == "crossing"]
    assert [e.track_ids for e in events] == [(1,), (1,), (2,), (2,)]


@pytest.mark.parametrize(("mode", "alarm"), [("conservative", False), ("sensitive", True)])
def test_motion_alone_is_recorded_and_alarms_only_in_sensitive_mode(mode: str, *, alarm: bool) -> None:
    it = logic(mode=mode, cooldown_s=5)
    moving = {1, 2, 3, 7, 15}
    events = [event for t in range(30) for event in it.update([], float(t), SIZE, t in moving)]
    assert [(e.kind, e.label, e.zone, e.start_s, e.end_s, e.alarm) for e in events] == [
        ("motion", "", "", 1.0, None, alarm),
        ("motion", "", "", 1.0, 7.0, alarm),
        ("motion", "", "", 15.0, None, alarm),
        ("motion", "", "", 15.0, 15.0, alarm),
    ]


def test_in_conservative_mode_a_class_confirms_the_alarm() -> None:
    it = logic()
    events = [e for t in range(5) for e in it.update([track(float(t))], float(t), SIZE, moving=True)]
    assert [(e.kind, e.alarm) for e in events] == [("motion", False), ("presence", True)]


def test_closing_ends_what_lasts_and_forgets_it() -> None:
    it = logic(gate())
    run(it, between(0, 4), 4.4)
    assert spans(it.close(4.5)) == [(0, 4)]
    assert it.close(4.6) == []
    assert run(it, lambda _: [], 20, from_s=5) == []


@pytest.mark.parametrize("time", [pytest.param(0.5, id="back"), pytest.param(float("nan"), id="none")])
def test_time_must_not_go_back(time: float) -> None:
    it = logic()
    it.update([], 1.0, SIZE)
    with pytest.raises(DataError, match=f"hall: time must not go back, got {time} s after 1.0 s"):
        it.update([], time, SIZE)
    with pytest.raises(DataError, match="time must not go back"):
        it.close(time)


def test_the_rules_must_fit_the_model() -> None:
    with pytest.raises(ConfigError, match="class 'persn', which the model does not have; did you mean 'person'"):
        logic(classes={"persn": {}})
    with pytest.raises(ConfigError, match="no operating threshold for 'vehicle'"):
        AlarmLogic("hall", rules(classes={"vehicle": {}}), CLASSES, {"person": 0.5})


def test_the_first_sighting_counts_once_the_tracker_has_confirmed_the_track() -> None:
    seen = both(between(0, 0, confirmed=False), between(0.2, 3))
    begun, _ = run(logic(), seen, 10)
    assert (begun.start_s, begun.confirmed_s) == (0.0, 0.6)
    seen = both(between(0, 0.8, confirmed=False), between(1.0, 3))
    begun, _ = run(logic(), seen, 10)
    assert (begun.start_s, begun.confirmed_s) == (0.0, 1.0)


DEMO = Path(__file__).parents[2] / "data" / "demo"
DEMO_CLASSES = ("person", "vehicle", "bicycle")


def demo_alarms(camera: str, fps: float, size: tuple[int, int], frames: int) -> list[Alarm]:
    """What somebody would be told who sees every object of a clip, five times a second, through the tracker."""
    rows = np.loadtxt(DEMO / "tracks" / f"{camera}.txt", delimiter=",", ndmin=2)
    it = AlarmLogic(camera, Site.default(DEMO_CLASSES).camera(camera), DEMO_CLASSES, dict.fromkeys(DEMO_CLASSES, 0.5))
    tracker, events, t = Tracker(), [], 0.0
    for frame in range(0, frames, round(fps / 5)):
        mine, t = rows[rows[:, 0] == frame + 1], frame / fps
        boxes = np.concatenate([mine[:, 2:4], mine[:, 2:4] + mine[:, 4:6]], axis=1).astype(np.float32)
        found = Detections(boxes, np.full(len(mine), 0.9, np.float32), mine[:, 7].astype(np.int64) - 1)
        events += it.update(tracker.update(found, t), t, size)
    events += it.close(t)
    return [
        Alarm(e.camera, e.label, e.start_s, e.end_s, e.zone, e.confirmed_s, e.score)
        for e in events
        if e.end_s is not None
    ]


def test_who_sees_all_misses_no_incident_of_the_demo_and_raises_no_false_alarm() -> None:
    clips = {
        "lot_a": (12.5, (768, 432), 377),
        "lobby": (10, (768, 432), 1394),
        "hall": (12, (480, 270), 23),
        "lot_b": (12, (480, 270), 41),
        "aisle": (15, (480, 270), 67),
        "workshop": (15, (480, 270), 71),
    }
    alarms = [alarm for camera, clip in clips.items() for alarm in demo_alarms(camera, *clip)]
    truth = incidents(read_events(DEMO / "events"), within_s=5.0)
    hours = {camera: frames / fps / 3600 for camera, (fps, _, frames) in clips.items()}
    found = figures(score(truth, alarms, hours, tolerance_s=1.0))
    assert (found.events, found.missed, found.false) == (12, 0, 0)
    assert found.delay_s is not None
    assert found.delay_s.max <= 1.0


def size_of(it: AlarmLogic) -> int:
    return len(it._stays) + sum(1 + len(spell.tracks) for spell in it._spells.values())


def test_memory_does_not_grow_with_time() -> None:
    """Somebody comes every second, each over the line, so that one event lasts for all the time."""
    it = logic(gate())
    sizes = []
    for i in range(1000):
        for k, (x, y) in enumerate(TO_RIGHT):
            it.update([track(t := i + k * 0.15, track_id=i, x=x, y=y)], t, SIZE)
        sizes.append(size_of(it))
    assert sizes[150] >= MOST_TRACKS
    assert max(sizes[150:]) == sizes[150]
