"""A trial on held-out footage: looked at as a camera would, judged in events, at one operating threshold or at many."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.drift import Drift, drift, frame_series
from pipeline.core.errors import DataError
from pipeline.core.event_truth import Segment, Truth, clipped, hours_watched, incidents
from pipeline.core.events import Alarm, Point, Scored, operating_curve, score
from pipeline.core.footage import Stretch
from pipeline.core.params import FieldtestParams
from pipeline.core.tracks import Identified, TrackCounts, TrackScores, count_tracks
from pipeline.core.types import Detections
from pipeline.runtime.alarms import GRACE_S, Event
from pipeline.runtime.following import Follower, starts
from pipeline.runtime.frames import LazyFrame
from pipeline.runtime.health import HealthFinding
from pipeline.runtime.health_watch import HealthWatch
from pipeline.runtime.motion import MotionParams
from pipeline.runtime.recording import Look, Recording, record, replay
from pipeline.runtime.session import Session
from pipeline.runtime.site import CameraRules, Site
from pipeline.runtime.sources import open_source
from pipeline.runtime.tracking import Track, TrackerParams

PAUSE_S = 3600.0  # between two clips of one camera on its clock: nothing of one belongs to the other

Detect = Callable[[LazyFrame], Detections]


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """One clip, and what is true of it."""

    path: Path
    name: str  # of the file, below the folder of clips
    camera: str
    stretches: tuple[Stretch, ...]  # that are held out
    truth: Truth  # over the whole clip, in its seconds
    tracks: tuple[tuple[Identified, ...], ...] = ()  # of each class, in each frame from the first; () where unknown


@dataclass(frozen=True, slots=True)
class Setting:
    """How the trial is made."""

    model: Path  # a target's folder
    site: Site
    p: FieldtestParams
    classes: tuple[str, ...]

    def rules(self, camera: str) -> CameraRules:
        """What is reported of a camera."""
        return self.site.camera(camera)

    def places(self, camera: str, label: str, boxes: NDArray[np.float64]) -> Mapping[str, NDArray[np.bool_]]:
        """By zone, which objects of a class count in it, as `CameraRules.places`."""
        return self.rules(camera).places(label, boxes)

    def floor(self, camera: str, thresholds: Mapping[str, float]) -> NDArray[np.float64]:
        """By class, the score from which on a detection may matter, at an operating threshold or one of the curve."""
        used = [TrackerParams().low_score, *self.p.curve]
        return np.array([min(it, *used) for it in starts(self.rules(camera), self.classes, thresholds)])


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """A stretch of a clip, looked at."""

    take: Take
    recording: Recording
    tracking: TrackCounts | None  # of the detector at every frame; None without true tracks
    findings: tuple[HealthFinding, ...]  # of the camera's health, also in the time before
    judged: bool  # the camera's health could be judged

    @property
    def segment(self) -> Segment:
        """The time that was watched, in the clip's seconds."""
        return Segment(self.take.camera, *self.recording.span_s)


def try_take(take: Take, session: Session, setting: Setting) -> list[Tried]:
    """Look at every stretch of a clip that is longer than a frame.

    Raises:
        DataError: the clip cannot be read, or there is nothing in it to judge by.
    """
    tried = [_tried(take, stretch, session, setting) for stretch in take.stretches]
    long = [it for it in tried if it.segment.end_s > it.segment.start_s]
    if not long:
        raise DataError("what is held out of it is no longer than one frame")
    ignored = tuple(it for some in long for it in _asked(some, setting).ignored)
    hours_watched(Truth((), ignored), [it.segment for it in long])
    return long


def _tried(take: Take, stretch: Stretch, session: Session, setting: Setting) -> Tried:
    p, health = setting.p, HealthWatch()
    thresholds = session.contract.thresholds
    floor = setting.floor(take.camera, thresholds)
    last: dict[float, HealthFinding] = {}

    def watch(frame: LazyFrame) -> None:
        last.update((it.start_s, it) for it in health.step(frame))

    def detect(frame: LazyFrame) -> Detections:
        return session.detect(frame.rgb()).above(floor)

    motion = MotionParams(detect_fps=p.detect_fps, floor_fps=p.floor_fps)
    frames = between(take.path, stretch.start_s - p.reference_s, stretch.end_s, p.detect_fps)
    follower = Follower(take.camera, setting.rules(take.camera), setting.classes, thresholds)
    recording = record(frames, detect, motion, follower, stretch.start_s, watch)
    counts = _tracking(take, stretch, detect, session) if take.tracks else None
    return Tried(take, recording, counts, tuple(last.values()), health.judges)


