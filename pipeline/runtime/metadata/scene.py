"""What leaves the device as metadata: boxes, classes and events without a picture, under ids that lead nowhere.

An observation holds the tracker's ids and the source's seconds. Here they become numbers that begin anew each interval,
a numbering of its own for each camera, and UTC times. Every form of metadata is written from these values alone, so
none can hold more than they do.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pipeline.core.errors import ConfigError
from pipeline.runtime.alarms import Event
from pipeline.runtime.tracking import Track

DAY_S = 86_400.0
REMEMBERED = 4096  # tracks a camera; one that comes back after so many others gets a new number
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Box = tuple[float, float, float, float]


class Observed(Protocol):
    """What is read of an observation."""

    @property
    def camera(self) -> str:
        """Its name."""

    @property
    def timestamp_s(self) -> float:
        """Seconds of the source's clock."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frame, pixels."""

    @property
    def tracks(self) -> Sequence[Track]:
        """All that are followed."""

    @property
    def events(self) -> Sequence[Event]:
        """That began or ended here."""

    @property
    def detected(self) -> bool:
        """Whether the detector looked at this very frame."""


@dataclass(frozen=True, slots=True)
class SceneObject:
    """An object in one frame."""

    number: int  # from 1; the same for as long as it is followed, at most to the interval's end
    label: str  # class name
    score: float
    box: Box  # xyxy, shares of the picture, y down, inside it


@dataclass(frozen=True, slots=True)
class SceneFrame:
    """The objects that the detector saw in one frame."""

    camera: str
    time: datetime  # UTC
    since: datetime | None  # when the numbering began; None: with the run
    objects: tuple[SceneObject, ...]


@dataclass(frozen=True, slots=True)
class SceneEvent:
    """The begin or end of an event. One event's two reports agree in camera, kind, label, zone and start."""

    camera: str
    time: datetime  # UTC: of the frame at which this report was made
    kind: str  # presence, crossing, motion
    label: str  # class name; "" for motion
    zone: str  # zone or line; "" the whole picture
    start: datetime
    end: datetime | None  # None while it lasts
    confirmed: datetime  # when it was raised
    numbers: tuple[int, ...]
    score: float
    alarm: bool  # False: recorded only
    direction: str  # of a crossing


class Clock:
    """Source seconds as UTC. Sinks may share one, from several threads.

    Args:
        start: when second 0 of every source was. Without it sources are live: a camera's first observation is now.
        now: the time of day; tests set their own.
    """

    def __init__(self, start: datetime | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        if start is not None and start.tzinfo is None:
            raise ConfigError(f"start {start.isoformat()} says no time zone; write {start.isoformat()}Z for UTC")
        self._start = start.astimezone(UTC) if start else None
        self._now = now
        self._starts: dict[str, datetime] = {}

    def utc(self, camera: str, seconds: float) -> datetime:
        """The time of a camera's second."""
        if self._start is not None:
            return self._start + timedelta(seconds=seconds)
        start = self._starts.get(camera) or self._starts.setdefault(camera, self._now() - timedelta(seconds=seconds))
        return start + timedelta(seconds=seconds)


class Scene:
    """Makes metadata of observations. For one thread.

    Args:
        classes: the model's, by label.
        clock: of the sources.
        interval_s: seconds after which numbers begin anew, counted from midnight UTC; 0: they last for the run.

    Raises:
        ConfigError: the interval is negative or no number.
    """

    def __init__(self, classes: Sequence[str], clock: Clock | None = None, interval_s: float = DAY_S) -> None:
        if not (math.isfinite(interval_s) and interval_s >= 0):
            raise ConfigError(f"the interval of ids must be 0 or more seconds, got {interval_s}")
        self._classes = tuple(classes)
        self._clock = clock or Clock()
        self._interval_s = interval_s
        self._numberings: dict[str, _Numbering] = {}
        self._shown: dict[str, bool] = {}  # whether a camera's latest frame had objects

    def frame(self, it: Observed) -> SceneFrame | None:
        """The objects of an observation; None where it was not looked at, or is as empty as the one before."""
        seen = [track for track in it.tracks if track.confirmed and track.visible]
        if not it.detected or not (seen or self._shown.get(it.camera, True)):
            return None
        self._shown[it.camera] = bool(seen)
        time = self._clock.utc(it.camera, it.timestamp_s)
        numbering = self._numbering(it.camera, time)
        objects = [self._object(track, numbering.number(track.track_id), it.size) for track in seen]
        return SceneFrame(it.camera, time, numbering.since, tuple(objects))

    def events(self, it: Observed) -> list[SceneEvent]:
        """The events that began or ended with an observation."""
        time = self._clock.utc(it.camera, it.timestamp_s)
        return [self._event(event, time) for event in it.events]

    def _object(self, track: Track, number: int, size: tuple[int, int]) -> SceneObject:
        return SceneObject(number, self._classes[track.label], float(track.score), _shares(track.box.tolist(), size))

    def _event(self, event: Event, time: datetime) -> SceneEvent:
        numbering = self._numbering(event.camera, time)
        start, end, confirmed = (
            None if seconds is None else self._clock.utc(event.camera, seconds)
            for seconds in (event.start_s, event.end_s, event.confirmed_s)
        )
        return SceneEvent(
            camera=event.camera,
            time=time,
            kind=event.kind,
            label=event.label,
            zone=event.zone,
            start=start or time,
            end=end,
            confirmed=confirmed or time,
            numbers=tuple(numbering.number(track_id) for track_id in event.track_ids),
            score=float(event.score),
            alarm=event.alarm,
            direction=event.direction,
        )

    def _numbering(self, camera: str, time: datetime) -> "_Numbering":
        since = _floor(time, self._interval_s)
        it = self._numberings.get(camera)
        if it is None or it.since != since:
            it = self._numberings[camera] = _Numbering(since)
        return it


class _Numbering:
    """Numbers for the tracks of one camera in one interval, in the order in which they come."""

    def __init__(self, since: datetime | None) -> None:
        self.since = since
        self._next = 1
        self._known: OrderedDict[int, int] = OrderedDict()

    def number(self, track_id: int) -> int:
        """The number of a track."""
        if track_id not in self._known:
            self._known[track_id] = self._next
            self._next += 1
        self._known.move_to_end(track_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return self._known[track_id]


def iso(time: datetime) -> str:
    """UTC as ISO 8601 to the millisecond: 2026-11-28T08:40:17.120Z."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _floor(time: datetime, interval_s: float) -> datetime | None:
    if not interval_s:
        return None
    return EPOCH + timedelta(seconds=math.floor((time - EPOCH).total_seconds() / interval_s) * interval_s)


def _shares(box: Sequence[float], size: tuple[int, int]) -> Box:
    """A pixel box as shares of the picture, clipped to it."""
    left, top, right, bottom = (
        min(1.0, max(0.0, value / side)) for value, side in zip(box, (*size, *size), strict=True)
    )
    return left, top, right, bottom
