"""What metadata and evidence are made of, in tests: observations of one camera, made by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.alarms import Event
from pipeline.runtime.tracking import Track

CLASSES = ("person", "vehicle")
START = datetime(2026, 11, 28, 8, 40, 17, 120_000, UTC)
SIZE = 200, 100
BOX = (20.0, 10.0, 60.0, 90.0)


@dataclass(frozen=True)
class Still:
    """A picture that is there at once."""

    pixels: NDArray[np.uint8]

    def rgb(self) -> NDArray[np.uint8]:
        return self.pixels


@dataclass(frozen=True)
class Seen:
    """An observation."""

    camera: str = "lobby"
    timestamp_s: float = 0.0
    size: tuple[int, int] = SIZE
    tracks: Sequence[Track] = ()
    events: Sequence[Event] = ()
    detected: bool = True
    frame: Still | None = None


def track(
    track_id: int = 7,
    box: Sequence[float] = BOX,
    label: int = 0,
    score: float = 0.9,
    *,
    confirmed: bool = True,
    visible: bool = True,
) -> Track:
    """A track of a person."""
    return Track(track_id, label, np.array(box, np.float32), score, 0.0, 0.0, 5, confirmed, visible)


def event(
    start_s: float = 1.0,
    end_s: float | None = None,
    *,
    camera: str = "lobby",
    kind: str = "presence",
    label: str = "person",
    zone: str = "door",
    track_ids: tuple[int, ...] = (7,),
    alarm: bool = True,
    direction: str = "",
) -> Event:
    """The report of an alarm that was raised half a second after its start."""
    return Event(camera, kind, label, zone, start_s, end_s, start_s + 0.5, track_ids, 0.93, alarm, direction)
