"""MOTChallenge's text of tracks (https://arxiv.org/abs/1603.00831), a line a box, frames from 1, pixel xywh.

Truth is `frame,id,left,top,width,height,considered,class,visibility` (2016 on), or, as results are,
`frame,id,left,top,width,height,confidence,x,y,z` (2015), where there are no classes.
"""

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.tracks import Identified

LEAST, WITH_CLASS = 6, 9  # fields of a line; 9 is the layout with a class
NO_CLASS = -1
LARGE = 1e15  # above, a float tells whole numbers no longer apart


@dataclass(frozen=True, slots=True, eq=False)
class MotRows:
    """The lines of one file, in its order. N = number of lines."""

    frame: NDArray[np.int64]  # (N,) from 1
    ids: NDArray[np.int64]  # (N,)
    boxes: NDArray[np.float64]  # (N, 4) pixel xyxy
    confidence: NDArray[np.float64]  # (N,) in a truth, 0 says that the box is not to be considered
    labels: NDArray[np.int64]  # (N,) class from 1, -1 without

    def where(self, kept: NDArray[np.bool_]) -> "MotRows":
        """The lines (N,) that are kept."""
        return MotRows(*(getattr(self, f.name)[kept] for f in fields(self)))

    def frames(self, count: int) -> list[Identified]:
        """What is in each of the first `count` frames. Raises DataError where an id comes twice in a frame."""
        order = np.argsort(self.frame, kind="stable")
        bounds = np.searchsorted(self.frame[order], np.arange(1, count + 2))
        parts = [order[low:high] for low, high in pairwise(bounds)]
        return [Identified(self.ids[part], self.boxes[part]) for part in parts]


def read_mot(path: Path) -> MotRows:
    """The lines of a file. Raises DataError as `from_mot`, or where it is no text."""
    try:
        return from_mot(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text: expected MOTChallenge's lines of numbers") from None


def from_mot(text: str, name: str) -> MotRows:
    """The lines of a text; empty ones are passed over.

    Raises:
        DataError: a line is none of a track, or the same id comes twice in a frame; names the file and the line.
    """
    lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    table = np.array([_numbers(line, f"{name}: line {i}") for i, line in lines]).reshape(-1, 8)
    seen: dict[tuple[float, float], int] = {}
    for (i, _), (frame, track_id) in zip(lines, table[:, :2].tolist(), strict=True):
        first = seen.setdefault((frame, track_id), i)
        if first != i and track_id >= 0:
            raise DataError(
                f"{name}: line {i}: frame {frame:g} has the id {track_id:g} a second time, after line {first}"
            )
    whole = table[:, [0, 1, 7]].astype(np.int64)
    corners = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1)
    return MotRows(whole[:, 0], whole[:, 1], corners, table[:, 6], whole[:, 2])


def _numbers(line: str, where: str) -> list[float]:
    """Frame, id, left, top, width, height, confidence and class of a line."""
    parts = line.split(",")
    if len(parts) < LEAST:
        raise DataError(f"{where}: expected frame,id,left,top,width,height,... got {len(parts)} fields")
    try:
        numbers = [float(it) for it in parts]
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    frame, track_id, *box = numbers[:LEAST]
    confidence = numbers[LEAST] if len(numbers) > LEAST else 1.0
    label = numbers[LEAST + 1] if len(numbers) == WITH_CLASS else float(NO_CLASS)
    if not all(math.isfinite(it) for it in (*box, confidence)):
        raise DataError(f"{where}: a number is not finite")
    if not all(it.is_integer() and abs(it) < LARGE for it in (frame, track_id, label)) or frame < 1:
        raise DataError(f"{where}: frame, id and class must be whole numbers, frames from 1; got {line.strip()!r}")
    if min(box[2:]) < 0:
        raise DataError(f"{where}: width and height must not be below 0, got {box[2]:g} x {box[3]:g}")
    return [frame, track_id, *box, confidence, label]
