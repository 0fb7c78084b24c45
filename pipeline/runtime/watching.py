"""One camera's frames become tracks and events: motion gate, detection where it pays, tracking, alarm logic.

The gate looks at every frame at low resolution; the detector looks where the gate says so. What is found is followed by
the tracker and judged by the alarm logic. Between two looks nothing new is known: an observation repeats the tracks of
the last one, as not visible.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from pipeline.core.types import Detections
from pipeline.runtime.alarms import Event
from pipeline.runtime.following import Follower
from pipeline.runtime.frames import Gap, LazyFrame
from pipeline.runtime.health import HealthFinding
from pipeline.runtime.motion import WIDTH, Motion, MotionGate, MotionParams
from pipeline.runtime.session import Session
from pipeline.runtime.site import CameraRules
from pipeline.runtime.tracking import Track, TrackerParams

PARTS = ("decode", "motion", "detection", "tracking")
EVERY = Motion(moving=False, regions=np.zeros((0, 4), np.float32), detect=True)  # what is not known is not said


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """Whatever finds objects in a frame: a session at work, or detections that were made before."""

    detect: Callable[[LazyFrame], Detections]  # boxes in pixels of the upright frame
    classes: tuple[str, ...]  # by label
    thresholds: Mapping[str, float]  # operating threshold of each class


def detector_of(session: Session) -> Detector:
    """An exported model as a detector."""
    contract = session.contract
    return Detector(lambda frame: session.detect(frame.rgb()), tuple(contract.classes), contract.thresholds)


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What is known of one camera at one frame."""

    camera: str
    timestamp_s: float  # of the source's clock
    size: tuple[int, int]  # width and height of the frame, pixels
    tracks: list[Track]
    events: list[Event]  # that began or ended here
    detected: bool  # the detector looked at this very frame
    moving: bool
    seconds: Mapping[str, float]  # spent on this frame, by part
    health: tuple[HealthFinding, ...] = ()  # that began or ended here
    gaps: tuple[Gap, ...] = ()  # in the source since the frame before
    frame: LazyFrame | None = None  # for evidence and view alone; metadata carries no picture


class Sink(Protocol):
    """Takes observations somewhere: a file, a broker. It is called by one thread only."""

    def emit(self, it: Observation) -> None:
        """Take one. Raises SightlineError or OSError where it cannot be taken."""

    def close(self) -> None:
        """Nothing more comes."""


class CameraPipeline:
    """The way of one camera's frames, one at a time and in their order.

    Args:
        camera: its name, which every observation and event bears.
        detector: what looks at the frames that the gate picks.
        rules: what is reported, and where.
        motion: when to look; None for at every frame, without a gate.
        tracker: how boxes become tracks; None for tracks that begin at the scores that are reported.
        clock: seconds; what the parts' times are taken with.
    """

    def __init__(
        self,
        camera: str,
        detector: Detector,
        rules: CameraRules,
        motion: MotionParams | None = None,
        tracker: TrackerParams | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.camera = camera
        self._detector = detector
        self._rules = rules
        self._motion = motion
        self._tracking = tracker
        self._clock = clock
        self._size, self._at = (0, 0), 0.0  # of the latest frame
        self._begin()

    def _begin(self) -> None:
        self._gate = MotionGate(self._motion) if self._motion else None
        detector = self._detector
        self._follower = Follower(self.camera, self._rules, detector.classes, detector.thresholds, self._tracking)

    def step(self, frame: LazyFrame, decode_s: float = 0.0) -> Observation:
        """What is known at this frame.

        Args:
            frame: later than the frame before.
            decode_s: seconds that its decoding took, to be told with the others.
        """
        ended = self._resized() if frame.size != self._size else []
        self._size, self._at = frame.size, frame.timestamp_s
        marks = [self._clock()]
        motion = self._gated(frame)
        marks.append(self._clock())
        found = self._detector.detect(frame) if motion.detect else None
        marks.append(self._clock())
        events = self._follower.step(found, self._at, self._size, moving=motion.moving)
        marks.append(self._clock())
        spent = (decode_s, *(end - start for start, end in pairwise(marks)))
        return Observation(
            camera=self.camera,
            timestamp_s=self._at,
            size=self._size,
            tracks=self._follower.tracks,
            events=ended + events,
            detected=found is not None,
            moving=motion.moving,
            seconds=dict(zip(PARTS, spent, strict=True)),
            frame=frame,
        )

    def close(self) -> list[Event]:
        """The events that end with the last frame."""
        return self._follower.close(self._at)

    def _gated(self, frame: LazyFrame) -> Motion:
        if self._gate is None:
            return EVERY
        return self._gate.step(frame.luma(WIDTH), frame.timestamp_s, wanted=self._follower.curious)

    def _resized(self) -> list[Event]:
        """Begins anew: what was seen in a picture of another size tells nothing about this one."""
        ended = self.close()
        self._begin()
        return ended
