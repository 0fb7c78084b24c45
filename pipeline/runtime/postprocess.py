"""From a model's candidates to detections, the same way wherever the model runs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import area, class_nms
from pipeline.core.types import Detections
from pipeline.runtime.contract import Knots, OutputContract
from pipeline.runtime.preprocess import Placement

CANDIDATES = 1000  # best (box, class) pairs that enter NMS, as in torchvision's one-stage detectors


def select(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    rule: OutputContract,
    placement: Placement,
    size: tuple[int, int],
) -> Detections:
    """Candidates above the floor, NMS within each class, mapped back to the source picture.

    Args:
        boxes: (A, 4) input-pixel xyxy.
        scores: (A, C) in 0..1.
        rule: floor, NMS IoU and the number kept.
        placement: how the source lies in the input.
        size: width and height of the source, pixels.

    Returns:
        detections in source pixels, best first.
    """
    anchor, label = np.nonzero(scores >= rule.score_floor)
    score = scores[anchor, label]
    best = np.argsort(-score, kind="stable")[:CANDIDATES]
    anchor, label, score = anchor[best], label[best].astype(np.int64), score[best]
    keep = class_nms(boxes[anchor], score, label, rule.nms_iou)[: rule.max_detections]
    found = placement.to_source(boxes[anchor[keep]], *size)
    seen = area(found) > 0  # a candidate wholly in the grey bars is nowhere in the source
    return Detections(found[seen], score[keep][seen].astype(np.float32), label[keep][seen])


def calibrated(scores: NDArray[np.float32], labels: NDArray[np.int64], knots: Sequence[Knots]) -> NDArray[np.float32]:
    """What scores (N,) mean: the IoU with an object of its class that a detection can be expected to have.

    NMS and thresholds work on the scores themselves.

    Args:
        scores: (N,).
        labels: (N,) index into the classes.
        knots: points of each class, joined by straight lines; without any, a score stays as it is.
    """
    meaning = scores.copy()
    for label, points in enumerate(knots):
        if points:
            mine = labels == label
            at, means = np.array(points).T
            meaning[mine] = np.interp(scores[mine], at, means)
    return meaning
