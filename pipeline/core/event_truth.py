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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.events import Alarm, TruthEvent
from pipeline.core.types import Annotation, Frame

Floats = NDArray[np.float64]
Places = Callable[[str, str, Floats], Mapping[str, NDArray[np.bool_]]]


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
    lasts = _frame_time(frames)
    seen: dict[tuple[str, str], list[_Sight]] = defaultdict(list)
    hidden: dict[tuple[str, str], list[_Sight]] = defaultdict(list)
    for frame in frames:
        for it in annotations.get(frame.frame_id, ()):
            if it.ignore:
                hidden[frame.camera, it.label if it.label in classes else ""].append(_Sight(frame, it))
            elif it.label in classes:
                seen[frame.camera, it.label].append(_Sight(frame, it))
    events = [
        event for (camera, label), sights in seen.items() for event in _events(sights, lasts, gap_s, places, condition)
    ]
    ignored = [
        TruthEvent(camera, label, start, end)
        for (camera, label), sights in hidden.items()
        for start, end in _spans([it.frame for it in sights], lasts, 0.0)
    ]
    return Truth(_ordered(events), _ordered(ignored))
