"""A clip and a still of each alarm, if that is asked for: with what led to it, and people made unrecognisable.

The last seconds of every camera are held in memory as JPEG, some a second, with the boxes of all that was followed.
When an alarm begins, its clip is cut from some seconds before its first sighting to some seconds after its end, and
written by a thread of its own. Nothing that was not masked reaches the disk, unless the masking is switched off.
"""

import json
import logging
import queue
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.core.errors import SightlineError
from pipeline.core.writing import whole
from pipeline.runtime.alarms import Event
from pipeline.runtime.clips import from_jpeg, to_jpeg, write_still, write_timed_clip
from pipeline.runtime.masking import masked
from pipeline.runtime.metadata.scene import Clock, Observed, iso
from pipeline.runtime.retention import enforce, name_of

LOG = logging.getLogger(__name__)
JOBS = 16  # clips that may wait to be written
TIDY_S = 300.0  # seconds between two looks at what is too old, where no alarm comes
QUALITY = 85  # of the JPEG in memory
HOLD_S = 1.0  # a box is masked so long before its first and after its last sighting
GAP_S = 5.0  # two sightings this far apart are still of one way; the tracker's longest gap
SPEED_S = 0.5  # from looks so far apart it is told where a way leads on
SLACK_S = 10.0  # an alarm is raised when it has lasted for its least duration: its first sighting may lie back so far

Image = NDArray[np.uint8]