def between(path: Path, start_s: float, end_s: float, fps: float = 0) -> Iterator[LazyFrame]:
    """The frames of a clip from one moment to another, both included.

    Args:
        path: of the clip.
        start_s: of the first frame, at least.
        end_s: of the last one, at most.
        fps: so many a second at most, as `sightline watch` reads a source; 0 for all.

    Raises:
        DataError: the clip cannot be read so far.
    """
    source = open_source(str(path), fps=fps)
    try:
        for frame in source.frames():
            if frame.timestamp_s > end_s:
                return
            if frame.timestamp_s >= start_s:
                yield frame
    finally:
        source.close()


def _tracking(take: Take, stretch: Stretch, detect: Detect, session: Session) -> TrackCounts:
    """Our tracks against the true ones, class by class, with the detector at every frame."""
    contract = session.contract
    rules = Site.default(contract.classes).camera(take.camera)
    follower = Follower(take.camera, rules, contract.classes, contract.thresholds)
    every = record(between(take.path, stretch.start_s, stretch.end_s), detect, None, follower, stretch.start_s)
    told = replay(every, take.camera, rules, contract.classes, contract.thresholds)
    nothing = Identified(np.zeros(0, np.int64), np.zeros((0, 4)))
    by_class = []
    for label, truth in enumerate(take.tracks):
        wanted = [truth[look.index] if look.index < len(truth) else nothing for look in every.looks]
        by_class.append(count_tracks(wanted, [_identified(tracks, label) for tracks in told.tracks]))
    return sum(by_class[1:], by_class[0])


def _identified(tracks: Sequence[Track], label: int) -> Identified:
    mine = [it for it in tracks if it.confirmed and it.visible and it.label == label]
    boxes = np.array([it.box for it in mine], np.float64).reshape(-1, 4)
    return Identified(np.array([it.track_id for it in mine], np.int64), boxes)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """All stretches, on one clock a camera; events and alarms, judged at the operating thresholds."""

    tried: tuple[Tried, ...]
    shift_s: tuple[float, ...]  # of each stretch's clip on its camera's clock
    truth: Truth
    hours: Mapping[str, float]  # watched, by camera
    scored: Scored
    event_of: tuple[int, ...]  # for each event the stretch that it is in
    alarm_of: tuple[int, ...]  # for each alarm


def trial(tried: Sequence[Tried], setting: Setting, thresholds: Mapping[str, float]) -> Trial:
    """Judge what would have been reported.

    Args:
        tried: every stretch.
        setting: as it was looked at.
        thresholds: operating threshold of each class; the site's own goes before it.
    """
    shift = _shifts(tried)
    asked = [_shifted(_asked(it, setting), by) for it, by in zip(tried, shift, strict=True)]
    truth = Truth(
        tuple(event for some in asked for event in some.events), tuple(it for some in asked for it in some.ignored)
    )
    segments = [
        replace(it.segment, start_s=it.segment.start_s + by, end_s=it.segment.end_s + by)
        for it, by in zip(tried, shift, strict=True)
    ]
    alarms = [
        _alarms(it, by, setting.rules(it.take.camera), setting.classes, thresholds)
        for it, by in zip(tried, shift, strict=True)
    ]
    hours = hours_watched(truth, segments)
    return Trial(
        tried=tuple(tried),
        shift_s=tuple(shift),
        truth=truth,
        hours=hours,
        scored=score(truth.events, _joined(alarms), hours, setting.p.tolerance_s, truth.ignored),
        event_of=tuple(i for i, some in enumerate(asked) for _ in some.events),
        alarm_of=tuple(i for i, some in enumerate(alarms) for _ in some),
    )


def curve(whole: Trial, setting: Setting) -> list[Point]:
    """The trial again at every threshold of the curve, the same for all classes and in place of the site's own."""
    truth = whole.truth
    at = {it: _joined(_alarms_at(whole, setting, it)) for it in setting.p.curve}
    return operating_curve(truth.events, at, whole.hours, setting.p.tolerance_s, truth.ignored)


