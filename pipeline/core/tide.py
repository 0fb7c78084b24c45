"""Why average precision is lost: the six errors of TIDE (Bolya, Foley, Hays and Hoffman 2020, arXiv 2008.08115).

Each error's weight is its dAP: what average precision would gain if that error alone were mended. Where several errors
fit a detection, the first of location, class, duplicate, background, both is taken, as the authors' code does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.core.matching import Floats, Indices, Mask, Matched, Overlaps
from pipeline.core.metrics import coco_precision

BACKGROUND_IOU = 0.1  # a box that overlaps every object less is on the background


class Error(IntEnum):
    """What is wrong with a detection, or with an object that none found."""

    NONE = 0  # found its object, or is ignored
    CLASSIFICATION = 1  # on an object of another class
    LOCALISATION = 2  # of the right class, and too badly placed
    BOTH = 3  # too badly placed, on an object of another class
    DUPLICATE = 4  # a second detection of an object
    BACKGROUND = 5  # on no object
    MISSED = 6  # an object that no detection found, nor would if its class or place were mended


class Cause(IntEnum):
    """What makes a false alarm, in an operator's words."""

    BACKGROUND = 0
    OTHER_CLASS = 1
    DUPLICATE = 2
    POOR_BOX = 3


CAUSES: Mapping[Error, Cause] = {
    Error.BACKGROUND: Cause.BACKGROUND,
    Error.CLASSIFICATION: Cause.OTHER_CLASS,
    Error.BOTH: Cause.OTHER_CLASS,
    Error.DUPLICATE: Cause.DUPLICATE,
    Error.LOCALISATION: Cause.POOR_BOX,
}


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """The error of every detection and object. D = number of detections, G = number of objects."""

    of: NDArray[np.int64]  # (D,) an `Error`
    mends: Indices  # (D,) the object that the detection would find if it were mended, -1 for none
    missed: Mask  # (G,)


@dataclass(frozen=True, slots=True)
class Tide:
    """Average precision, what each error costs of it, and how often it is made."""

    average_precision: float  # mean over the classes that have objects
    gain: dict[str, float]  # dAP by error, and by false_positive and false_negative: all of a kind mended
    count: dict[str, int]  # by error


def errors(near: Overlaps, matched: Matched, threshold: float) -> Errors:
    """What is wrong with each detection and object.

    Args:
        near: what overlaps.
        matched: the same, matched at `threshold`.
        threshold: least IoU of a hit.
    """
    same, kin = _nearest(near, near.same)
    other, stranger = _nearest(near, ~near.same)
    wrong = (matched.object < 0) & ~matched.ignored
    rules = [
        (Error.LOCALISATION, (same >= BACKGROUND_IOU) & (same < threshold)),
        (Error.CLASSIFICATION, other >= threshold),
        (Error.DUPLICATE, same >= threshold),
        (Error.BACKGROUND, np.maximum(same, other) <= BACKGROUND_IOU),
    ]
    kinds = np.select([rule for _, rule in rules], [int(kind) for kind, _ in rules], int(Error.BOTH))
    of = np.where(wrong, kinds, int(Error.NONE))
    target = np.select([of == Error.LOCALISATION, of == Error.CLASSIFICATION], [kin, stranger], -1)
    free = matched.object_score < 0
    mends = np.where((target >= 0) & np.append(free, False)[target], target, -1)
    missed = free.copy()
    missed[mends[mends >= 0]] = False
    return Errors(of, _best_alone(mends, matched.score), missed)


def _nearest(near: Overlaps, mask: Mask) -> tuple[Floats, Indices]:
    """Largest IoU of each detection (D,) among some pairs, and the object; 0 and -1 for none."""
    largest, place = np.zeros(len(near.label)), np.full(len(near.label), -1, np.int64)
    detections, first = np.unique(near.detection[mask], return_index=True)  # the first pair has the largest IoU
    largest[detections], place[detections] = near.iou[mask][first], near.object[mask][first]
    return largest, place


