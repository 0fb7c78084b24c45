"""COCO's evaluation of boxes: AP and AR. hotcoco does the work; a test holds its figures to pycocotools'.

hotcoco (MIT) is a rewrite of pycocotools in Rust whose arrays are the same to the last bit, and takes columns as they
are. pycocotools stays the authority on what the figures mean, and is no dependency of the cycle.
"""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from hotcoco import COCO, COCOeval
from numpy.typing import NDArray

from pipeline.core.boxes import area
from pipeline.core.types import Detections, Truth

NAMES = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"),
)  # COCOeval.stats, in this order


def coco_scores(
    truths: Sequence[Truth], found: Sequence[Detections], classes: Sequence[str]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """AP and AR over all classes, and AP and AP50 by class; figures that are not defined are left out.

    Ignore regions are COCO's crowds; an object's area is its box's. At most 100 detections a class and frame count.
    """
    evaluation = evaluate(*tables(truths, found, classes))
    return summary(evaluation), by_class(evaluation, classes)


def tables(truths: Sequence[Truth], found: Sequence[Detections], classes: Sequence[str]) -> tuple[COCO, COCO]:
    """Truths and detections as the engine takes them; image ids are positions from 1, category ids classes from 1."""
    images = [{"id": i} for i in range(1, len(truths) + 1)]
    categories = [{"id": k, "name": name} for k, name in enumerate(classes, 1)]
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(t.boxes for t in truths)])
    labels = np.concatenate([np.zeros(0, np.int64), *(t.labels for t in truths)])
    ignore = np.concatenate([np.zeros(0, np.bool_), *(t.ignore for t in truths)])
    place = np.repeat(np.arange(1, len(truths) + 1), [len(t) for t in truths])
    truth = COCO.from_arrays(
        images, categories, place, labels + 1, _xywh(boxes), area=area(boxes), iscrowd=ignore.astype(np.int64)
    )
    rows = [
        np.column_stack([np.full(len(f), float(i)), _xywh(f.boxes), f.scores, f.labels + 1])
        for i, f in enumerate(found, 1)
    ]
    return truth, truth.load_res(np.concatenate([np.zeros((0, 7)), *rows]))


def evaluate(truth: COCO, found: COCO) -> COCOeval:
    """Evaluated, accumulated and summarised boxes."""
    evaluation = COCOeval(truth, found, "bbox")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its table
        evaluation.run()
    return evaluation


def summary(evaluation: COCOeval) -> dict[str, float]:
    """COCO's twelve figures, those that are defined."""
    return {name: float(value) for name, value in zip(NAMES, evaluation.stats, strict=True) if value >= 0}


def by_class(evaluation: COCOeval, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """AP and AP50 of each class (category ids 1, 2 ...), where it has an object."""
    figures = evaluation.eval
    assert figures is not None  # noqa: S101 - `evaluate` has filled it
    precision = np.asarray(figures["precision"])[:, :, :, 0, -1]  # (IoU, recall, class), all areas, 100 detections
    return {
        name: {"AP": float(precision[:, :, k].mean()), "AP50": float(precision[0, :, k].mean())}
        for k, name in enumerate(classes)
        if (precision[:, :, k] >= 0).all()
    }


def _xywh(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    corners = boxes.astype(np.float64)
    return np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
