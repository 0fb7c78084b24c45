"""Where objects are: in a polygon, and on which side of a line. All in fractions of the upright picture, y down."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Point = tuple[float, float]
TINY = 1e-9  # far below a pixel of any camera

LEFT_TO_RIGHT, RIGHT_TO_LEFT = "left_to_right", "right_to_left"


def feet(boxes: Floats) -> Floats:
    """Where objects stand: the middle of the lower edge, inside the picture.

    Args:
        boxes: (N, 4) xyxy.

    Returns:
        (N, 2)
    """
    return np.clip(np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1), 0.0, 1.0)


def inside(points: Floats, corners: Floats) -> Mask:
    """Which points lie in a polygon or on its edge: who is cut off by the picture's lower edge stands on it.

    A ray from the point to the right crosses the sides an odd number of times (Shimrat 1962, Algorithm 112).

    Args:
        points: (N, 2)
        corners: (M, 2)

    Returns:
        (N,)
    """
    x, y = points[:, :1], points[:, 1:]  # (N, 1) against (M,)
    (ax, ay), (bx, by) = corners.T, np.roll(corners, -1, axis=0).T
    turn = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
    passes = (ay > y) != (by > y)  # half open, so that a corner counts once
    right = passes & ((turn > 0) == (by > ay))
    within = (np.minimum(ax, bx) - TINY <= x) & (x <= np.maximum(ax, bx) + TINY)
    within &= (np.minimum(ay, by) - TINY <= y) & (y <= np.maximum(ay, by) + TINY)
    edge = within & (np.abs(turn) <= TINY)
    return np.asarray((right.sum(axis=1) % 2 == 1) | edge.any(axis=1))


def fault(corners: Floats) -> str:
    """What is wrong with a polygon of `corners` (M, 2); "" where its sides meet nowhere but at its corners."""
    count = len(corners)
    if count < 3:
        return "must have at least 3 points"
    sides = np.roll(corners, -1, axis=0) - corners
    if (short := np.flatnonzero(np.abs(sides).max(axis=1) <= TINY)).size:
        return f"must not repeat a point: {short[0]} and {(short[0] + 1) % count} are the same"
    meeting = _meeting(corners, sides)
    if meeting.size:
        i, j = meeting[0]
        return f"must not cross itself: the side from point {i} meets the side from point {j}"
    return ""


def _meeting(corners: Floats, sides: Floats) -> NDArray[np.int64]:
    """Pairs (K, 2) of sides that meet where they must not: neighbours may share a corner, but not turn back."""
    count = len(corners)
    ends = corners + sides
    starts_turn = _turns(corners, sides, corners)  # (i, j): on which side of i lies the start of j
    ends_turn = _turns(corners, sides, ends)
    split = starts_turn * ends_turn <= 0
    low, high = np.minimum(corners, ends), np.maximum(corners, ends)
    near = ((low[:, None] <= high[None] + TINY) & (low[None] <= high[:, None] + TINY)).all(axis=2)
    distance = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    neighbours = (distance == 1) | (distance == count - 1)
    back = (starts_turn == 0) & (ends_turn == 0) & (sides @ sides.T < 0)
    wrong = np.where(neighbours, back, split & split.T & near)
    return np.argwhere(np.triu(wrong, 1))


def _turns(corners: Floats, sides: Floats, points: Floats) -> Floats:
    """(M, M): -1, 0 or 1 for point j left of, on or right of the line through side i."""
    off = points[None] - corners[:, None]
    cross = sides[:, None, 0] * off[..., 1] - sides[:, None, 1] * off[..., 0]
    return np.asarray(np.where(np.abs(cross) <= TINY, 0, np.sign(cross)))


class Crossing:
    """One object's way over one line.

    A crossing counts when the object has come from clear of the line on one side to clear of it on the other, and has
    last passed between the line's ends: jitter on the line is no crossing, nor is a way around its end.
    """

    def __init__(self, start: Point, end: Point) -> None:
        self._start, self._along = start, (end[0] - start[0], end[1] - start[1])
        self._length = math.hypot(*self._along)
        self._last: tuple[Point, float] | None = None  # the latest place off the line, and how far right of it
        self._clear = 0.0  # the side on which it was clear of the line last: -1 left, 1 right, 0 not yet
        self._passed = False  # whether it last passed between the ends

    def step(self, point: Point, band: float) -> str:
        """The direction of the crossing that is complete at this point, seen from the start to the end; else "".

        Args:
            point: where the object is now.
            band: how far from the line it must be to be clear of it.
        """
        off = (point[0] - self._start[0], point[1] - self._start[1])
        right = (self._along[0] * off[1] - self._along[1] * off[0]) / self._length  # y goes down
        if self._last and self._last[1] * right < 0:
            self._passed = self._between(self._last, point, right)
        if right:
            self._last = point, right
        if abs(right) <= band:
            return ""
        before, self._clear = self._clear, math.copysign(1.0, right)
        if not before or before == self._clear or not self._passed:
            return ""
        return LEFT_TO_RIGHT if right > 0 else RIGHT_TO_LEFT

    def _between(self, last: tuple[Point, float], point: Point, right: float) -> bool:
        """Whether the way from the last place to this one meets the line between its ends."""
        (x, y), before = last
        share = before / (before - right)
        at = x + share * (point[0] - x) - self._start[0], y + share * (point[1] - y) - self._start[1]
        along = (at[0] * self._along[0] + at[1] * self._along[1]) / self._length**2
        return 0 <= along <= 1
