"""Candidates to detections: the floor, NMS within a class, the number kept, and the way back to the source."""

import numpy as np
import pytest

from pipeline.core.types import Detections
from pipeline.runtime.contract import OutputContract
from pipeline.runtime.postprocess import CANDIDATES, calibrated, select
from pipeline.runtime.preprocess import place

SOURCE, TARGET = (640, 320), (320, 192)  # scaled by a half, 16 px bars above and below
PLACEMENT = place(SOURCE, TARGET)


def detections(boxes: list[list[float]], scores: list[list[float]], **changes: float) -> Detections:
    rule = OutputContract(
        boxes="boxes",
        scores="scores",
        score_floor=changes.get("score_floor", 0.1),
        nms_iou=changes.get("nms_iou", 0.5),
        max_detections=int(changes.get("max_detections", 100)),
    )
    return select(np.array(boxes, np.float32), np.array(scores, np.float32), rule, PLACEMENT, SOURCE)


BOX = [10.0, 26.0, 20.0, 56.0]
SHIFTED = [11.0, 26.0, 21.0, 56.0]  # IoU 9 / 11 with BOX


def test_boxes_come_back_in_source_pixels() -> None:
    found = detections([BOX], [[0.9, 0.0]])
    assert found.boxes.tolist() == [[20, 20, 40, 80]]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.labels.tolist() == [0]


def test_boxes_are_clipped_to_the_source() -> None:
    assert detections([[-5, 0, 330, 192]], [[0.9]]).boxes.tolist() == [[0, 0, 640, 320]]


@pytest.mark.parametrize(
    ("scores", "changes", "kept"),
    [
        pytest.param([[0.9], [0.8]], {}, [(0, 0.9)], id="nms-within-a-class"),
        pytest.param([[0.9], [0.8]], {"nms_iou": 0.9}, [(0, 0.9), (0, 0.8)], id="overlap-allowed"),
        pytest.param([[0.9, 0.0], [0.0, 0.8]], {}, [(0, 0.9), (1, 0.8)], id="no-nms-across-classes"),
        pytest.param([[0.6, 0.7], [0.0, 0.0]], {}, [(1, 0.7), (0, 0.6)], id="one-anchor-two-classes"),
        pytest.param([[0.1], [0.0]], {}, [(0, 0.1)], id="floor-is-included"),
        pytest.param([[0.05], [0.0]], {}, [], id="below-the-floor"),
        pytest.param([[0.9, 0.0], [0.0, 0.8]], {"max_detections": 1}, [(0, 0.9)], id="best-are-kept"),
    ],
)
def test_selection(scores: list[list[float]], changes: dict[str, float], kept: list[tuple[int, float]]) -> None:
    found = detections([BOX, SHIFTED], scores, **changes)
    assert found.labels.tolist() == [label for label, _ in kept]
    assert found.scores.tolist() == pytest.approx([score for _, score in kept])


def test_equal_scores_keep_the_models_order() -> None:
    found = detections([[0, 16, 10, 26], [50, 16, 60, 26]], [[0.5], [0.5]])
    assert found.boxes[:, 0].tolist() == [0, 100]


def test_no_candidate_at_all() -> None:
    found = select(
        np.zeros((0, 4), np.float32),
        np.zeros((0, 2), np.float32),
        OutputContract(boxes="boxes", scores="scores", score_floor=0.1, nms_iou=0.5, max_detections=5),
        PLACEMENT,
        SOURCE,
    )
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_only_the_best_candidates_enter_nms() -> None:
    """More anchors than NMS takes: the worst are left out even though they overlap nothing."""
    n = CANDIDATES + 10
    x = np.linspace(0, 300, n)
    boxes = np.stack([x, np.full(n, 16.0), x + 0.1, np.full(n, 17.0)], axis=1)
    scores = np.linspace(0.2, 0.9, n)[:, None]
    found = detections(boxes.tolist(), scores.tolist(), max_detections=n)
    assert len(found) == CANDIDATES
    assert found.scores.min() == pytest.approx(scores[10, 0])


def test_a_candidate_in_the_grey_bars_is_nowhere_in_the_source() -> None:
    assert len(detections([[10, 2, 20, 12]], [[0.9]])) == 0


@pytest.mark.parametrize(
    ("score", "meaning"),
    [
        pytest.param(0.1, 0.05, id="below-the-first-knot"),
        pytest.param(0.2, 0.05, id="on-a-knot"),
        pytest.param(0.5, 0.35, id="between"),
        pytest.param(0.9, 0.65, id="above-the-last-knot"),
    ],
)
def test_scores_mean_what_the_knots_say(score: float, meaning: float) -> None:
    scores, labels = np.array([score, score], np.float32), np.array([1, 0])
    found = calibrated(scores, labels, [(), ((0.2, 0.05), (0.8, 0.65))])
    assert found.tolist() == pytest.approx([meaning, score])
    assert found.dtype == np.float32
    assert scores.tolist() == pytest.approx([score, score])  # as they were


def test_no_score_no_meaning() -> None:
    assert len(calibrated(np.zeros(0, np.float32), np.zeros(0, np.int64), [((0.2, 0.05),)])) == 0
