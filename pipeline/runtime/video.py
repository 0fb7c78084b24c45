"""Frames of a video file: streamed, upright, in presentation time; what a broken file still holds is kept."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags as CodecFlags
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.limits import size_defect
from pipeline.core.params import SamplingParams, UsableParams
from pipeline.runtime.frames import TICK, LazyFrame, Ticks

SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov"}
    | {".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
# Playlists are no videos: FFmpeg would follow what they name, to other files of this machine or to the network.
SAFE = {
    "format_whitelist": "mov,matroska,webm,avi,mpegts,mpeg,asf,flv,mpegvideo,h264,hevc,m4v",
    "protocol_whitelist": "file",
}
DECLARING = {"mov", "matroska", "avi", "asf"}  # containers whose header states the duration
TOLERANCE_S = 0.5  # a video may end this much before its stated end: tracks differ in length, edits are cut


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One decoded frame."""

    index: int  # in decoding order of the whole clip, from 0
    timestamp_s: float  # seconds from the clip's first frame
    pixels: NDArray[np.uint8]  # (H, W, 3) RGB, upright


def read_video(path: Path, sampling: SamplingParams, limits: UsableParams) -> Iterator[VideoFrame]:
    """The frames of `read_lazily`, converted to RGB pixels."""
    for frame in read_lazily(path, sampling, limits):
        yield VideoFrame(frame.index, frame.timestamp_s, frame.rgb())


def read_lazily(
    path: Path, sampling: SamplingParams, limits: UsableParams, form: str | None = None, *, sparing: bool = False
) -> Iterator[LazyFrame]:
    """The frames of a video that the sampling takes, one at a time.

    `all` takes every frame; `fps` the first frame at or after each tick of the clip's presentation time, so a variable
    frame rate is no matter; `keyframes` those that are coded on their own, whose index follows from time and rate.
    A frame that was not decoded whole, and those up to the next key frame, which build on it, are left out.

    Args:
        path: the file.
        sampling: which frames.
        limits: on their sides (pixels) and megapixels.
        form: FFmpeg's name of the file's format; None finds it out, of those that `SAFE` names.
        sparing: of `fps`: frames that no tick takes and on which no other builds are not decoded; a frame's number then
            follows from time and rate.

    Raises:
        DataError: as `key: details`, once all good frames are out: the file is no video, breaks off or is damaged.
    """
    if not path.stat().st_size:
        raise DataError("empty file: 0 bytes")
    safe = SAFE | ({"format_whitelist": form} if form else {})
    try:
        with av.open(str(path), format=form, options=safe, metadata_errors="replace") as container:
            if not container.streams.video:
                raise DataError("no video: the file holds other streams only")
            if form and not container.streams.video[0].width:  # whatever is named a picture is opened as one
                raise DataError("broken picture: no size can be read")
            yield from Clip(container, sampling, limits, sparing=sparing).frames()
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"broken video: cannot be read: {error.strerror}") from None


def frame_rate(path: Path) -> float:
    """Frames per second of a video, the mean over the whole. Raises DataError where it is no video or says none."""
    try:
        with av.open(str(path), options=SAFE, metadata_errors="replace") as container:
            rate = container.streams.video[0].average_rate if container.streams.video else None
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path}: broken video: cannot be read: {error.strerror}") from None
    if not rate:
        raise DataError(f"{path} says no frame rate; give it one: ffmpeg -i {path.name} -r 25 other.mp4")
    return float(rate)


