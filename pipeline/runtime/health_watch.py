"""A camera's health while it is watched, against its own first seconds."""

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.health import HealthFinding, HealthMonitor, make_reference
from pipeline.runtime.video import LazyFrame

WIDTH = 320  # pixels of the picture that is judged
EVERY_S = 1.0  # between looks
SMALLEST = 64  # pixels of a side that can be judged
FIRST = 10  # looks that make the reference

Luma = NDArray[np.uint8]


class HealthWatch:
    """Looks once a second; the first ten looks are taken as the camera's healthy picture.

    A picture that is too small to be judged is not: `kinds` stays empty.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._first: list[Luma] = []
        self._monitor: HealthMonitor | None = None
        self._open: dict[str, HealthFinding] = {}
        self._size, self._due = (0, 0), 0.0

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the findings that last."""
        return tuple(self._open)

    def step(self, frame: LazyFrame) -> tuple[HealthFinding, ...]:
        """Findings that began or ended with this frame."""
        if frame.size != self._size:
            self._begin()
            self._size, self._due = frame.size, frame.timestamp_s
        if frame.timestamp_s < self._due:
            return ()
        self._due = frame.timestamp_s + EVERY_S
        return self._look(frame.luma(WIDTH), frame.timestamp_s)

    def _look(self, luma: Luma, timestamp_s: float) -> tuple[HealthFinding, ...]:
        if min(luma.shape) < SMALLEST:
            return ()
        if self._monitor is None:
            self._first.append(luma)
            if len(self._first) == FIRST:
                self._monitor = HealthMonitor(make_reference(self._first))
            return ()
        findings = tuple(self._monitor.step(luma, timestamp_s))
        for it in findings:
            if it.end_s is None:
                self._open[it.kind] = it
            else:
                self._open.pop(it.kind, None)
        return findings
