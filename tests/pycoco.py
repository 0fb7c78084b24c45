"""The authority: pycocotools on our values. The engine that evaluates is tested, and timed, against it."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.core.boxes import area
from pipeline.core.types import Detections, Truth


def evaluate(ground_truth: dict[str, Any], detections: list[dict[str, Any]]) -> COCOeval:
    """Evaluated, accumulated and summarised boxes of a COCO document and a list in COCO's results format."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress with print
        truth, found = COCO(), COCO()
        objects = [dict(row) for row in ground_truth["annotations"]]  # pycocotools writes into them
        truth.dataset = {**ground_truth, "annotations": objects}
        truth.createIndex()
        found.dataset = {**ground_truth, "annotations": numbered(detections)}
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


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


def numbered(detections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What COCO.loadRes makes of boxes; unlike it, an empty list is no error."""
    return [
        {**row, "id": n, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0} for n, row in enumerate(detections, 1)
    ]


def _xywh(box: np.ndarray[Any, np.dtype[np.float32]]) -> list[float]:
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]