class Clip:
    """One pass over an open video, and what it meets on the way.

    `spare_rate` is the frames a second of a stream that says none.

    Attributes:
        stopped: why no more packets came; "" at the end of a file.
        damaged: frames that were left out.

    Raises:
        DataError: the codec is not known, or the size is refused.
    """

    def __init__(
        self,
        container: Any,
        sampling: SamplingParams,
        limits: UsableParams,
        spare_rate: float = 0.0,
        *,
        sparing: bool = False,
    ) -> None:
        self._container = container
        self._stream = container.streams.video[0]
        self.stopped = ""
        self.damaged = 0
        self._sampling = sampling
        self._limits = limits
        self._clock = _Clock(self._stream.average_rate or self._stream.guessed_rate or spare_rate)
        self._index = 0  # of the next frame
        self._end = 0.0  # last moment that any packet reaches, in the container's time
        self._sent = 0  # packets, to the decoder
        self._failed = 0  # packets that gave no frame
        self._doubt: int | None = None  # number of the packet from which on frames may build on a damaged one
        self._sparing = sparing and sampling.mode == "fps" and self._clock.rate > 0
        self._prepare()

    def _prepare(self) -> None:
        context = self._stream.codec_context
        if context is None:
            raise DataError("broken video: its codec is not known; convert it to H.264")
        context.thread_count = 1  # clips are decoded side by side
        context.flags |= CodecFlags.copy_opaque  # a frame carries what its packet carried
        if self._sampling.mode == "keyframes":
            context.skip_frame = "NONKEY"
        if defect := size_defect(context.width, context.height, self._limits):
            raise DataError(defect)

    def frames(self) -> Iterator[LazyFrame]:
        """As `read_lazily`."""
        ticks = Ticks(self._sampling.fps if self._sampling.mode == "fps" else 0)
        for frame, seconds in self.whole():
            if ticks.due(seconds):
                yield LazyFrame(self._place(seconds), round(seconds, 6), frame)
        if problem := self._problem():
            raise DataError(f"broken video: {problem}")

    def whole(self) -> Iterator[tuple[Any, float]]:
        """Frames that were decoded whole, and their seconds."""
        for frame in self._decoded():
            seconds = self._clock.tick(frame)
            if self._in_doubt(frame):
                self.damaged += 1
            elif defect := size_defect(frame.width, frame.height, self._limits):
                raise DataError(defect)
            else:
                yield frame, seconds
            self._index += 1

    def _in_doubt(self, frame: Any) -> bool:
        """Whether a frame is damaged, or may build on one that is: it was sent later, with no key frame between."""
        sent = self._sent if frame.opaque is None else frame.opaque  # not every decoder passes the number on
        if frame.is_corrupt and self._doubt is None:
            self._doubt = sent
        if self._doubt is None or sent < self._doubt:
            return False
        if frame.key_frame and not frame.is_corrupt:
            self._doubt = None
        return self._doubt is not None

    def _decoded(self) -> Iterator[Any]:
        """Frames in order of presentation; each carries the number of its packet."""
        for packet in self._packets():
            self._sent += 1
            packet.opaque = self._sent
            if self._sparing:
                self._stream.codec_context.skip_frame = "DEFAULT" if self._wanted(packet) else "NONREF"
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._failed += 1
                self._doubt = self._sent if self._doubt is None else self._doubt
            else:
                yield from frames

    def _wanted(self, packet: Any) -> bool:
        """Whether a packet's frame is the first at or after a tick; unknown before the first frame."""
        at = None if packet.pts is None else self._clock.at(packet.pts * packet.time_base)
        if at is None:
            return True
        before, now = (math.floor(t * self._sampling.fps + TICK) for t in (at - 1 / self._clock.rate, at))
        return now > before

    def _packets(self) -> Iterator[Any]:
        """Packets of the video stream; the others only say how far the file goes."""
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.stopped = str(error.strerror)
                return
            if packet is None:
                return
            if packet.pts is not None and packet.time_base:
                self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is self._stream:
                yield packet

    def _place(self, seconds: float) -> int:
        if self._sampling.mode != "keyframes" and not self._sparing:
            return self._index
        if not self._clock.rate:
            raise DataError("broken video: no frame rate, which keyframes need; set ingest.sampling.mode=all")
        return round(seconds * self._clock.rate)

    def _problem(self) -> str:
        """What kept the clip from being read to its end; "" where nothing did."""
        if not self._index:
            return "no frame can be decoded"
        here = f"after {self._index} frames at {self._clock.seconds:.2f} s"
        missing = self._missing()
        if self.stopped or missing > TOLERANCE_S:
            why = f" ({self.stopped})" if self.stopped else ""
            return f"breaks off {here}, {missing:.2f} s before its end{why}"
        lost = self.damaged + self._failed
        return f"{lost} of {self._index + self._failed} frames are damaged" if lost else ""

    def _missing(self) -> float:
        """Seconds between the last packet and the end that the header states."""
        if self._container.format.name.partition(",")[0] not in DECLARING or not self._container.duration:
            return 0.0
        start = (self._container.start_time or 0) / av.time_base
        return float(max(0.0, start + self._container.duration / av.time_base - self._end))


class _Clock:
    """Seconds from the first frame; never back, whatever the timestamps do.

    Cameras restart their clocks and transport streams wrap around: after a step back, time goes on by one frame.
    """

    def __init__(self, rate: Fraction | float | None) -> None:
        self.rate = float(rate or 0)
        self.seconds = 0.0
        self._zero: Fraction | None = None

    def tick(self, frame: Any) -> float:
        """Seconds of the next frame."""
        if frame.pts is None:
            self.seconds += self._step() if self._zero is not None else 0.0
            self._zero = self._zero or Fraction(0)
            return self.seconds
        raw = frame.pts * frame.time_base
        if self._zero is None:
            self._zero = raw
        elif raw - self._zero < self.seconds - TICK:
            self._zero = raw - Fraction(self.seconds + self._step())
        self.seconds = float(raw - self._zero)
        return self.seconds

    def at(self, raw: Fraction) -> float | None:
        """Seconds that a moment of the stream has, as the clock stands; None before the first frame."""
        return None if self._zero is None else float(raw - self._zero)

    def _step(self) -> float:
        if not self.rate:
            raise DataError("broken video: neither timestamps nor a frame rate; convert it with a frame rate")
        return 1 / self.rate