class EvidenceParams(BaseModel):
    """What is kept of an alarm, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    before_s: float = Field(default=5.0, ge=0, le=60)  # seconds before the first sighting
    after_s: float = Field(default=5.0, ge=0, le=60)  # seconds after the end
    most_s: float = Field(default=60.0, gt=0, le=600)  # seconds after the first sighting; what lasts longer is cut off
    fps: float = Field(default=5.0, gt=0, le=30)  # pictures a second that are kept
    mask: tuple[str, ...] = ("person",)  # classes made unrecognisable; none: pictures as they are
    days: float = Field(default=30.0, gt=0)
    max_bytes: int = Field(default=10 << 30, gt=0)  # on disk, all cameras
    memory_bytes: int = Field(default=64 << 20, gt=0)  # of pictures held for one camera; beyond, clips begin later


class Picture(Protocol):
    """What is read of a frame."""

    def rgb(self) -> Image:
        """(H, W, 3) RGB pixels, upright."""


class ObservedPicture(Observed, Protocol):
    """An observation with its picture."""

    @property
    def frame(self) -> Picture | None:
        """The picture, where it is still there."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    """A picture that is held."""

    at_s: float
    jpeg: bytes


@dataclass(slots=True, eq=False)
class _Recording:
    """An alarm whose clip is not cut yet."""

    event: Event  # as last reported
    stop_s: float  # of the source's clock

    def key(self) -> tuple[str, str, str, float]:
        """What the two reports of an event agree in."""
        return key_of(self.event)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """All that writing a clip needs."""

    event: Event
    shots: tuple[_Shot, ...]
    paths: Mapping[int, "_Path"]  # of the tracks to mask


Floats = NDArray[np.float64]
_Path = tuple[Floats, Floats]  # seconds (N,) of the looks at one track, and its boxes (N, 4) in shares of the picture


class Evidence:
    """A sink that keeps clips of alarms. `emit` does not wait for the disk.

    Args:
        folder: of the evidence, a folder in it for each camera.
        classes: the model's, by label.
        p: what is kept.
        clock: of the sources.
        now: the time of day, for retention.
    """

    def __init__(
        self,
        folder: Path,
        classes: Sequence[str],
        p: EvidenceParams | None = None,
        clock: Clock | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._folder, self._classes, self._p = folder, tuple(classes), p or EvidenceParams()
        self._clock, self._now = clock or Clock(), now
        self._masked = frozenset(i for i, name in enumerate(self._classes) if name in self._p.mask)
        self._cameras: dict[str, _Camera] = {}
        self._jobs: queue.Queue[_Job | None] = queue.Queue(JOBS)
        self.written = 0  # clips
        self.lost = 0  # clips that could not be written, or came faster than they could
        self._writer = threading.Thread(target=self._write_all, name="evidence", daemon=True)
        self._writer.start()

    def emit(self, it: ObservedPicture) -> None:
        """Take one observation with its picture."""
        camera = self._cameras.setdefault(it.camera, _Camera(self._p, self._masked))
        camera.see(it)
        for event in it.events:
            if event.alarm:
                camera.note(event)
        for job in camera.due(it.timestamp_s):
            self._hand_over(job)

    def close(self) -> None:
        """Cut the clips that still run where they are, and wait until all are written."""
        for camera in self._cameras.values():
            for job in camera.due(np.inf):
                self._hand_over(job, wait=True)
        self._jobs.put(None)
        self._writer.join()

    def _hand_over(self, job: _Job, *, wait: bool = False) -> None:
        try:
            self._jobs.put(job, block=wait)
        except queue.Full:
            self.lost += 1
            LOG.warning("%s: alarms come faster than their clips can be written; one is lost", job.event.camera)

    def _write_all(self) -> None:
        """The writer's thread."""
        while True:
            self._tidy()
            try:
                job = self._jobs.get(timeout=TIDY_S)
            except queue.Empty:
                continue
            if job is None:
                return
            try:
                self._write(job)
                self.written += 1
            except (SightlineError, OSError) as error:
                self.lost += 1
                LOG.warning("%s: a clip could not be written: %s", job.event.camera, error)

    def _tidy(self) -> None:
        try:
            enforce(self._folder, self._now(), self._p.days, self._p.max_bytes)
        except OSError as error:
            LOG.warning("%s: evidence that is too old could not be deleted: %s", self._folder, error)

    def _write(self, job: _Job) -> None:
        event = job.event
        folder = self._folder / file_name(event.camera)
        stem = self._free(folder, event)
        still = min(job.shots, key=lambda shot: abs(shot.at_s - event.confirmed_s))
        write_timed_clip(folder / f"{stem}.mp4", self._pictures(job), self._p.fps)
        write_still(folder / f"{stem}.jpg", self._picture(job, still))
        with whole(folder / f"{stem}.json") as temporary:  # last: where it is, the others are
            temporary.write_text(json.dumps(self._record(job, stem), indent=2, sort_keys=True) + "\n")

    def _free(self, folder: Path, event: Event) -> str:
        """A name that is not taken."""
        time, number = self._clock.utc(event.camera, event.start_s), 1
        while (folder / f"{(stem := name_of(time, event.kind, number))}.mp4").exists():
            number += 1
        return stem

    def _pictures(self, job: _Job) -> Iterator[tuple[float, Image]]:
        for shot in job.shots:
            yield shot.at_s, self._picture(job, shot)

    def _picture(self, job: _Job, shot: _Shot) -> Image:
        picture = from_jpeg(shot.jpeg)
        height, width = picture.shape[:2]
        shares = [box for path in job.paths.values() for box in boxes_at(path, shot.at_s)]
        return masked(picture, [box * (width, height, width, height) for box in shares])

    def _record(self, job: _Job, stem: str) -> dict[str, Any]:
        """The event beside its clip: no ids, because nothing may link two clips."""
        event = job.event

        def utc(seconds: float | None) -> str | None:
            return None if seconds is None else iso(self._clock.utc(event.camera, seconds))

        return {
            "camera": event.camera,
            "kind": event.kind,
            "class": event.label,
            "zone": event.zone,
            "direction": event.direction,
            "start": utc(event.start_s),
            "end": utc(event.end_s),
            "confirmed": utc(event.confirmed_s),
            "score": round(float(event.score), 5),
            "clip": f"{stem}.mp4",
            "still": f"{stem}.jpg",
            "clip_start": utc(job.shots[0].at_s),
            "clip_end": utc(job.shots[-1].at_s),
            "masked": sorted(set(self._p.mask) & set(self._classes)),
        }


