"""When and where to look: motion in a small grey picture, against a background that learns."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.frames import Ticks

Picture = NDArray[np.uint8]
GRID = 4  # every fourth pixel both ways judges the exposure
DARK, BRIGHT = 8, 247  # grey levels beyond which a pixel says nothing of the exposure
KERNEL = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class MotionParams:
    """What counts as motion, and how often a detector may look."""

    detect_fps: float = 5.0  # at most, while something moves
    floor_fps: float = 0.5  # at least, whatever moves: standing objects are not lost
    contrast: float = 12.0  # grey levels that a pixel must differ from its background
    noise: float = 4.0  # and times its usual deviation
    min_area: float = 0.001  # share of the picture that a region must cover
    learn_s: float = 2.0  # the background takes up what stays, to two thirds, in this time
    absorb_s: float = 10.0  # and where something is in front of it, in this
    scene: float = 0.6  # share of the picture that moves at once when the scene has changed: learn it anew


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What moves in one frame. K = number of regions."""

    moving: bool
    regions: NDArray[np.float32]  # (K, 4) xyxy, 0..1
    detect: bool  # whether to run the detector on this frame


NOWHERE = np.empty((0, 4), np.float32)


class MotionGate:
    """Looks at every frame of one camera, in order."""

    def __init__(self, p: MotionParams = MotionParams()) -> None:  # noqa: B008 - frozen
        self._p = p
        self._budget = Ticks(p.detect_fps)
        self._looked = -math.inf  # when the detector last looked
        self._before = 0.0  # timestamp of the last frame
        self._model: _Background | None = None

    def step(self, luma: Picture, timestamp_s: float) -> Motion:
        """Motion in a small grey picture (h, w) of the moment `timestamp_s`, which must not go back."""
        if luma.ndim != 2 or luma.dtype != np.uint8 or not luma.size:
            raise DataError(f"expected a grey picture (h, w) of uint8, got shape {luma.shape} of {luma.dtype}")
        dt = timestamp_s - self._before
        if self._model is None or self._model.shape != luma.shape:
            self._model, regions = _Background(luma, self._p), NOWHERE
        else:
            regions = self._model.step(luma, dt)
        self._before = timestamp_s
        return Motion(bool(len(regions)), regions, self._look(bool(len(regions)), timestamp_s))

    def _look(self, moving: bool, now: float) -> bool:
        late = (now - self._looked) * self._p.floor_fps >= 1
        if not (late or (moving and self._budget.due(now))):
            return False
        self._looked = now
        return True


class _Background:
    """Mean and mean deviation of every pixel over time."""

    def __init__(self, luma: Picture, p: MotionParams) -> None:
        self.shape = luma.shape
        self._p = p
        self._mean = luma.astype(np.float32)
        self._deviation = np.full(luma.shape, 2.0, np.float32)

    def step(self, luma: Picture, dt: float) -> NDArray[np.float32]:
        """Regions in front of the background; then learns."""
        front, expected = self._front(luma)
        if cv2.countNonZero(front) > self._p.scene * front.size:
            self.__init__(luma, self._p)
            return np.array([[0, 0, 1, 1]], np.float32)
        regions = self._regions(front)
        self._learn(luma, front, dt)
        return regions

    def _front(self, luma: Picture):
        still = cv2.convertScaleAbs(self._mean, alpha=self._gain(luma))
        high, low = cv2.dilate(still, KERNEL), cv2.erode(still, KERNEL)
        apart = cv2.max(cv2.subtract(luma, high), cv2.subtract(low, luma))
        limit = cv2.convertScaleAbs(self._deviation, alpha=self._p.noise, beta=self._p.contrast)
        front = cv2.compare(apart, limit, cv2.CMP_GT)
        return front, still

    def _gain(self, luma):
        a = luma[::GRID, ::GRID].ravel().astype(np.float32)
        b = self._mean[::GRID, ::GRID].ravel()
        r = (a + 4) / (b + 4)
        return float(np.clip(np.median(r), 0.5, 2))

    def _regions(self, front):
        front = cv2.dilate(front, KERNEL)
        n, _, stats, _ = cv2.connectedComponentsWithStats(front, connectivity=8)
        h, w = front.shape
        s = stats[1:]
        s = s[s[:, 4] >= self._p.min_area * w * h].astype(np.float32)
        x, y = s[:, 0], s[:, 1]
        return np.stack([x / w, y / h, (x + s[:, 2]) / w, (y + s[:, 3]) / h], 1).astype(np.float32)

    def _learn(self, luma, front, dt):
        p = self._p
        quick, slow = 1 - math.exp(-dt / p.learn_s), 1 - math.exp(-dt / p.absorb_s)
        d = cv2.absdiff(luma.astype(np.float32), self._mean)
        cv2.accumulateWeighted(d, self._deviation, slow)
        back = cv2.bitwise_not(front)
        cv2.accumulateWeighted(luma, self._mean, quick, back)
        cv2.accumulateWeighted(luma, self._mean, slow, front)
