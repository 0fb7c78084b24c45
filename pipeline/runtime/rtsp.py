"""Cameras over RTSP: by TCP, connected again for as long as it takes, on a clock that never goes back."""

import math
import random
import re
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import av

from pipeline.core.errors import DataError
from pipeline.core.params import SamplingParams, UsableParams
from pipeline.runtime.frames import Gap, LazyFrame, OnGap, Ticks
from pipeline.runtime.video import Clip

OPEN_S, READ_S = 10.0, 5.0  # how long a camera may keep silent: when it is called, and between two packets
OPTIONS = {
    "rtsp_transport": "tcp",
    "allowed_media_types": "video",
    "protocol_whitelist": "tcp,tls,rtp,crypto",
    "fpsprobesize": "0",  # else the first second goes by while FFmpeg counts frames
}
FIRST_S, LONGEST_S = 0.25, 2.0  # before connecting again: the first wait, and the cap; each drawn between half and all
RATE = 25.0  # frames a second, of a camera that says none and sends no timestamps
DRIFT_S = 2.0  # a camera's clock may be this far from ours before its frames are placed anew
SLEW, SLEW_S = 0.1, 0.02  # of the time between frames, and at most: by which one that comes early sets the clock right
STEP_S = 0.001  # at least, between two frames
HOLE_S = 1.0  # damaged frames that leave a hole this long are a gap
UNFIT_S = 30.0  # between two calls of a camera that once gave frames and now refuses, or gives what is no video
# Asking at once again does not help, and cameras lock an account after some wrong passwords.
REFUSED = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)
SILENT = "the camera keeps silent"
TIMED_OUT = "Immediate exit requested"  # FFmpeg's words where our time is up
SECRET = re.compile(r"(?i)((?:pass|pwd|user|login|token|auth|secret|key)[^=/&;]*)=[^/&;]*")


class RtspSource:
    """Frames of a camera, as long as it is asked for them.

    A lost connection is made again, after waits that double up to a cap, each shortened by chance so that many cameras
    do not call at once. Time is the seconds since reading began: of the camera's own clock from frame to frame, set
    right by ours at every connection and where they drift apart.

    Attributes:
        name: the address without credentials.
        live: frames come when they come.
    """

    live = True

    def __init__(self, address: str, fps: float, limits: UsableParams, on_gap: OnGap) -> None:
        self.name = public(address)
        self._address = address
        self._fps = fps
        self._limits = limits
        self._on_gap = on_gap
        self._closing = threading.Event()

    def frames(self) -> Iterator[LazyFrame]:
        """The frames, from now on.

        Raises:
            DataError: before it gave a frame, the camera refuses the credentials or gives what is no video.
        """
        line = _Line(self._on_gap)
        ticks = Ticks(self._fps)
        while not self._closing.is_set():
            try:
                yield from (frame for frame in self._connected(line) if ticks.due(frame.timestamp_s))
            except DataError as problem:
                if not line.count:
                    raise DataError(f"{self.name}: {problem}") from None
                line.lose(str(problem))
                self._closing.wait(UNFIT_S)
            except (av.FFmpegError, OSError) as error:
                line.lose(_reason(error))
            self._closing.wait(line.wait())

    def close(self) -> None:
        """End `frames`: at its next frame, or when the camera has kept silent for `READ_S`."""
        self._closing.set()

    def _connected(self, line: "_Line") -> Iterator[LazyFrame]:
        """Frames of one connection; returns when it ends."""
        with _opened(self._address) as container:
            clip = _clip(container, self._limits)
            line.clock.connect()
            for picture, seconds in clip.whole():
                if self._closing.is_set():
                    return
                yield line.place(picture, seconds, clip.damaged)
            line.lose(_words(clip.stopped) or "the camera ended the stream")


def _opened(address: str) -> Any:
    began = time.monotonic()
    try:
        return av.open(address, format="rtsp", options=OPTIONS, timeout=(OPEN_S, READ_S), metadata_errors="replace")
    except REFUSED as error:
        raise DataError(f"the camera refuses access: {error.strerror}") from None
    except (av.FFmpegError, OSError):
        if time.monotonic() - began < OPEN_S:
            raise
        raise TimeoutError(0, SILENT) from None  # FFmpeg blames what it has not got