def _best_alone(mends: Indices, scores: NDArray[np.float32]) -> Indices:
    """Of several detections that would find one object, the best mends it; the others (-1) would be duplicates."""
    order = np.argsort(-scores, kind="stable")
    order = order[mends[order] >= 0]
    objects, first = np.unique(mends[order], return_index=True)
    alone = np.full_like(mends, -1)
    alone[order[first]] = objects
    return alone


def tide(matched: Matched, found: Errors, classes: int) -> Tide:
    """What each error costs: it is mended, and average precision at the matching's IoU is taken again.

    A wrong class or place is put right; where the object is found already or by a better detection mended alike, the
    detection is left out instead. Duplicates, background and both are left out. Missed objects are no longer asked for.

    Args:
        matched: at the IoU of a hit, 0.5 in the paper.
        found: the errors of the same matching.
        classes: how many there are.
    """
    objects = np.bincount(matched.object_label, minlength=classes)
    missed = np.bincount(matched.object_label[found.missed], minlength=classes)
    unfound = np.bincount(matched.object_label[matched.object_score < 0], minlength=classes)
    counted, hit = ~matched.ignored, matched.object >= 0
    asked = objects > 0

    def precision(label: Indices, keep: Mask, hits: Mask, wanted: Indices) -> float:
        parts = [_average(matched.score, keep & (label == k), hits, int(wanted[k])) for k in np.flatnonzero(asked)]
        return float(np.mean(parts)) if parts else 0.0

    def mended(kind: Error) -> float:
        mine = found.of == kind
        right = mine & (found.mends >= 0)
        moved = np.where(right, np.append(matched.object_label, -1)[found.mends], matched.label)
        return precision(moved, counted & ~(mine & ~right), hit | right, objects)

    now = precision(matched.label, counted, hit, objects)
    kinds = [kind for kind in Error if kind not in {Error.NONE, Error.MISSED}]
    then = {_name(kind): mended(kind) for kind in kinds}
    then[_name(Error.MISSED)] = precision(matched.label, counted, hit, objects - missed)
    then["false_positive"] = precision(matched.label, hit, hit, objects)
    then["false_negative"] = precision(matched.label, counted, hit, objects - unfound)
    count = {_name(kind): int((found.of == kind).sum()) for kind in kinds}
    count[_name(Error.MISSED)] = int(found.missed.sum())
    return Tide(now, {name: max(0.0, value - now) for name, value in then.items()}, count)


def _average(scores: NDArray[np.float32], mine: Mask, hits: Mask, objects: int) -> float:
    """Average precision of some detections; 0 where nothing is asked for."""
    return float(coco_precision(scores[mine], hits[mine], objects).mean()) if objects else 0.0


def causes(found: Errors, alarms: Mask) -> NDArray[np.int64]:
    """The `Cause` of each false alarm (A,), in their order; `alarms` (D,) says which detections are."""
    table = np.full(len(Error), -1)
    for error, cause in CAUSES.items():
        table[error] = cause
    return np.asarray(table[found.of[alarms]])


def heat(boxes: NDArray[np.floating], size: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.int64]:
    """How many boxes (N, 4) touch each cell of a picture of `size` (width, height), in `grid` (columns, rows) cells.

    >>> heat(np.array([[0, 0, 5, 5], [4, 4, 8, 10]], float), (10, 10), (2, 2)).tolist()
    [[2, 1], [1, 1]]
    """
    cells = np.zeros((grid[1], grid[0]), np.int64)
    scale = np.array([grid[0] / size[0], grid[1] / size[1]] * 2)
    for left, top, right, bottom in boxes * scale:
        cells[int(max(top, 0)) : int(np.ceil(bottom)), int(max(left, 0)) : int(np.ceil(right))] += 1
    return cells


def _name(kind: Error) -> str:
    return kind.name.lower()
