"""What carries observations out, kept apart from the cameras: a sink that is slow or fails costs observations only.

Each sink has a bounded queue and a thread of its own. Where the queue is full, the oldest observation without an event
gives way, and the oldest of all where every one has events. What was lost is counted.
"""

import threading
from collections import deque
from dataclasses import dataclass, replace

from pipeline.core.errors import SightlineError
from pipeline.runtime.watching import Observation, Sink

DEPTH = 256  # observations that may wait
PICTURES = 32  # of them with their pictures; a decoded frame of 1080p takes 3 MB


@dataclass(frozen=True, slots=True)
class OutletStatus:
    """What became of the observations that a sink was offered."""

    name: str
    taken: int
    lost: int  # not handed to the sink: its queue was full, or it had ended
    failed: int  # handed to it, and refused
    problem: str  # the latest reason; "" where there is none


class Outlet:
    """A sink behind its queue and thread.

    Args:
        name: of the sink, for messages.
        sink: where to.
        pictures: the sink wants frames; others do not hold them in memory.
    """

    def __init__(self, name: str, sink: Sink, *, pictures: bool = False) -> None:
        self.name = name
        self._sink = sink
        self._pictures = pictures
        self._depth = PICTURES if pictures else DEPTH
        self._waiting: deque[Observation] = deque()
        self._changed = threading.Condition()
        self._taken = self._lost = self._failed = 0
        self._problem = ""
        self._closing = self._ended = False
        self._thread = threading.Thread(target=self._work, name=f"sink {name}", daemon=True)
        self._thread.start()

    def offer(self, it: Observation) -> None:
        """Hand over one observation; returns at once."""
        with self._changed:
            if self._ended or self._closing:
                self._lost += 1
                return
            if len(self._waiting) >= self._depth:
                self._lost += 1
                del self._waiting[next((i for i, old in enumerate(self._waiting) if not old.events), 0)]
            self._waiting.append(it if self._pictures else replace(it, frame=None))
            self._changed.notify()

    def close(self, within_s: float) -> None:
        """Let the sink take what waits, no longer than so many seconds; what is left then is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(within_s)
        with self._changed:
            if self._thread.is_alive():
                self._problem = "did not end in time"
            self._lost += len(self._waiting)
            self._waiting.clear()

    def status(self) -> OutletStatus:
        """The counts so far."""
        with self._changed:
            return OutletStatus(self.name, self._taken, self._lost, self._failed, self._problem)

    def _work(self) -> None:
        try:
            while (it := self._next()) is not None:
                self._hand(it)
            self._sink.close()
        except (SightlineError, OSError) as problem:
            self._tell(str(problem))
        finally:
            with self._changed:  # also where the sink has a defect, whose traceback the thread prints
                self._problem = self._problem if self._closing else "ended by a defect of its own"
                self._ended = True

    def _next(self) -> Observation | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return self._waiting.popleft() if self._waiting else None

    def _hand(self, it: Observation) -> None:
        try:
            self._sink.emit(it)
        except (SightlineError, OSError) as problem:
            self._tell(str(problem))
            with self._changed:
                self._failed += 1
        else:
            with self._changed:
                self._taken += 1

    def _tell(self, problem: str) -> None:
        with self._changed:
            self._problem = problem
