"""Several cameras at once in one process: readers, one consumer that serves them fairly, and sinks that cannot block.

A camera whose source breaks ends with a message, and the others go on.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.core.errors import SightlineError
from pipeline.runtime.alarms import Event
from pipeline.runtime.health_watch import HealthWatch
from pipeline.runtime.lanes import Arrival, Lane, Open, first_of
from pipeline.runtime.outlets import Outlet
from pipeline.runtime.watching import PARTS, CameraPipeline, Observation

READERS_END_S = 2.0  # readers that hang in their source for longer are left behind
SINKS_END_S = 30.0  # for the sinks to take what waits: evidence has clips to write


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A source and what becomes of its frames."""

    open: Open
    pipeline: CameraPipeline


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """How one camera does."""

    camera: str
    frames: int  # that went through the pipeline
    looks: int  # frames that the detector looked at
    tracks: int  # confirmed ones, now
    alarms: int  # that last, now
    dropped: int  # frames that came faster than they could be served
    gaps: int  # times without a frame from the source
    gap_s: float  # their seconds together
    health: tuple[str, ...]  # findings that last, by kind
    outage: str  # why no frames come now; "" while they come
    seconds: Mapping[str, float]  # spent, by part
    ended: bool
    problem: str  # why it ended before its end


class Watch:
    """The engine: run once, then it is done.

    Args:
        cameras: of different names.
        outlets: each takes every observation.
    """

    def __init__(self, cameras: Sequence[Camera], outlets: Sequence[Outlet] = ()) -> None:
        self._changed = threading.Condition()
        self._stations = {
            it.pipeline.camera: _Station(it.pipeline, Lane(it.pipeline.camera, it.open, self._changed))
            for it in cameras
        }
        self._lanes = [it.lane for it in self._stations.values()]
        self._outlets = list(outlets)
        self._turn = 0

    def run(
        self,
        stop: threading.Event,
        tell: Callable[[list[CameraStatus]], None] = lambda _: None,
        every_s: float = 1.0,
    ) -> list[CameraStatus]:
        """Serve the cameras until all sources have ended or `stop` is set.

        Args:
            stop: may be set by a signal's handler or another thread; it is noticed within `every_s`.
            tell: is handed the status every so many seconds, by this thread.
            every_s: seconds.

        Returns:
            the last status of each camera.
        """
        for lane in self._lanes:
            lane.start()
        try:
            self._serve(stop, tell, every_s)
        finally:
            self._end()
        return self.status()

    def status(self) -> list[CameraStatus]:
        """How each camera does, in their order."""
        return [it.status() for it in self._stations.values()]

    def _serve(self, stop: threading.Event, tell: Callable[[list[CameraStatus]], None], every_s: float) -> None:
        due = time.monotonic() + every_s
        while not stop.is_set():
            arrival, over = self._next(due)
            if over:
                return
            if arrival is not None:
                self._step(arrival)
            if time.monotonic() >= due:
                tell(self.status())
                due = time.monotonic() + every_s

    def _next(self, until: float) -> tuple[Arrival | None, bool]:
        """The next frame, or none until then; and whether no frame will come any more."""
        with self._changed:
            while True:
                arrival, self._turn = first_of(self._lanes, self._turn)
                if arrival is not None:
                    return arrival, False
                if all(lane.over for lane in self._lanes):
                    return None, True
                left = until - time.monotonic()
                if left <= 0:
                    return None, False
                self._changed.wait(left)

    def _step(self, arrival: Arrival) -> None:
        try:
            it = self._stations[arrival.lane.camera].step(arrival)
        except SightlineError as problem:
            arrival.lane.stop(str(problem))
        else:
            self._emit(it)

    def _emit(self, it: Observation) -> None:
        for outlet in self._outlets:
            outlet.offer(it)

    def _end(self) -> None:
        for lane in self._lanes:
            lane.stop()
        end = time.monotonic() + READERS_END_S
        for lane in self._lanes:
            lane.join(max(0.0, end - time.monotonic()))
        for station in self._stations.values():
            if (it := station.close()) is not None:
                self._emit(it)
        end = time.monotonic() + SINKS_END_S
        for outlet in self._outlets:
            outlet.close(max(0.0, end - time.monotonic()))


@dataclass(slots=True, eq=False)
class _Station:
    """A camera at work: its counts."""

    pipeline: CameraPipeline
    lane: Lane
    frames: int = 0
    looks: int = 0
    gaps: int = 0
    gap_s: float = 0.0
    open: set[tuple[str, str, str, float]] = field(default_factory=set)  # alarms that last
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    health: HealthWatch = field(default_factory=HealthWatch)
    latest: Observation | None = None

    def step(self, arrival: Arrival) -> Observation:
        """Serve one frame."""
        it = self.pipeline.step(arrival.frame, arrival.decode_s)
        it = replace(it, gaps=arrival.gaps, health=self.health.step(arrival.frame))
        self._count(it)
        return it

    def close(self) -> Observation | None:
        """What ends with the last frame; None where nothing was going on."""
        ended = self.pipeline.close()
        if self.latest is None or not ended:
            return None
        it = replace(self.latest, events=ended, health=(), gaps=(), detected=False, seconds={})
        self._note(ended)
        return it

    def status(self) -> CameraStatus:
        """How the camera does."""
        tracks = self.latest.tracks if self.latest else []
        return CameraStatus(
            camera=self.pipeline.camera,
            frames=self.frames,
            looks=self.looks,
            tracks=sum(it.confirmed for it in tracks),
            alarms=len(self.open),
            dropped=self.lane.dropped,
            gaps=self.gaps,
            gap_s=self.gap_s,
            health=self.health.kinds,
            outage=self.lane.gap.reason if self.lane.gap else "",
            seconds=dict(self.seconds),
            ended=self.lane.ended,
            problem=self.lane.problem,
        )

    def _count(self, it: Observation) -> None:
        self.latest = it
        self.frames += 1
        self.looks += it.detected
        self.gaps += len(it.gaps)
        self.gap_s += sum(gap.seconds or 0.0 for gap in it.gaps)
        for part, seconds in it.seconds.items():
            self.seconds[part] += seconds
        self._note(it.events)

    def _note(self, events: Sequence[Event]) -> None:
        """Which alarms last: an event is told once when it begins and once when it ends."""
        for event in events:
            key = event.kind, event.label, event.zone, event.start_s
            if event.alarm and event.end_s is None:
                self.open.add(key)
            else:
                self.open.discard(key)
