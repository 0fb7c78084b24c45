"""From tracks to events: when an alarm is raised, how long it lasts, and what belongs to it.

A track *stays* in a zone from its first sighting there at or above its class's threshold and least height. Once the
tracker has confirmed it and it has stayed for the least duration, the event of its class and zone begins, or goes on if
there is one: the operator is called once for all who are there. From then on any sighting carries the event on. It
lasts while one of its tracks is there, and ends when none was for the grace or the cool-down, whichever is longer; its
end is the last sighting. What begins within that time and stays long enough goes on with it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.core.errors import ConfigError, DataError
from pipeline.runtime.site import CameraRules
from pipeline.runtime.tracking import Track
from pipeline.runtime.zones import TINY, Crossing, Floats, feet

GRACE_S = 3.0  # longer than the time between two looks at a scene where nothing moves
BAND = 0.1  # of an object's height: so far from a line it is clear of it; the jitter of a box is about half of that
MOST_TRACKS = 100  # ids that one event names, the first ones; a busy zone may hold one event for days

PRESENCE, CROSSING, MOTION = "presence", "crossing", "motion"


@dataclass(frozen=True, slots=True)
class Event:
    """What was seen, and whether it is an alarm. Times are seconds of the source's clock."""

    camera: str
    kind: str  # presence, crossing, motion
    label: str  # the class's name; "" for motion
    zone: str  # of the zone or line; "" for the whole picture
    start_s: float  # first sighting; of a crossing, when it is complete
    end_s: float | None  # last sighting; None while it lasts
    confirmed_s: float  # when it was raised
    track_ids: tuple[int, ...]
    score: float  # the highest; 0 for motion
    alarm: bool  # False: recorded only
    direction: str = ""  # of a crossing: left_to_right or right_to_left


@dataclass(slots=True)
class _Stay:
    """One track in one zone, or at one line."""

    start_s: float  # first sighting
    last_s: float  # latest sighting that counts
    score: float  # the highest of them
    confirmed: bool  # by the tracker
    here: bool = True  # whether it was there when it was looked for last
    member: bool = False  # long enough, so part of its zone's event
    crossing: Crossing | None = None  # of a line
    done: list[tuple[str, float]] = field(default_factory=list)  # crossings not yet told: direction, when

    def note(self, seen_s: float, score: float) -> None:
        """One more sighting."""
        self.last_s, self.score = seen_s, max(self.score, score)


@dataclass(slots=True)
class _Spell:
    """An event that lasts."""

    event: Event  # as it began
    last_s: float
    score: float = 0.0
    tracks: list[int] = field(default_factory=list)

    def join(self, track_id: int, stay: _Stay) -> None:
        """One of its tracks, as it stands."""
        self.last_s, self.score = max(self.last_s, stay.last_s), max(self.score, stay.score)
        if track_id not in self.tracks and len(self.tracks) < MOST_TRACKS:
            self.tracks.append(track_id)

    def told(self, end_s: float | None) -> Event:
        """The event as it stands."""
        return replace(self.event, end_s=end_s, track_ids=tuple(self.tracks), score=self.score)


_Key = tuple[int, str, str]  # track, class, zone or line
_MOTION = ("", "")


