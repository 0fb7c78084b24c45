"""Clips tried with a real model, and judged; see tests/footage.py for why every figure can be worked out by hand."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.core.event_truth import Truth
from pipeline.core.events import Mark, TruthEvent, figures
from pipeline.core.footage import Stretch
from pipeline.core.params import FieldtestParams
from pipeline.core.tracks import Identified, TrackScores
from pipeline.runtime.session import open_session
from pipeline.runtime.site import Site
from pipeline.runtime.trial import PAUSE_S, Setting, Take, Trial, Tried, between, curve, trial, try_take
from tests.footage import BOX, CLASSES, FPS, THRESHOLDS, Span, write_clip, write_model

WriteExport = Callable[..., Path]
P: dict[str, Any] = {
    "path": "footage", "target": "cpu", "detect_fps": 5.0, "floor_fps": 0.5, "reference_s": 5.0, "tolerance_s": 1.0,
    "min_event_s": 1.0, "curve": [0.5, 0.9], "margin_s": 1.0, "max_clip_s": 4.0, "cases": 10,
}  # fmt: skip
BRIGHT = [(6.0, 9.0), (22.0, 24.0)]  # the first is an event, the second is not
EVENTS = [(6.0, 9.0), (15.0, 18.0)]  # the second of these is missed; a pause of 5 s would make them one incident
WHOLE = Stretch("gate", "gate", 0.0, math.inf)


class World:
    """A model and footage."""

    def __init__(self, root: Path, write_export: WriteExport) -> None:
        self.root, self.model = root, write_model(root, write_export)

    def setting(self, site: dict[str, Any] | None = None, **changes: Any) -> Setting:
        known = Site.default(CLASSES) if site is None else Site.parse("", {"version": 1} | site)
        return Setting(self.model, known, FieldtestParams.parse("fieldtest", P | changes), CLASSES)

    def take(self, *stretches: Stretch, name: str = "gate", seconds: float = 30.0, **changes: Any) -> Take:
        path = self.root / f"{name}.mp4"
        if not path.exists():
            write_clip(path, seconds, changes.pop("bright", BRIGHT))
        values = {"path": path, "name": path.name, "camera": "gate", "truth": truth(EVENTS)}
        return Take(**{**values, "stretches": stretches or (WHOLE,), **changes})

    def tried(self, take: Take, setting: Setting | None = None) -> list[Tried]:
        return try_take(take, open_session(self.model, threads=1), setting or self.setting())

    def judged(self, *takes: Take, **changes: Any) -> Trial:
        setting = self.setting(**changes)
        return trial([it for take in takes for it in self.tried(take, setting)], setting, THRESHOLDS)


def truth(events: Sequence[Span] = (), ignored: Sequence[Span] = (), zone: str = "") -> Truth:
    return Truth(
        tuple(TruthEvent("gate", "person", *span, zone) for span in events),
        tuple(TruthEvent("gate", "person", *span) for span in ignored),
    )


@pytest.fixture
def world(tmp_path: Path, write_export: WriteExport) -> World:
    return World(tmp_path, write_export)


def counts(it: Trial) -> tuple[int, int, int, int]:
    """Events, found, false alarms, and alarms that count neither way."""
    told = figures(it.scored)
    return told.events, told.found, told.false, told.duplicates + told.ignored


def test_one_is_found_one_missed_and_one_alarm_is_false(world: World) -> None:
    it = world.judged(world.take())
    assert counts(it) == (2, 1, 1, 0)
    told = figures(it.scored)
    assert told.hours == pytest.approx(30 / 3600)
    assert told.delay_s is not None
    assert told.delay_s.median == pytest.approx(0.6)  # three frames of 0.2 s, for a least duration of 0.5
    assert (it.scored.found_by, it.event_of, it.alarm_of) == ((0, -1), (0, 0), (0, 0))


def test_only_the_stretch_is_judged_and_begins_cold(world: World) -> None:
    it = world.judged(world.take(Stretch("gate", "gate", 8.0, 20.0)))
    assert counts(it) == (2, 1, 0, 0)
    (event, _) = it.truth.events
    assert (event.start_s, event.end_s) == pytest.approx((8.0, 9.0))  # what is left of it
    assert it.scored.alarms[0].start_s == pytest.approx(8.0)
    assert it.hours["gate"] == pytest.approx(12.2 / 3600)  # the frame at 20 s is the last, and lasts 0.2


def test_what_a_stretch_leaves_of_an_event_may_be_too_short_to_count(world: World) -> None:
    it = world.judged(world.take(Stretch("gate", "gate", 8.2, 20.0)))
    assert counts(it) == (1, 0, 0, 1)  # 0.8 s: no alarm is asked for it, and the one there was is not false
    assert it.hours["gate"] == pytest.approx((12.0 - 0.8) / 3600)


def test_the_frames_before_a_stretch_are_looked_at_and_not_judged(world: World) -> None:
    (it,) = world.tried(world.take(Stretch("gate", "gate", 8.0, 20.0)))
    assert it.recording.before[0].timestamp_s == pytest.approx(3.0)  # five seconds of reference
    assert it.segment.start_s == pytest.approx(8.0)


def test_two_stretches_of_a_clip_share_its_clock(world: World) -> None:
    both = Stretch("gate", "gate", 0.0, 10.0), Stretch("gate", "gate", 20.0, math.inf)
    it = world.judged(world.take(*both))
    assert counts(it) == (1, 1, 1, 0)
    assert it.shift_s == (0.0, 0.0)
    assert it.alarm_of == (0, 1)


def test_clips_of_one_camera_follow_each_other(world: World) -> None:
    first, second = world.take(), world.take(name="later", seconds=12.0, bright=[(6.0, 9.0)])
    it = world.judged(first, second)
    assert it.shift_s == pytest.approx((0.0, 30.0 + PAUSE_S))
    assert counts(it) == (3, 2, 1, 0)  # of the shorter clip the second event is none
    assert it.hours == {"gate": pytest.approx(42 / 3600)}
    assert it.event_of == (0, 0, 1)


def test_under_an_ignore_region_an_alarm_is_not_false(world: World) -> None:
    it = world.judged(world.take(truth=truth(EVENTS, ignored=[(21.0, 25.0)])))
    assert counts(it) == (2, 1, 0, 1)
    assert it.scored.marks == (Mark.TRUE, Mark.IGNORED)
    assert it.hours["gate"] == pytest.approx(26 / 3600)


ZONES = {"cameras": {"gate": {"zones": [
    {"name": "door", "kind": "include", "polygon": [[0.2, 0.6], [0.8, 0.6], [0.8, 0.9], [0.2, 0.9]]},
]}}, "rules": {"classes": {"person": {}}}}  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        pytest.param("door", (2, 1, 1, 0), id="where the feet are"),
        pytest.param("hedge", (2, 0, 2, 0), id="an event of another zone is not found there"),
        pytest.param("", (2, 1, 1, 0), id="an event that says no zone"),
    ],
)
def test_zones_are_those_of_the_site(world: World, zone: str, told: tuple[int, ...]) -> None:
    it = world.judged(world.take(truth=truth(EVENTS, zone=zone)), site=ZONES)
    assert counts(it) == told
    assert {alarm.zone for alarm in it.scored.alarms} == {"door"}


def test_a_class_without_a_rule_is_not_asked_for(world: World) -> None:
    it = world.judged(world.take(), site={"rules": {"classes": {"vehicle": {}}}})
    assert counts(it) == (0, 0, 0, 0)


def test_motion_alone_alarms_where_the_site_is_sensitive(world: World) -> None:
    site = {"rules": {"classes": {"person": {"threshold": 0.9}}, "mode": "sensitive"}}
    it = world.judged(world.take(), site=site)
    assert {alarm.label for alarm in it.scored.alarms} == {""}
    assert figures(it.scored).found == 1  # motion fits any class


def test_the_curve_is_the_trial_at_each_threshold(world: World) -> None:
    tried = world.tried(world.take())
    strict = {"rules": {"classes": {"person": {"threshold": 0.95}}}}  # above every score
    setting = world.setting(site=strict, curve=[0.9, 0.05, 0.5])
    whole = trial(tried, setting, THRESHOLDS)
    assert counts(whole) == (2, 0, 0, 0)
    points = curve(whole, setting)
    assert [(it.threshold, it.missed_share) for it in points] == [(0.05, 0.5), (0.5, 0.5), (0.9, 1.0)]
    assert [it.false_per_hour for it in points] == pytest.approx([120.0, 120.0, 0.0])


def test_what_is_kept_reaches_down_to_all_that_can_matter(world: World) -> None:
    assert world.setting(curve=[0.5]).floor("gate", THRESHOLDS).tolist() == [0.1, 0.1]  # a track goes on from there
    assert world.setting(curve=[0.05]).floor("gate", THRESHOLDS).tolist() == [0.05, 0.05]
    low = {"rules": {"classes": {"person": {"threshold": 0.01}, "vehicle": {}}}}
    assert world.setting(site=low).floor("gate", THRESHOLDS).tolist() == [0.01, 0.1]


def test_tracking_is_measured_where_there_are_true_tracks(world: World) -> None:
    def true(n: int) -> Identified:
        there = [i for i, (start, end) in enumerate(EVENTS) if start <= n / FPS < end]
        return Identified(np.array(there, np.int64), np.array([BOX] * len(there)).reshape(-1, 4))

    persons = tuple(true(n) for n in range(30 * FPS))
    (it,) = world.tried(world.take(tracks=(persons, ())))
    assert it.tracking is not None
    scores = TrackScores.of(it.tracking)
    # 15 of 30 true boxes are found, exactly, under one id; 10 boxes are nobody's.
    assert (scores.deta, scores.assa) == pytest.approx((15 / 40, 1.0))
    assert (scores.hota, scores.mota, scores.idf1) == pytest.approx((math.sqrt(15 / 40), 1 - 25 / 30, 30 / 55))
    assert world.tried(world.take())[0].tracking is None


def test_the_cameras_health_is_watched_too(world: World) -> None:
    lit = world.take(name="lit", seconds=24.0, bright=[(14.0, 24.0)])
    (it,) = world.tried(lit)
    assert it.judged  # against its first ten seconds
    assert it.findings
    assert all(finding.start_s >= 14 for finding in it.findings)
    (short,) = world.tried(world.take(name="short", seconds=5.0, bright=[]))
    assert (short.judged, short.findings) == (False, ())


@pytest.mark.parametrize(
    ("stretch", "ignored", "told"),
    [
        pytest.param((29.9, math.inf), [], "no longer than one frame", id="beyond its end"),
        pytest.param((8.0, 8.0), [], "no longer than one frame", id="a single frame"),
        pytest.param((0.0, math.inf), [(0.0, 40.0)], "all its time is ignored", id="an ignore region all the time"),
    ],
)  # fmt: skip
def test_a_clip_without_anything_to_judge_says_why(
    world: World, stretch: Span, ignored: Sequence[Span], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        world.tried(world.take(Stretch("gate", "gate", *stretch), truth=truth(EVENTS, ignored)))


def test_of_two_stretches_the_one_with_frames_is_tried(world: World) -> None:
    (it,) = world.tried(world.take(Stretch("gate", "gate", 0.0, 5.0), Stretch("gate", "gate", 8.0, 8.0)))
    assert it.segment.start_s == 0.0


def test_a_trial_of_nothing(world: World) -> None:
    it = world.judged()
    assert counts(it) == (0, 0, 0, 0)
    assert it.hours == {}
    assert [point.missed_share for point in curve(it, world.setting())] == [None, None]


def test_frames_between_two_moments(world: World) -> None:
    path = world.take().path
    assert [it.timestamp_s for it in between(path, 1.0, 1.6)] == pytest.approx([1.0, 1.2, 1.4, 1.6])
    assert len(list(between(path, -5.0, math.inf))) == 30 * FPS
