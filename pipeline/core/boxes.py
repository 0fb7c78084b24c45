"""Box arithmetic in numpy. Boxes are pixel xyxy, (N, 4), unless a name says otherwise."""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


def area(boxes: Boxes) -> NDArray[np.float64]:
    """Areas, (N,), pixels^2; inside-out boxes have none.

    >>> area(np.array([[0, 0, 2, 3], [5, 5, 4, 9]], float)).tolist()
    [6.0, 0.0]
    """
    sides = np.clip(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1])


def intersection(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Areas of overlap, (N, M), pixels^2."""
    low = np.maximum(a[:, None, :2], b[None, :, :2]).astype(np.float64)
    high = np.minimum(a[:, None, 2:], b[None, :, 2:]).astype(np.float64)
    sides = np.clip(high - low, 0, None)
    return np.asarray(sides[..., 0] * sides[..., 1])


def iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union, (N, M).

    >>> iou(np.array([[0, 0, 2, 2]], float), np.array([[1, 0, 3, 2], [4, 4, 5, 5]], float)).round(3).tolist()
    [[0.333, 0.0]]
    """
    overlap = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0))


def coverage(boxes: Boxes, regions: Boxes) -> NDArray[np.float64]:
    """Share of each box that lies in each region, (N, M): what COCO takes for overlap with ignore regions."""
    size = area(boxes)[:, None]
    overlap = intersection(boxes, regions)
    return np.asarray(np.divide(overlap, size, out=np.zeros_like(overlap), where=size > 0))


def nms(boxes: Boxes, scores: NDArray[np.floating], threshold: float) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: indices that stay, best first; ties keep the order given.

    >>> nms(np.array([[0, 0, 2, 2], [0, 0, 2, 2.1], [5, 5, 6, 6]], float), np.array([.5, .9, .3]), 0.5).tolist()
    [1, 2]
    """
    left = np.argsort(-scores, kind="stable")
    keep: list[int] = []
    while left.size:
        best, left = left[0], left[1:]
        keep.append(int(best))
        left = left[iou(boxes[best : best + 1], boxes[left])[0] <= threshold]
    return np.array(keep, np.int64)


def class_nms(
    boxes: Boxes, scores: NDArray[np.floating], labels: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """`nms` within each class: indices that stay, best first."""
    kept = [
        np.flatnonzero(labels == label)[nms(boxes[labels == label], scores[labels == label], threshold)]
        for label in np.unique(labels)
    ]
    index = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    return np.asarray(index[np.argsort(-scores[index], kind="stable")])
