"""The events of a field test: from tracks, in the segments that are held out, as an operator would count them.

- A track's moments in one zone, no further apart than a gap, are one event.
- An event is cut to the segments: one that lasts into a segment begins where the segment does.
- What is left of one that is shorter than the least duration is *ignored*: no alarm is asked for it, none is false.
- So are moments under an ignore region. An alarm says not where in the picture it is, so the whole picture is ignored
  then, for the region's class.
- Events of one camera, class and zone that overlap or follow each other closely are one *incident*: the operator is
  called once, and sees all.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.events import Alarm, TruthEvent
from pipeline.core.types import Annotation, Frame

Floats = NDArray[np.float64]
Places = Callable[[str, str, Floats], Mapping[str, NDArray[np.bool_]]]
Span = tuple[float, float]
_Sight = tuple[Frame, Annotation]
TINY = 1e-9  # seconds; 0.3 - 0.1 is less than 0.2 in binary
JOIN = " + "


@dataclass(frozen=True, slots=True)
class Segment:
    """Time of one camera that is watched, in seconds of its clock."""

    camera: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Truth:
    """Events, and moments of which nothing is asked."""

    events: tuple[TruthEvent, ...]
    ignored: tuple[TruthEvent, ...]


def anywhere(_camera: str, _label: str, boxes: Floats) -> Mapping[str, NDArray[np.bool_]]:
    """The whole picture is one zone."""
    return {"": np.ones(len(boxes), np.bool_)}


def from_tracks(
    frames: Sequence[Frame],
    annotations: Mapping[str, Sequence[Annotation]],
    classes: Sequence[str],
    gap_s: float,
    places: Places = anywhere,
    condition: str = "",
) -> Truth:
    """The events of annotated tracks.

    Args:
        frames: with times; a camera's clips must not overlap on its clock.
        annotations: by frame id.
        classes: whose events are wanted; an ignore region of another label stands for all of them.
        gap_s: moments of a track further apart are two events.
        places: camera, class, boxes (N, 4) xyxy in fractions of the picture -> by zone, which boxes (N,) are in it.
        condition: the attribute whose value, the most frequent of a track, is its events' condition.

    Raises:
        DataError: a frame has no time, an object has no track, or clips of one camera overlap.
    """
    period = _periods(frames)
    seen: dict[tuple[str, str], list[_Sight]] = defaultdict(list)
    hidden: dict[tuple[str, str], list[_Sight]] = defaultdict(list)
    for frame in frames:
        for it in annotations.get(frame.frame_id, ()):
            if it.ignore:
                hidden[frame.camera, it.label if it.label in classes else ""].append((frame, it))
            elif it.label in classes:
                seen[frame.camera, it.label].append((frame, it))
    events = [
        TruthEvent(camera, label, start, end, zone, _common(condition, inside))
        for (camera, label), sights in seen.items()
        for zone, inside in _tracks(camera, label, sights, places)
        for start, end in _spans(inside, period, gap_s)
    ]
    ignored = [
        TruthEvent(camera, label, start, end)
        for (camera, label), sights in hidden.items()
        for start, end in _spans(sights, period, 0.0)
    ]
    return Truth(_ordered(events), _ordered(ignored))


def _periods(frames: Sequence[Frame]) -> dict[str, float]:
    """How long a frame stands for, by clip."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for frame in frames:
        times[frame.camera, frame.clip].append(_time(frame))
    ends: dict[str, float] = {}
    for (camera, clip), seconds in sorted(times.items(), key=lambda item: (item[0][0], min(item[1]))):
        if min(seconds) < ends.get(camera, -np.inf):
            raise DataError(f"camera {camera}: clip {clip} begins before the one before it ends; shift its times")
        ends[camera] = max(seconds)
    return {clip: float(np.median(np.diff(sorted(t)))) if len(t) > 1 else 0.0 for (_, clip), t in times.items()}


def _time(frame: Frame) -> float:
    if frame.timestamp_s is None:
        raise DataError(f"{frame.source}: frame {frame.index} has no time, and events need times; ingest it as a video")
    return frame.timestamp_s


def _tracks(camera: str, label: str, sights: Sequence[_Sight], places: Places) -> Iterator[tuple[str, list[_Sight]]]:
    """Each zone, and what was seen of one track in it."""
    boxes = np.array([np.array(it.xyxy) / (f.width, f.height, f.width, f.height) for f, it in sights])
    for zone, there in places(camera, label, boxes).items():
        tracks: dict[tuple[str, str], list[_Sight]] = defaultdict(list)
        for (frame, it), is_there in zip(sights, there.tolist(), strict=True):
            if not it.track_id:
                raise DataError(
                    f"{frame.source}: a {label} in frame {frame.index} has no track, and an event is a track's; "
                    "annotate tracks, or give a file of events"
                )
            if is_there:
                tracks[frame.clip, it.track_id].append((frame, it))
        yield from ((zone, inside) for inside in tracks.values())


