"""Single hits, misses and false alarms to look at, from as many cameras as have them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.matching import Floats, match_frames
from pipeline.core.types import Sample

Kind = Literal["hit", "miss", "false alarm"]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One object or detection."""

    kind: Kind
    position: int  # of the frame in the sample
    box: NDArray[np.float32]  # (4,) source-pixel xyxy
    label: int


def cases(sample: Sample, at: Floats, match_iou: float, count: int) -> list[Case]:
    """At most `count` of each kind, at the operating point `at` (C,).

    The largest misses and the surest false alarms come first: they are hardest to excuse. Hits, the surest first, are
    there to compare.
    """
    matched = match_frames(sample.truths, sample.found, match_iou)
    objects = np.concatenate([np.zeros((0, 4), np.float32), *(t.boxes[~t.ignore] for t in sample.truths)])
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(f.boxes for f in sample.found)])
    detected = matched.frame, boxes, matched.label, matched.score
    missed = matched.object_frame, objects, matched.object_label, matched.object_height
    chosen: list[Case] = []
    kinds: tuple[tuple[Kind, NDArray[np.bool_]], ...] = (
        ("hit", matched.hits(at)),
        ("miss", ~matched.found(at)),
        ("false alarm", matched.false_alarms(at)),
    )
    for kind, mask in kinds:
        frame, box, label, weight = missed if kind == "miss" else detected
        ranked = np.flatnonzero(mask)[np.argsort(-weight[mask], kind="stable")].tolist()
        places = in_turn([sample.frames[frame[i]].camera for i in ranked], count)
        chosen += [Case(kind, int(frame[i]), box[i], int(label[i])) for i in (ranked[place] for place in places)]
    return chosen


def in_turn(cameras: Sequence[str], count: int) -> list[int]:
    """Positions of the first of each camera, then of the second of each, and so on; at most `count`.

    >>> in_turn(["a", "a", "b", "a"], 3)
    [0, 2, 1]
    """
    turns: Counter[str] = Counter()
    order: list[tuple[int, int]] = []
    for place, camera in enumerate(cameras):
        order.append((turns[camera], place))
        turns[camera] += 1
    return [place for _, place in sorted(order)[:count]]
