"""Frames of several cameras on their way to one consumer: a reader thread each, bounded queues, every loss counted.

A live source does not wait: where its queue is full, the oldest frame gives way and counts as dropped. A file waits.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.core.errors import SightlineError
from pipeline.runtime.frames import Gap, LazyFrame, OnGap, Source

DEPTH = 4  # frames of a camera that may wait; a decoded frame of 1080p takes 3 MB

Open = Callable[[OnGap], Source]  # opens a source, which tells its gaps


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """One frame as its reader hands it over."""

    lane: "Lane"
    frame: LazyFrame
    decode_s: float  # of the reader's CPU time
    gaps: tuple[Gap, ...]  # since the frame before


class Lane:
    """One camera's reader and queue. All lanes of a watch share one condition."""

    def __init__(self, camera: str, open_source: Open, changed: threading.Condition) -> None:
        self.camera = camera
        self.dropped = 0
        self.problem = ""  # why the source ended before its end
        self.ended = False  # nothing more will be put into the queue
        self._open = open_source
        self._changed = changed
        self._waiting: deque[Arrival] = deque()
        self.gap: Gap | None = None  # while the source gives nothing
        self._gaps: list[Gap] = []  # that ended, since the latest frame
        self._source: Source | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._read, name=f"camera {camera}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, problem: str = "") -> None:
        """End reading, for a reason or because it was asked for; frames that wait are not served."""
        with self._changed:
            self._stopped = True
            self.problem = self.problem or problem
            self._waiting.clear()
            self._changed.notify_all()
        if self._source is not None:
            self._source.close()

    def join(self, within_s: float) -> None:
        """Wait for the reader's end; one that hangs in its source for longer is left behind."""
        self._thread.join(within_s)

    def take(self) -> Arrival | None:
        """The frame that waits longest, if any; the caller holds the condition."""
        if not self._waiting:
            return None
        self._changed.notify_all()  # a reader may wait for the room
        return self._waiting.popleft()

    @property
    def over(self) -> bool:
        """Whether the source has ended and every frame was taken; the caller holds the condition."""
        return self.ended and not self._waiting

    def _read(self) -> None:
        problem = "ended by a defect, see above"
        try:
            self._source = self._open(self._on_gap)
            self._pass_on(self._source)
            problem = ""
        except (SightlineError, OSError) as error:
            problem = str(error)
        finally:
            with self._changed:
                self.problem = self.problem if self._stopped else problem
                self.ended = True
                self._changed.notify_all()

    def _pass_on(self, source: Source) -> None:
        try:
            frames, mark = source.frames(), time.thread_time()
            for frame in frames:
                spent = time.thread_time() - mark
                if not self._put(frame, spent, live=source.live):
                    return
                mark = time.thread_time()
        finally:
            source.close()

    def _on_gap(self, gap: Gap) -> None:
        with self._changed:
            self.gap = gap if gap.seconds is None else None
            if gap.seconds is not None:
                self._gaps.append(gap)

    def _put(self, frame: LazyFrame, decode_s: float, *, live: bool) -> bool:
        """Queue one frame; False where reading shall end."""
        with self._changed:
            while len(self._waiting) >= DEPTH and not self._stopped:
                if live:
                    self._drop()
                else:
                    self._changed.wait()
            if self._stopped:
                return False
            gaps, self._gaps[:] = tuple(self._gaps), ()
            self._waiting.append(Arrival(self, frame, decode_s, gaps))
            self._changed.notify_all()
            return True

    def _drop(self) -> None:
        """The oldest frame gives way; the gaps before it are before the next one now."""
        gaps = self._waiting.popleft().gaps
        self._waiting[0] = replace(self._waiting[0], gaps=gaps + self._waiting[0].gaps)
        self.dropped += 1


def first_of(lanes: Sequence[Lane], turn: int) -> tuple[Arrival | None, int]:
    """The next frame to serve, the lane after the one served last first, and the turn after it.

    The caller holds the condition.
    """
    for step in range(len(lanes)):
        place = (turn + step) % len(lanes)
        if (it := lanes[place].take()) is not None:
            return it, place + 1
    return None, turn
