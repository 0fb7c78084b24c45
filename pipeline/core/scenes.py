"""What makes each object of a benchmark hard to see: its size, its speed, its neighbours, the light it stands in."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.core.boxes import Boxes, intersection
from pipeline.core.matching import Floats, Mask
from pipeline.core.types import Frame, Truth

QUALITY = ("luminance", "contrast", "sharpness")  # of the frame
EDGE = 1.0  # pixels: a box this close to the frame's border may go on beyond it

Line = tuple[tuple[float, float], tuple[float, float]]  # two rows of the picture, and the pixels per metre there


def measure(frames: Sequence[Frame], truths: Sequence[Truth], calibration: Mapping[str, Line]) -> dict[str, Floats]:
    """Conditions of every object (G,), ignore regions left out, in the order of frames and boxes; NaN: not known.

    Height in pixels, luminance, contrast and sharpness of the frame, speed in pixels a frame, number of neighbours,
    and pixels per metre.
    """
    boxes = [truth.boxes[~truth.ignore].astype(np.float64) for truth in truths]
    count = [len(it) for it in boxes]
    per_object = {name: np.repeat([float(getattr(frame, name)) for frame in frames], count) for name in QUALITY}
    return {
        "height": _joined([it[:, 3] - it[:, 1] for it in boxes]),
        **per_object,
        "speed": speeds(frames, truths),
        "crowding": _joined([crowding(it) for it in boxes]),
        "pixels per metre": _joined(
            [pixels_per_metre(f, it, calibration.get(f.camera)) for f, it in zip(frames, boxes, strict=True)]
        ),
    }


def truncated(frames: Sequence[Frame], truths: Sequence[Truth]) -> Mask:
    """Which objects (G,) reach the border of their frame, and may go on beyond it."""
    cut = [_at_border(truth.boxes[~truth.ignore], frame) for frame, truth in zip(frames, truths, strict=True)]
    return np.concatenate([np.zeros(0, np.bool_), *cut])


def _at_border(boxes: Boxes, frame: Frame) -> Mask:
    size = np.array([frame.width, frame.height])
    return np.asarray((boxes[:, :2] <= EDGE).any(axis=1) | (boxes[:, 2:] >= size - EDGE).any(axis=1))


def crowding(boxes: Floats) -> Floats:
    """How many other boxes (N, 4) of the frame reach into each box of double its sides: (N,).

    >>> crowding(np.array([[0, 0, 10, 10], [12, 0, 22, 10], [90, 0, 99, 10]], float)).tolist()
    [1.0, 1.0, 0.0]
    """
    reach = (boxes[:, 2:] - boxes[:, :2]) / 2
    grown = np.concatenate([boxes[:, :2] - reach, boxes[:, 2:] + reach], axis=1)
    near = intersection(grown, boxes) > 0
    return np.asarray(near.sum(axis=1) - near.diagonal(), np.float64)


def pixels_per_metre(frame: Frame, boxes: Floats, line: Line | None) -> Floats:
    """Pixels a metre takes where each object (N, 4) stands: (N,), NaN where its feet are out of the picture.

    Over flat ground, seen by a camera that is not rolled, it grows linearly with the row of the picture (Hartley and
    Zisserman 2004, section 8.7: heights over a ground plane go with the distance to the horizon): two rows tell all.
    """
    if line is None:
        return np.full(len(boxes), np.nan)
    (row, there), (other, at_other) = line
    feet = boxes[:, 3]
    value = there + (feet - row) * (at_other - there) / (other - row)
    return np.where((value > 0) & (feet < frame.height - EDGE), value, np.nan)


def speeds(frames: Sequence[Frame], truths: Sequence[Truth]) -> Floats:
    """How far each object (G,) moves in the picture, pixels a frame of the video; NaN without a second sight of it.

    Between the nearest sights of a track on each side, or from the one side that there is.
    """
    sights: dict[tuple[str, str, str], list[tuple[int, int, Floats]]] = defaultdict(list)
    position = 0
    for frame, truth in zip(frames, truths, strict=True):
        tracks = truth.tracks or ("",) * len(truth)
        for box, track, ignore in zip(truth.boxes, tracks, truth.ignore, strict=True):
            if ignore:
                continue
            if track:
                centre = (box[:2].astype(np.float64) + box[2:]) / 2
                sights[frame.camera, frame.clip, track].append((frame.index, position, centre))
            position += 1
    result = np.full(position, np.nan)
    for seen in sights.values():
        seen.sort(key=lambda sight: sight[:2])
        for i, (_, own, _) in enumerate(seen):
            (first, _, start), (last, _, end) = seen[max(i - 1, 0)], seen[min(i + 1, len(seen) - 1)]
            if last > first:
                result[own] = np.hypot(*(end - start)) / (last - first)
    return result


def _joined(parts: Sequence[Floats]) -> Floats:
    return np.concatenate([np.zeros(0), *parts])
