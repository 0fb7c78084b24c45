"""How the cameras do, at the terminal: a line each that is redrawn, or plain lines now and then where no one looks."""

import logging
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from pipeline.runtime.cameras import CameraStatus
from pipeline.runtime.outlets import Outlet, OutletStatus

PLAIN_EVERY_S = 10.0  # between lines where stdout is no terminal
UP = "\x1b[{}F"  # so many lines up, to the first column
CLEAR = "\x1b[J"  # from here to the end of the screen


def line(now: CameraStatus, before: CameraStatus | None, seconds: float) -> str:
    """One camera in a line.

    Args:
        now: its status.
        before: that of `seconds` ago; None at the start.
        seconds: between the two.
    """
    frames = now.frames - (before.frames if before else 0)
    looks = now.looks - (before.looks if before else 0)
    rates = f"{frames / seconds:5.1f} frames/s {looks / seconds:5.1f} detections/s"
    counts = f"{_many(now.tracks, 'track'):>9} {_many(now.alarms, 'alarm'):>8}  dropped {now.dropped}"
    gaps = f"{_many(now.gaps, 'gap')} of {now.gap_s:.1f} s" if now.gaps else "no gap"
    return f"{now.camera}: {rates} {counts}  {_condition(now)}  {gaps}"


def _condition(now: CameraStatus) -> str:
    return _trouble(now) or ("ended" if now.ended else "healthy")


def _trouble(now: CameraStatus) -> str:
    """The worst that is known of a camera; "" where there is nothing."""
    if now.problem:
        return f"BROKEN: {now.problem}"
    return f"NO SIGNAL: {now.outage}" if now.outage else ", ".join(now.health).upper()


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


@dataclass(slots=True)
class StatusLines:
    """The lines at the terminal; troubles of cameras and sinks are said once each, on stderr."""

    outlets: Sequence[Outlet] = ()
    notes: Mapping[str, Callable[[], str]] = field(default_factory=dict)  # what else has a line, by name
    heard: deque[str] = field(default_factory=deque)  # what others have to say, in between
    out: TextIO = field(default_factory=lambda: sys.stdout)
    _before: dict[str, CameraStatus] = field(default_factory=dict)
    _drawn: int = 0  # lines on the screen that the next ones replace
    _at: float = field(default_factory=time.monotonic)
    _told: dict[str, str] = field(default_factory=dict)

    def show(self, status: Sequence[CameraStatus]) -> None:
        """Show the status now, or later where lines are plain and the last ones are fresh."""
        now, live = time.monotonic(), self.out.isatty()
        self._say(status)
        if not live and now - self._at < PLAIN_EVERY_S:
            return
        seconds = max(now - self._at, 1e-3)
        lines = [line(it, self._before.get(it.camera), seconds) for it in status]
        lines += [f"{name}: {told()}" for name, told in self.notes.items()]
        if live:
            width = shutil.get_terminal_size().columns - 1
            lines = [it[:width] for it in lines]  # a line that wraps would be two to go back over
            self.out.write((UP.format(self._drawn) if self._drawn else "") + CLEAR)
            self._drawn = len(lines)
        self.out.write("".join(f"{it}\n" for it in lines))
        self.out.flush()
        self._at, self._before = now, {it.camera: it for it in status}

    def _say(self, status: Sequence[CameraStatus]) -> None:
        fresh = self._news(status)
        if fresh and self._drawn:
            self.out.write(UP.format(self._drawn) + CLEAR)
            self.out.flush()
            self._drawn = 0
        for it in fresh:
            print(f"  {it}", file=sys.stderr, flush=True)

    def _news(self, status: Sequence[CameraStatus]) -> list[str]:
        """What has changed for the worse, or back, since it was last said."""
        outlets = [it.status() for it in self.outlets]
        now = {it.name: it.problem for it in outlets} | {it.camera: _trouble(it) for it in status}
        changed = [name for name, told in now.items() if told != self._told.get(name, "")]
        lines = [f"{name}: {now[name] or 'well again'}" for name in changed]
        self._told = now
        return lines + [self.heard.popleft() for _ in range(len(self.heard))]


@contextmanager
def warnings() -> Iterator[deque[str]]:
    """What the project's loggers say meanwhile, for the lines to show; on its own it would tear them."""
    heard: deque[str] = deque(maxlen=100)

    class Hears(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    logger, handler = logging.getLogger("pipeline"), Hears(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield heard
    finally:
        logger.removeHandler(handler)
    for it in heard:
        print(f"  {it}", file=sys.stderr, flush=True)


def balance(status: Sequence[CameraStatus], outlets: Sequence[OutletStatus]) -> list[str]:
    """What is left to say at the end: a line a camera, and one for each sink that lost something."""
    lines = []
    for it in status:
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in it.seconds.items())
        gaps = f", {_many(it.gaps, 'gap')} of {it.gap_s:.1f} s" if it.gaps else ""
        how = f" - {it.problem}" if it.problem else ""
        lines.append(
            f"{it.camera}: {it.frames} frames, {it.looks} detections, {it.dropped} dropped{gaps}; {spent}{how}"
        )
    lines += [
        f"{it.name}: {it.taken} observations taken, {it.lost} lost, {it.failed} failed - {it.problem or 'too slow'}"
        for it in outlets
        if it.lost or it.failed
    ]
    return lines
