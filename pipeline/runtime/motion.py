"""When and where to look: motion in a small grey picture, against a background that learns."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.frames import Ticks

Picture = NDArray[np.uint8]
Boxes = NDArray[np.float32]  # (K, 4) xyxy, 0..1

WIDTH = 160  # pixels of the picture in which the gate is made to look
GRID = 4  # every fourth pixel both ways judges the exposure
LIFT = np.float32(4)  # grey levels added to both pictures before they are divided, so that black is not noise
GAIN = 0.5, 2.0  # a change of exposure beyond these is another scene
QUIET = 2.0  # grey levels of deviation that a new background starts with
LOUD = 24.0  # and that a difference adds at most: a place where traffic never ends does not go blind to it
RECENT_S = 0.3  # time constant of the picture that a change is seen against
CHANGING = 8  # this part of the least area must be changing
ROUND = np.ones((3, 3), np.uint8)  # a pixel and its neighbours
CALM_S = 1.0  # without motion, after which motion is new
INSIDE = 0.6  # share of a region that must lie in one of the last look for it to have stayed in its place
NOWHERE = np.empty((0, 4), np.float32)
EVERYWHERE = np.array([[0, 0, 1, 1]], np.float32)


@dataclass(frozen=True, slots=True)
class MotionParams:
    """What counts as motion, and how often a detector may look."""

    detect_fps: float = 5.0  # at most, on average, while something moves
    still_fps: float = 1.0  # at least, while what moves stays in its place
    floor_fps: float = 0.5  # at least, whatever moves: standing objects are not lost
    settle_s: float = 0.5  # new motion is looked at as often as may be for this long
    contrast: float = 12.0  # grey levels by which a pixel must leave its background
    noise: float = 4.0  # and so many times its usual deviation on top
    min_area: float = 0.001  # share of the picture that a region must cover
    learn_s: float = 2.0  # time constant with which the background learns
    absorb_s: float = 10.0  # and with which it takes up what stands in front of it
    scene: float = 0.6  # share of the picture that must move at once for it to be another scene, learned anew


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What moves in one frame. K = number of regions."""

    moving: bool
    regions: Boxes  # (K, 4)
    detect: bool  # whether to run the detector on this frame


class MotionGate:
    """Looks at every frame of one camera, in order.

    A pixel is in front where it leaves the range of its neighbourhood in the background, so that a camera that shakes
    by a pixel of the small picture moves nothing, by more than its own usual deviation, so that leaves and noise are
    learned where they are. A region in front moves where it is changing, too: what stands, and the hole that it leaves
    when it goes, do not. The background is first brought to the exposure of the frame.
    """

    def __init__(self, p: MotionParams = MotionParams()) -> None:
        self._p = p
        self._background: _Background | None = None
        self._lookout = _Lookout(p)
        self._before = 0.0  # timestamp of the last frame

    def step(self, luma: Picture, timestamp_s: float, *, wanted: bool = False) -> Motion:
        """Motion in a grey picture (h, w), about 160 pixels wide, of a moment not before the last one's.

        The first picture, and one of another size than the last, is the background of those to come.

        Args:
            luma: the picture.
            timestamp_s: its moment.
            wanted: look as soon as the budget allows, whatever moves: something was seen that is not certain yet.

        Raises:
            DataError: the picture is none.
        """
        if luma.ndim != 2 or luma.dtype != np.uint8 or not luma.size:
            raise DataError(f"expected a grey picture (h, w) of uint8, got shape {luma.shape} of {luma.dtype}")
        passed, self._before = max(0.0, timestamp_s - self._before), timestamp_s
        if self._background is None or self._background.shape != luma.shape:
            self._background = _Background(luma)
        regions = self._background.step(luma, passed, self._p)
        if regions is EVERYWHERE:
            self._background = _Background(luma)
        return Motion(bool(len(regions)), regions, self._lookout.step(regions, timestamp_s, wanted=wanted))


