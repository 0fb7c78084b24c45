import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask
from torchvision import ops

from pipeline.core import boxes


def random_boxes(n: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 50, (n, 2)), rng.uniform(1, 40, (n, 2))
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


def xywh(of: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.concatenate([of[:, :2], of[:, 2:] - of[:, :2]], axis=1), np.float64)


def test_iou_equals_torchvision() -> None:
    a, b = random_boxes(40, 0), random_boxes(30, 1)
    theirs = ops.box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(boxes.iou(a, b), theirs, atol=1e-5)


def test_coverage_equals_pycocotools_iou_with_crowds() -> None:
    a, b = random_boxes(40, 0), random_boxes(30, 1)
    np.testing.assert_allclose(boxes.coverage(a, b), mask.iou(xywh(a), xywh(b), [1] * 30), atol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_equals_torchvision(threshold: float) -> None:
    found = random_boxes(60, 2)
    scores = np.random.default_rng(3).permutation(60).astype(np.float32)
    theirs = ops.nms(torch.from_numpy(found), torch.from_numpy(scores), threshold).numpy()
    np.testing.assert_array_equal(boxes.nms(found, scores, threshold), theirs)


def test_class_nms_equals_torchvision() -> None:
    rng = np.random.default_rng(4)
    found, scores, labels = random_boxes(60, 5), rng.permutation(60).astype(np.float32), rng.integers(0, 3, 60)
    tensors = torch.from_numpy(found), torch.from_numpy(scores), torch.from_numpy(labels)
    np.testing.assert_array_equal(boxes.class_nms(found, scores, labels, 0.4), ops.batched_nms(*tensors, 0.4).numpy())


@pytest.mark.parametrize(
    ("box", "area"),
    [
        pytest.param([0, 0, 2, 3], 6, id="plain"),
        pytest.param([1, 1, 1, 5], 0, id="no-width"),
        pytest.param([5, 5, 4, 4], 0, id="inside-out"),
    ],
)
def test_area(box: list[float], area: float) -> None:
    assert boxes.area(np.array([box], float)).tolist() == [area]


def test_empty_boxes_have_empty_answers() -> None:
    none, some = np.zeros((0, 4), np.float32), random_boxes(3, 0)
    assert boxes.iou(none, some).shape == (0, 3)
    assert boxes.coverage(some, none).shape == (3, 0)
    assert boxes.nms(none, np.zeros(0, np.float32), 0.5).tolist() == []
    assert boxes.class_nms(none, np.zeros(0, np.float32), np.zeros(0, np.int64), 0.5).tolist() == []


def test_degenerate_boxes_overlap_nothing() -> None:
    point = np.array([[3, 3, 3, 3]], float)
    assert boxes.iou(point, point).tolist() == [[0.0]]
    assert boxes.coverage(point, np.array([[0, 0, 9, 9]], float)).tolist() == [[0.0]]
