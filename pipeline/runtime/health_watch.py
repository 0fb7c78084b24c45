"""A camera's health while it is watched, against its own first seconds."""

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.frames import LazyFrame
from pipeline.runtime.health import HealthFinding, HealthMonitor, HealthParams, make_reference

WIDTH = 320  # pixels of the picture that is judged
SMALLEST = 64  # pixels of a side that can be judged
FIRST = 20  # looks that make the reference: ten seconds

Luma = NDArray[np.uint8]


class HealthWatch:
    """Looks twice a second; the first looks are taken for the camera's healthy picture.

    A picture of another size begins anew. One that is too small to be judged is not judged.
    """

    def __init__(self) -> None:
        self._every_s = HealthParams().look_s
        self._size = (0, 0)
        self._begin(0.0)

    def _begin(self, due: float) -> None:
        self._first: list[Luma] = []
        self._monitor: HealthMonitor | None = None
        self._due = due

    @property
    def judges(self) -> bool:
        """Whether it has seen enough to judge by."""
        return self._monitor is not None

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is wrong at present."""
        current = self._monitor.current if self._monitor else None
        return (current.kind,) if current else ()

    def step(self, frame: LazyFrame) -> tuple[HealthFinding, ...]:
        """Findings that began or ended with this frame."""
        if frame.size != self._size:
            self._size = frame.size
            self._begin(frame.timestamp_s)
        if frame.timestamp_s < self._due:
            return ()
        self._due = frame.timestamp_s + self._every_s * 0.999  # clocks in floating point
        return self._look(frame.luma(WIDTH), frame.timestamp_s)

    def _look(self, luma: Luma, timestamp_s: float) -> tuple[HealthFinding, ...]:
        if self._monitor is not None:
            return tuple(self._monitor.step(luma, timestamp_s))
        if min(luma.shape) >= SMALLEST:
            self._first.append(luma)
        if len(self._first) == FIRST:
            self._monitor, self._first = HealthMonitor(make_reference(self._first)), []
        return ()
