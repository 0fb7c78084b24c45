"""Detection metrics from matches: rates at an operating point, precision over recall, average precision.

A figure that is not defined (no object, no detection) is left out: it is neither 0 nor a number that means nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Precision and recall at every score that a detection has, highest first. K = number of different scores."""

    recall: Floats  # (K,)
    precision: Floats  # (K,)
    score: Floats  # (K,)


def rates(hits: int, false_alarms: int, objects: int) -> dict[str, float]:
    """Precision, recall and F1, each where it is defined.

    >>> rates(3, 1, 6)
    {'precision': 0.75, 'recall': 0.5, 'f1': 0.6}
    >>> rates(0, 2, 0)
    {'precision': 0.0, 'f1': 0.0}
    """
    figures = {
        "precision": (hits, hits + false_alarms),
        "recall": (hits, objects),
        "f1": (2 * hits, hits + false_alarms + objects),
    }
    return {name: over / under for name, (over, under) in figures.items() if under}


def curve(scores: NDArray[np.floating], hits: Mask, objects: int) -> Curve:
    """Precision and recall as the threshold falls.

    Args:
        scores: (N,) of the detections that are not ignored.
        hits: (N,) whether each found an object.
        objects: how many there are, at least 1.
    """
    order = np.argsort(-scores, kind="stable")
    score = scores[order].astype(np.float64)
    last = np.append(np.diff(score) != 0, True)[: len(score)]  # equal scores stand or fall together
    found, taken = np.cumsum(hits[order])[last], np.flatnonzero(last) + 1
    return Curve(found / objects, found / taken, score[last])


def coco_precision(scores: NDArray[np.floating], hits: Mask, objects: int) -> Floats:
    """Precision (101,) at COCO's recall points: the best precision at that recall or a higher one, 0 beyond the last.

    Equal scores keep the order given, as in pycocotools. The mean over the points is AP at the matching's IoU.
    """
    found = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision = np.maximum.accumulate((found / np.arange(1, len(found) + 1))[::-1])[::-1]
    return np.append(precision, 0.0)[np.searchsorted(found / objects, RECALLS, side="left")]


def flatten(figures: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested figures by dotted key.

    >>> flatten({"AP": 0.5, "class": {"person": {"AP50": 0.8}}})
    {'AP': 0.5, 'class.person.AP50': 0.8}
    """
    flat: dict[str, Any] = {}
    for key, value in figures.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