class AlarmLogic:
    """The events of one camera. The same tracks give the same events; not for several threads at once.

    Memory is bounded: it holds the tracks of the last seconds, and the events that last: one a class and zone.

    Args:
        camera: its name.
        rules: of the camera.
        classes: of the model, by label.
        thresholds: operating threshold by class, where the rules name none.

    Raises:
        ConfigError: the rules name a class that the model does not have, or one without a threshold.
    """

    def __init__(
        self, camera: str, rules: CameraRules, classes: tuple[str, ...], thresholds: Mapping[str, float]
    ) -> None:
        rules.check(camera, classes)
        self._camera, self._rules, self._classes = camera, rules, classes
        self._thresholds = {name: _threshold(name, rules, thresholds) for name in rules.classes}
        self._hold = max(GRACE_S, rules.cooldown_s)
        self._stays: dict[_Key, _Stay] = {}
        self._spells: dict[tuple[str, str], _Spell] = {}  # by class and zone
        self._now = -math.inf

    def update(
        self,
        tracks: Sequence[Track],
        timestamp_s: float,
        size: tuple[int, int],
        moving: bool = False,  # noqa: FBT001, FBT002
    ) -> list[Event]:
        """What began (`end_s` None) or ended in this step; each event comes once at its begin and once at its end.

        Args:
            tracks: all that are followed, those not visible too; between two looks the ones of the last look, or none.
            timestamp_s: now, in seconds of the source's clock.
            size: width and height of the picture in pixels.
            moving: whether anything moves in the picture.

        Raises:
            DataError: time goes back, or is no number.
        """
        self._advance(timestamp_s)
        self._forget({track.track_id for track in tracks})
        self._see([track for track in tracks if track.visible], size)
        events = [*self._ended(), *self._begun(), *self._crossed()]
        return events + self._moved() if moving else events

    def close(self, timestamp_s: float) -> list[Event]:
        """Ends what lasts, at its last sighting. Raises DataError as `update` does."""
        self._advance(timestamp_s)
        last = [spell.told(spell.last_s) for spell in self._spells.values()]
        self._stays, self._spells = {}, {}
        return last

    def _advance(self, timestamp_s: float) -> None:
        if not (math.isfinite(timestamp_s) and timestamp_s >= self._now):
            raise DataError(
                f"{self._camera}: time must not go back, got {timestamp_s} s after {self._now} s; "
                "close the events and begin anew"
            )
        self._now = timestamp_s

    def _forget(self, followed: set[int]) -> None:
        """Stays that are over; an alarm's track that is followed is there until it is seen elsewhere."""
        for key, stay in list(self._stays.items()):
            stay.here = stay.here and key[0] in followed
            if self._now - stay.last_s > GRACE_S and not (stay.here and stay.member):
                del self._stays[key]

    def _see(self, tracks: Sequence[Track], size: tuple[int, int]) -> None:
        """Notes who is in which zone and where about the lines."""
        for label in self._rules.classes:
            mine = [track for track in tracks if self._classes[track.label] == label]
            if not mine:
                continue
            boxes = np.stack([track.box for track in mine]) / np.array([*size, *size], np.float64)
            for zone, there in self._rules.places(label, boxes).items():
                for track, is_there in zip(mine, there.tolist(), strict=True):
                    self._note(track, (track.track_id, label, zone), there=is_there)
            if self._rules.lines:
                self._follow(label, mine, boxes)

    def _note(self, track: Track, key: _Key, *, there: bool) -> _Stay | None:
        """One sighting; what is unsure or elsewhere begins no stay, and what is unsure prolongs none but an alarm's."""
        stay, sure = self._stays.get(key), track.score >= self._thresholds[key[1]]
        if stay is None and there and sure:
            stay = self._stays[key] = _Stay(track.last_s, track.last_s, track.score, track.confirmed)
        if stay is not None:
            stay.here, stay.confirmed = there, track.confirmed
            if there and (sure or stay.member):
                stay.note(track.last_s, track.score)
        return stay if there else None

    def _follow(self, label: str, tracks: Sequence[Track], boxes: Floats) -> None:
        """Moves each track on about each line."""
        points, counts = feet(boxes).tolist(), self._rules.counts(label, boxes).tolist()
        for line in self._rules.lines:
            for track, box, (x, y), there in zip(tracks, boxes, points, counts, strict=True):
                stay = self._note(track, (track.track_id, label, line.name), there=there)
                if stay is None:
                    continue
                stay.crossing = stay.crossing or Crossing(line.start, line.end)
                way = stay.crossing.step((x, y), BAND * float(box[3] - box[1]))
                if way and line.direction in {"both", way}:
                    stay.done.append((way, track.last_s))

    def _counts(self, key: _Key, stay: _Stay) -> bool:
        """Whether it has been long enough, once and for all."""
        least = self._rules.classes[key[1]].min_duration_s
        stay.member = stay.member or (stay.confirmed and stay.last_s - stay.start_s >= least - TINY)
        return stay.member

    def _ended(self) -> Iterator[Event]:
        """Events that nobody carries on any more."""
        for place, spell in list(self._spells.items()):
            mine = [stay for key, stay in self._stays.items() if key[1:] == place]
            carried = any(stay.start_s <= spell.last_s + self._hold for stay in mine)  # or may yet be
            if self._now - spell.last_s > self._hold and not carried:
                yield self._spells.pop(place).told(spell.last_s)

    def _begun(self) -> Iterator[Event]:
        """Tracks that have stayed long enough begin the event of their class and zone, or join it."""
        for key, stay in self._stays.items():
            if stay.crossing or not self._counts(key, stay):
                continue
            begins = key[1:] not in self._spells
            if begins:
                self._spells[key[1:]] = self._spell(PRESENCE, key[1:], stay.start_s, alarm=True)
            spell = self._spells[key[1:]]
            spell.join(key[0], stay)
            if begins:
                yield spell.told(None)

    def _crossed(self) -> Iterator[Event]:
        """Crossings of tracks that were seen long enough; each begins and ends at once."""
        for key, stay in self._stays.items():
            if not (stay.crossing and self._counts(key, stay)):
                continue
            for direction, at_s in stay.done:
                spell = self._spell(CROSSING, key[1:], at_s, alarm=True, direction=direction)
                spell.join(key[0], stay)
                yield from (spell.told(None), spell.told(at_s))
            stay.done.clear()

    def _moved(self) -> list[Event]:
        """Motion begins the event of the whole picture, or carries it on."""
        begins = _MOTION not in self._spells
        if begins:
            self._spells[_MOTION] = self._spell(MOTION, _MOTION, self._now, alarm=self._rules.mode == "sensitive")
        spell = self._spells[_MOTION]
        spell.last_s = self._now
        return [spell.told(None)] if begins else []

    def _spell(self, kind: str, place: tuple[str, str], start_s: float, *, alarm: bool, direction: str = "") -> _Spell:
        label, zone = place
        event = Event(self._camera, kind, label, zone, start_s, None, self._now, (), 0.0, alarm, direction)
        return _Spell(event, start_s)


def _threshold(name: str, rules: CameraRules, thresholds: Mapping[str, float]) -> float:
    own = rules.classes[name].threshold
    if own is None and name not in thresholds:
        raise ConfigError(f"the contract has no operating threshold for {name!r}; set rules.classes.{name}.threshold")
    return thresholds[name] if own is None else own