class _Lookout:
    """Decides when to look: as often as may be at new motion and at what leaves its place, else less often."""

    def __init__(self, p: MotionParams) -> None:
        self._p = p
        self._budget = Ticks(p.detect_fps)
        self._looked = -math.inf
        self._seen: Boxes = NOWHERE  # regions of the last look
        self._began = self._moved = -math.inf  # this motion, and the latest

    def step(self, regions: Boxes, now: float, *, wanted: bool) -> bool:
        """Whether to look at a frame with these moving regions."""
        if len(regions):
            self._began = self._began if now - self._moved < CALM_S else now
            self._moved = now
        late = (now - self._looked) * self._p.floor_fps >= 1
        asked = wanted or (len(regions) > 0 and self._worth(regions, now))
        look = late or (asked and self._budget.due(now))
        if look:
            self._looked, self._seen = now, regions
        return look

    def _worth(self, regions: Boxes, now: float) -> bool:
        new = now - self._began < self._p.settle_s
        return new or (now - self._looked) * self._p.still_fps >= 1 or _left(regions, self._seen)


class _Background:
    """Mean and mean deviation of every pixel over time, and the picture of a moment ago."""

    def __init__(self, luma: Picture) -> None:
        self.shape = luma.shape
        self._mean: NDArray[np.float32] = luma.astype(np.float32)
        self._recent: NDArray[np.float32] = luma.astype(np.float32)
        self._deviation = np.full_like(self._mean, QUIET)

    def step(self, luma: Picture, passed: float, p: MotionParams) -> Boxes:
        """Regions that move; then learns. `EVERYWHERE` itself for another scene."""
        expected = cv2.convertScaleAbs(self._mean, alpha=_gain(luma, self._mean))
        front = self._front(luma, expected, p)
        if cv2.countNonZero(front) > p.scene * front.size:
            return EVERYWHERE
        lately = cv2.absdiff(luma, cv2.convertScaleAbs(self._recent))
        _, changing = cv2.threshold(lately, p.contrast, 255, cv2.THRESH_BINARY)
        self._learn(luma, cv2.absdiff(luma, expected), front, passed, p)
        return _regions(front, cv2.bitwise_and(front, changing), p.min_area)

    def _front(self, luma: Picture, expected: MatLike, p: MotionParams) -> MatLike:
        """255 where a pixel leaves the background."""
        above = cv2.subtract(luma, cv2.dilate(expected, ROUND))  # 0 where it is not above
        below = cv2.subtract(cv2.erode(expected, ROUND), luma)
        limit = cv2.convertScaleAbs(self._deviation, alpha=p.noise, beta=p.contrast)
        return cv2.compare(cv2.max(above, below), limit, cv2.CMP_GT)

    def _learn(self, luma: Picture, apart: MatLike, front: MatLike, passed: float, p: MotionParams) -> None:
        quick, slow, recent = (-math.expm1(-passed / s) for s in (p.learn_s, p.absorb_s, RECENT_S))
        _, apart = cv2.threshold(apart, LOUD, 0, cv2.THRESH_TRUNC)
        cv2.accumulateWeighted(apart, self._deviation, slow)
        cv2.accumulateWeighted(luma, self._mean, quick, cv2.bitwise_not(front))
        cv2.accumulateWeighted(luma, self._mean, slow, front)
        cv2.accumulateWeighted(luma, self._recent, recent)


def _gain(luma: Picture, mean: NDArray[np.float32]) -> float:
    """Factor by which the exposure has changed: the median over a grid, which no object of less than half moves."""
    ratio = ((luma[::GRID, ::GRID] + LIFT) / (mean[::GRID, ::GRID] + LIFT)).ravel()
    middle = len(ratio) // 2
    return float(np.clip(np.partition(ratio, middle)[middle], *GAIN))


def _regions(front: MatLike, changing: MatLike, min_area: float) -> Boxes:
    """Boxes (K, 4) of connected pixels, those a pixel apart joined, that are large enough and change."""
    if not cv2.hasNonZero(changing):
        return NOWHERE
    _, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(front, ROUND), connectivity=8)
    height, width = front.shape
    least = min_area * front.size
    changed = np.bincount(labels[changing > 0], minlength=len(stats))
    good = (stats[:, cv2.CC_STAT_AREA] >= least) & (changed * CHANGING >= least)
    found = stats[1:][good[1:]].astype(np.float32)  # the first is what is not in front
    boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
    return np.asarray(boxes / np.array([width, height, width, height], np.float32), np.float32)


def _left(regions: Boxes, seen: Boxes) -> bool:
    """Whether a region has left its place: the larger part of it lies in none of those seen."""
    if not len(seen):
        return True
    low, high = np.maximum(regions[:, None, :2], seen[None, :, :2]), np.minimum(regions[:, None, 2:], seen[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2).max(axis=1)
    return bool((common < INSIDE * np.prod(regions[:, 2:] - regions[:, :2], axis=1)).any())