def _spans(sights: Sequence[_Sight], period: Mapping[str, float], gap_s: float) -> list[Span]:
    """Begin and end of moments no further apart than the gap; a frame lasts until the next is due."""
    spans: list[Span] = []
    for start, lasts in sorted({(_time(frame), period[frame.clip]) for frame, _ in sights}):
        if spans and start - spans[-1][1] <= gap_s + lasts / 2:  # frames do not come at quite an even distance
            spans[-1] = spans[-1][0], start + lasts
        else:
            spans.append((start, start + lasts))
    return spans


def _common(attribute: str, sights: Sequence[_Sight]) -> str:
    """The value that a track has in most frames, of equals the first in the alphabet; "" where it has none."""
    counts = Counter(it.attributes.get(attribute, "") for _, it in sights)
    return min(counts, key=lambda value: (-counts[value], value))


def _ordered(events: Iterable[TruthEvent]) -> tuple[TruthEvent, ...]:
    return tuple(sorted(events, key=lambda it: (it.camera, it.start_s, it.end_s, it.label, it.zone, it.condition)))


def clipped(truth: Truth, segments: Sequence[Segment], least_s: Callable[[str, str], float]) -> Truth:
    """What of the truth lies in the segments.

    Args:
        truth: events and ignored moments.
        segments: what is watched.
        least_s: camera, class -> the least duration of an event; shorter ones are ignored.

    Raises:
        DataError: a segment has no length, or two of a camera overlap.
    """
    of = _by_camera(segments)
    events, ignored = (
        [cut for it in whole for segment in of.get(it.camera, ()) if (cut := _cut(it, segment))]
        for whole in (truth.events, truth.ignored)
    )
    long = [it.end_s - it.start_s >= least_s(it.camera, it.label) - TINY for it in events]
    short = [it for it, enough in zip(events, long, strict=True) if not enough]
    return Truth(
        _ordered(it for it, enough in zip(events, long, strict=True) if enough),
        _ordered([*ignored, *short]),
    )


def _by_camera(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    of: dict[str, list[Segment]] = defaultdict(list)
    for it in sorted(segments, key=lambda it: it.start_s):
        before = of[it.camera][-1].end_s if of[it.camera] else -np.inf
        if not (it.start_s < it.end_s and before <= it.start_s):
            raise DataError(f"camera {it.camera}: the segment {it.start_s}..{it.end_s} s is empty or overlaps another")
        of[it.camera].append(it)
    return of


def _cut(it: TruthEvent, segment: Segment) -> TruthEvent | None:
    start, end = max(it.start_s, segment.start_s), min(it.end_s, segment.end_s)
    return replace(it, start_s=start, end_s=end) if start < end else None


def during(alarms: Sequence[Alarm], segments: Sequence[Segment]) -> list[Alarm]:
    """The alarms that were raised while somebody watched."""
    of = _by_camera(segments)
    return [it for it in alarms if any(s.start_s <= it.raised_s <= s.end_s for s in of.get(it.camera, ()))]


def incidents(events: Sequence[TruthEvent], within_s: float) -> tuple[TruthEvent, ...]:
    """Events for which the operator is called once; conditions that differ are joined by " + ".

    Args:
        events: of any camera, class and zone.
        within_s: the longest pause in an incident: how long the alarm logic waits before it ends an event.
    """
    open_: dict[tuple[str, str, str], list[TruthEvent]] = defaultdict(list)
    for it in _ordered(events):
        mine = open_[it.camera, it.label, it.zone]
        if mine and it.start_s - mine[-1].end_s <= within_s:
            conditions = sorted({*mine[-1].condition.split(JOIN), it.condition} - {""})
            end_s = max(mine[-1].end_s, it.end_s)
            mine[-1] = replace(mine[-1], end_s=end_s, condition=JOIN.join(conditions))
        else:
            mine.append(it)
    return _ordered(it for mine in open_.values() for it in mine)


def hours_watched(truth: Truth, segments: Sequence[Segment]) -> dict[str, float]:
    """Hours by camera in which a false alarm would have counted: the segments without what is ignored in them.

    Raises:
        DataError: all the time of a camera is ignored, or segments are wrong as for `clipped`.
    """
    hours = {}
    for camera, mine in _by_camera(segments).items():
        cuts = [cut for it in truth.ignored if it.camera == camera for s in mine if (cut := _cut(it, s))]
        free, reached = sum(s.end_s - s.start_s for s in mine), -np.inf
        for cut in sorted(cuts, key=lambda it: it.start_s):
            free -= max(0.0, cut.end_s - max(cut.start_s, reached))
            reached = max(reached, cut.end_s)
        if free <= TINY:
            raise DataError(
                f"camera {camera}: all its time is ignored, under ignore regions or in events too short to count, so "
                "nothing of it can be judged; give longer footage, and where a region is always there, exclude the "
                "place by a zone of the site and leave the region out of the truth"
            )
        hours[camera] = free / 3600
    return hours
