"""COCO's own evaluation (pycocotools), fed with our values and kept silent. It is the authority on AP and AR."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

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
    evaluation = evaluate(dataset(truths, classes), results(found))
    return summary(evaluation), by_class(evaluation, classes)


def evaluate(ground_truth: dict[str, Any], detections: list[dict[str, Any]]) -> COCOeval:
    """Evaluated, accumulated and summarised boxes of a COCO document and a list in COCO's results format."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress with print
        truth, found = COCO(), COCO()
        objects = [dict(row) for row in ground_truth["annotations"]]  # pycocotools writes into them
        truth.dataset = {**ground_truth, "annotations": objects}
        truth.createIndex()
        found.dataset = {**ground_truth, "annotations": _numbered(detections)}
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def summary(evaluation: COCOeval) -> dict[str, float]:
    """COCO's twelve figures, those that are defined."""
    return {name: float(value) for name, value in zip(NAMES, evaluation.stats, strict=True) if value >= 0}


def by_class(evaluation: COCOeval, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """AP and AP50 of each class (category ids 1, 2 ...), where it has an object."""
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class), all areas, 100 detections
    return {
        name: {"AP": float(precision[:, :, k].mean()), "AP50": float(precision[0, :, k].mean())}
        for k, name in enumerate(classes)
        if (precision[:, :, k] >= 0).all()
    }


def dataset(truths: Sequence[Truth], classes: Sequence[str]) -> dict[str, Any]:
    """A COCO document: image ids are positions from 1, category ids class indices from 1."""
    rows = [
        {
            "image_id": i,
            "category_id": int(label) + 1,
            "bbox": _xywh(box),
            "area": float(size),
            "iscrowd": int(ignore),
        }
        for i, truth in enumerate(truths, 1)
        for box, label, ignore, size in zip(truth.boxes, truth.labels, truth.ignore, area(truth.boxes), strict=True)
    ]
    return {
        "images": [{"id": i} for i in range(1, len(truths) + 1)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes, 1)],
        "annotations": [{"id": n, **row} for n, row in enumerate(rows, 1)],  # pycocotools takes id 0 for "no match"
    }


def results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    """Detections in COCO's results format, image and category ids as in `dataset`."""
    return [
        {"image_id": i, "category_id": int(label) + 1, "bbox": _xywh(box), "score": float(score)}
        for i, frame in enumerate(found, 1)
        for box, score, label in zip(frame.boxes, frame.scores, frame.labels, strict=True)
    ]


def _numbered(detections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What COCO.loadRes makes of boxes; unlike it, an empty list is no error."""
    return [
        {**row, "id": n, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0} for n, row in enumerate(detections, 1)
    ]


def _xywh(box: np.ndarray[Any, np.dtype[np.float32]]) -> list[float]:
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]