def _clip(container: Any, limits: UsableParams) -> Clip:
    streams = container.streams.video
    if not streams:
        raise DataError("no video: the camera gives other streams only")
    if not streams[0].codec_context.width:
        raise ConnectionError(0, "no key frame came in time to tell the size of the picture")
    return Clip(container, SamplingParams(mode="all", fps=1.0, jpeg_quality=95), limits, spare_rate=RATE)


class Clock:
    """Seconds since reading began, from frame to frame of the camera's own clock, kept near ours."""

    def __init__(self) -> None:
        self.last: float | None = None  # of the last frame
        self._offset: float | None = None  # from the camera's seconds to ours
        self._before = 0.0  # the camera's seconds of the last frame

    def connect(self) -> None:
        """A connection begins: the camera's seconds start anew."""
        self._offset = None

    def place(self, seconds: float, now: float) -> float:
        """The moment of the next frame, of the camera's `seconds`, which came at `now`; after the last one's.

        Frames of the first moment come in a bunch and late; no later frame can come before its time.
        """
        early = self._offset + seconds - now if self._offset is not None else math.inf
        if abs(early) > DRIFT_S or self._offset is None:
            self._offset = now - seconds
        elif early > 0:
            self._offset -= min(early, SLEW_S, SLEW * (seconds - self._before))
        self._before = seconds
        moment = self._offset + seconds if self.last is None else max(self._offset + seconds, self.last + STEP_S)
        self.last = round(moment, 6)
        return self.last


class _Line:
    """What outlives a connection: the clock, the count of frames, the gap that lasts, the waits."""

    def __init__(self, on_gap: OnGap) -> None:
        self.clock = Clock()
        self.count = 0
        self._on_gap = on_gap
        self._began = time.monotonic()
        self._gap = ""  # reason of the gap that lasts
        self._damaged = 0  # frames of this connection
        self._tries = 0
        self._chance = random.Random()  # noqa: S311 - spreads calls, keeps no secret

    def place(self, picture: av.VideoFrame, seconds: float, damaged: int) -> LazyFrame:
        """The next frame at its time; ends a gap."""
        last = self.clock.last or 0.0
        moment = self.clock.place(seconds, time.monotonic() - self._began)
        if damaged > self._damaged and moment - last > HOLE_S:
            self.lose("frames came damaged")
        if self._gap:
            self._on_gap(Gap(last, moment - last, self._gap))
        self._gap, self._damaged, self._tries = "", damaged, 0
        self.count += 1
        return LazyFrame(self.count - 1, moment, picture)

    def lose(self, reason: str) -> None:
        """A gap begins, unless one lasts: its first reason is the one to tell."""
        self._damaged = 0
        if not self._gap:
            self._gap = reason
            self._on_gap(Gap(self.clock.last or 0.0, None, reason))

    def wait(self) -> float:
        """Seconds to wait before the next try."""
        longest = min(LONGEST_S, FIRST_S * 2.0**self._tries)
        self._tries = min(self._tries + 1, 16)
        return longest * self._chance.uniform(0.5, 1.0)


def public(address: str) -> str:
    """An address that may be shown: no user, no password, no query; values that look like secrets are starred.

    Raises:
        DataError: it names no host.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise DataError("the address of the camera names no host; write rtsp://user:password@host:554/path")
    place = f"[{host}]" if ":" in host else host
    path = SECRET.sub(r"\1=***", parts.path)
    return f"{parts.scheme}://{place}:{port}{path}" if port else f"{parts.scheme}://{place}{path}"


def _reason(error: Exception) -> str:
    """Why a connection failed; never the error's own text, which may hold the address."""
    return _words(getattr(error, "strerror", None) or type(error).__name__)


def _words(reason: str) -> str:
    return SILENT if reason == TIMED_OUT else reason