@dataclass(slots=True, eq=False)
class _Camera:
    """The last seconds of one camera, and its alarms that run."""

    p: EvidenceParams
    masked: frozenset[int]
    shots: deque[_Shot] = field(default_factory=deque)
    sightings: deque[tuple[float, int, Floats]] = field(default_factory=deque)  # second, track, box in shares
    size: int = 0  # bytes of the shots
    running: dict[tuple[str, str, str, float], _Recording] = field(default_factory=dict)

    def see(self, it: ObservedPicture) -> None:
        """Hold the picture if one is due, and the boxes if they are new."""
        now = it.timestamp_s
        if it.frame is not None and (not self.shots or now - self.shots[-1].at_s >= 0.999 / self.p.fps):
            self.shots.append(_Shot(now, to_jpeg(it.frame.rgb(), QUALITY)))
            self.size += len(self.shots[-1].jpeg)
        if it.detected:
            shares = 1 / np.array([*it.size, *it.size], np.float64)
            mine = (track for track in it.tracks if track.label in self.masked)
            self.sightings.extend((now, track.track_id, track.box * shares) for track in mine)
        self._forget(now)

    def note(self, event: Event) -> None:
        """The begin or end of an alarm."""
        latest = event.start_s + self.p.most_s
        stop = latest if event.end_s is None else min(latest, event.end_s + self.p.after_s)
        if event.end_s is None or key_of(event) in self.running:
            self.running[key_of(event)] = _Recording(event, stop)

    def due(self, now: float) -> list[_Job]:
        """Clips whose time has come."""
        over = [it for it in self.running.values() if it.stop_s < now]
        for it in over:
            del self.running[it.key()]
        return [job for it in over if (job := self._job(it)).shots]

    def _job(self, it: _Recording) -> _Job:
        start = it.event.start_s - self.p.before_s
        shots = tuple(shot for shot in self.shots if start <= shot.at_s <= it.stop_s)
        return _Job(it.event, shots, self._paths(start - HOLD_S, it.stop_s + HOLD_S))

    def _paths(self, start: float, stop: float) -> dict[int, _Path]:
        known: dict[int, list[tuple[float, Floats]]] = {}
        for at_s, track_id, box in self.sightings:
            if start <= at_s <= stop:
                known.setdefault(track_id, []).append((at_s, box))
        return {
            track_id: (np.array([at_s for at_s, _ in it]), np.stack([box for _, box in it]))
            for track_id, it in known.items()
        }

    def _forget(self, now: float) -> None:
        """Let go of what no clip can want any more, and of the oldest where memory is full."""
        oldest = min([now, *(it.event.start_s for it in self.running.values())]) - self.p.before_s - SLACK_S
        while self.shots and (self.shots[0].at_s < oldest or self.size > self.p.memory_bytes):
            self.size -= len(self.shots.popleft().jpeg)
        while self.sightings and self.sightings[0][0] < oldest - HOLD_S:
            self.sightings.popleft()


def key_of(event: Event) -> tuple[str, str, str, float]:
    """What the two reports of one event agree in."""
    return event.kind, event.label, event.zone, event.start_s


def boxes_at(path: _Path, at_s: float) -> list[Floats]:
    """The boxes to mask of one track at a moment, so that it is covered wherever it was.

    Between two looks both boxes and the one between them; before the first and after the last the nearest, and where
    its way leads on, for `HOLD_S`.
    """
    times, boxes = path
    after = int(np.searchsorted(times, at_s))
    if 0 < after < len(times) and times[after] - times[after - 1] <= GAP_S:
        share = (at_s - times[after - 1]) / (times[after] - times[after - 1])
        return [boxes[after - 1], boxes[after - 1] * (1 - share) + boxes[after] * share, boxes[after]]
    if 0 < after < len(times):
        return [box for time, box in zip(times, boxes, strict=True) if abs(at_s - time) <= HOLD_S]
    return _beyond((times, boxes) if after == 0 else (times[::-1], boxes[::-1]), at_s)


def _beyond(path: _Path, at_s: float) -> list[Floats]:
    """As `boxes_at`, before the first of a path (or of one turned round)."""
    times, boxes = path
    if abs(at_s - times[0]) > HOLD_S:
        return []
    base = min(int(np.searchsorted(abs(times - times[0]), SPEED_S)), len(times) - 1)
    if base == 0:
        return [boxes[0]]
    share = (at_s - times[0]) / (times[base] - times[0])
    return [boxes[0], boxes[0] * (1 - share) + boxes[base] * share]


def file_name(camera: str) -> str:
    """A camera's name as a folder's."""
    return re.sub(r"[^\w.-]", "_", camera).lstrip(".") or "camera"