def _alarms_at(whole: Trial, setting: Setting, threshold: float) -> Iterator[list[Alarm]]:
    thresholds = dict.fromkeys(setting.classes, threshold)
    for it, by in zip(whole.tried, whole.shift_s, strict=True):
        rules = setting.rules(it.take.camera)
        free = {name: rule.model_copy(update={"threshold": None}) for name, rule in rules.classes.items()}
        yield _alarms(it, by, replace(rules, classes=free), setting.classes, thresholds)


def _joined(parts: Iterator[list[Alarm]] | Sequence[list[Alarm]]) -> list[Alarm]:
    return [alarm for some in parts for alarm in some]


def _shifts(tried: Sequence[Tried]) -> list[float]:
    """Clips of one camera follow each other on its clock."""
    clock: dict[str, float] = {}
    begun: dict[Path, float] = {}
    for it in tried:
        begun.setdefault(it.take.path, clock.get(it.take.camera, 0.0))
        clock[it.take.camera] = begun[it.take.path] + it.segment.end_s + PAUSE_S
    return [begun[it.take.path] for it in tried]


def _asked(it: Tried, setting: Setting) -> Truth:
    """What an alarm is asked for in a stretch, in the clip's seconds: one alarm for all who are there."""
    rules = setting.rules(it.take.camera)

    def least(_: str, label: str) -> float:
        return max(setting.p.min_event_s, rules.classes[label].min_duration_s)

    known = tuple(event for event in it.take.truth.events if event.label in rules.classes)
    cut = clipped(Truth(known, it.take.truth.ignored), [it.segment], least)
    return Truth(incidents(cut.events, max(GRACE_S, rules.cooldown_s)), cut.ignored)


def _shifted(truth: Truth, by_s: float) -> Truth:
    events, ignored = (
        tuple(replace(it, start_s=it.start_s + by_s, end_s=it.end_s + by_s) for it in some)
        for some in (truth.events, truth.ignored)
    )
    return Truth(events, ignored)


def _alarms(
    it: Tried, shift_s: float, rules: CameraRules, classes: tuple[str, ...], thresholds: Mapping[str, float]
) -> list[Alarm]:
    told = replay(it.recording, it.take.camera, rules, classes, thresholds)
    return [_alarm(event, shift_s) for event in told.events if event.alarm]


def _alarm(it: Event, shift_s: float) -> Alarm:
    end_s = it.confirmed_s if it.end_s is None else it.end_s
    return Alarm(
        it.camera, it.label, it.start_s + shift_s, end_s + shift_s, it.zone, it.confirmed_s + shift_s, it.score
    )


def tracking(whole: Trial) -> dict[str, Any] | None:
    """HOTA, IDF1, MOTA and their parts, over all and by camera; None where no clip has true tracks."""
    by_camera: dict[str, TrackCounts] = {}
    for it in whole.tried:
        if it.tracking is not None:
            before = by_camera.get(it.take.camera)
            by_camera[it.take.camera] = it.tracking if before is None else before + it.tracking
    if not by_camera:
        return None
    counts = list(by_camera.values())
    scores = {name: asdict(TrackScores.of(it)) for name, it in by_camera.items()}
    return asdict(TrackScores.of(sum(counts[1:], counts[0]))) | {"camera": scores}


def drifted(it: Tried, thresholds: NDArray[np.float64]) -> Drift:
    """What the detector reports in a stretch against the time before it, the times of the camera's faults left out.

    Args:
        it: the stretch.
        thresholds: (C,) operating thresholds.
    """
    spans = [(finding.start_s, finding.end_s) for finding in it.findings]
    before, after = (
        {
            name: series.without(spans)
            for name, series in frame_series(_reported(looks, thresholds), it.recording.looks[0].size).items()
        }
        for looks in (it.recording.before, it.recording.looks)
    )
    return drift(before, after)


def _reported(looks: Sequence[Look], thresholds: NDArray[np.float64]) -> list[tuple[float, Detections]]:
    return [(look.timestamp_s, look.found.above(thresholds)) for look in looks if look.found is not None]
