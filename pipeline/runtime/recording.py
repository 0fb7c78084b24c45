"""What the detector found in a stretch of footage, looked at as a camera would be: replayed at any threshold.

The time before the stretch is looked at too. It teaches the motion gate its background, and it is what the camera's
health and the detector's figures are held against; tracks and events begin with the stretch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.types import Detections
from pipeline.runtime.alarms import Event
from pipeline.runtime.following import Follower
from pipeline.runtime.frames import LazyFrame
from pipeline.runtime.motion import WIDTH, MotionGate, MotionParams
from pipeline.runtime.site import CameraRules
from pipeline.runtime.tracking import Track


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One frame as the gate and the detector saw it."""

    index: int  # of the frame in the footage, from 0
    timestamp_s: float
    size: tuple[int, int]  # width and height, pixels
    moving: bool
    found: Detections | None  # None where the detector did not look


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A stretch of footage, looked at once."""

    before: tuple[Look, ...]  # a frame each
    looks: tuple[Look, ...]

    @property
    def span_s(self) -> tuple[float, float]:
        """Begin and end of the stretch; its last frame lasts as long as the ones before it."""
        times = [look.timestamp_s for look in self.looks]
        if not times:
            return 0.0, 0.0
        return times[0], times[-1] + (times[-1] - times[0]) / max(1, len(times) - 1)


def record(
    frames: Iterable[LazyFrame],
    detect: Callable[[LazyFrame], Detections],
    motion: MotionParams | None,
    follower: Follower,
    start_s: float = 0.0,
    watch: Callable[[LazyFrame], None] = lambda _: None,
) -> Recording:
    """Look at footage.

    Args:
        frames: in order, from some time before the stretch to its end.
        detect: the detector, down to scores below any threshold that will be asked for.
        motion: when to look; None for at every frame.
        follower: follows the stretch, at the operating thresholds: asks for another look at what is not certain yet.
        start_s: where the stretch begins.
        watch: is shown every frame.
    """
    looks = list(_looks(frames, detect, motion, follower, start_s, watch))
    return Recording(
        tuple(look for look in looks if look.timestamp_s < start_s),
        tuple(look for look in looks if look.timestamp_s >= start_s),
    )


def _looks(
    frames: Iterable[LazyFrame],
    detect: Callable[[LazyFrame], Detections],
    motion: MotionParams | None,
    follower: Follower,
    start_s: float,
    watch: Callable[[LazyFrame], None],
) -> Iterator[Look]:
    gate, begun = MotionGate(motion) if motion else None, False
    for frame in frames:
        watch(frame)
        seen = gate.step(frame.luma(WIDTH), frame.timestamp_s, wanted=follower.curious) if gate else None
        begins = not begun and frame.timestamp_s >= start_s
        begun = begun or begins
        due = begins or seen is None or seen.detect  # a camera that is switched on looks at once
        moving = seen is not None and seen.moving
        found = detect(frame) if due else None
        if begun:
            follower.step(found, frame.timestamp_s, frame.size, moving=moving)
        yield Look(frame.index, frame.timestamp_s, frame.size, moving, found)


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What would have been reported of a stretch."""

    events: tuple[Event, ...]  # all of them, as they stood at their end
    tracks: tuple[Sequence[Track], ...]  # as they stood after each look


def replay(
    recording: Recording, camera: str, rules: CameraRules, classes: tuple[str, ...], thresholds: Mapping[str, float]
) -> Replay:
    """Follow what was found.

    Args:
        recording: the stretch.
        camera: its name.
        rules: what is reported, and where.
        classes: names by label.
        thresholds: operating threshold of each class; a rule's own goes before it.
    """
    follower = Follower(camera, rules, classes, thresholds)
    events, tracks = [], []
    for look in recording.looks:
        events += follower.step(look.found, look.timestamp_s, look.size, moving=look.moving)
        tracks.append(follower.tracks)
    if recording.looks:
        events += follower.close(recording.looks[-1].timestamp_s)
    return Replay(tuple(it for it in events if it.end_s is not None), tuple(tracks))
