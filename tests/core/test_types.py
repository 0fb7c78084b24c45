import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.types import Annotation, Detections, Frame, Truth

Numbers = NDArray[np.float64]


def test_annotation_gives_its_corners() -> None:
    assert Annotation("f", "person", 1, 2, 3, 4).xyxy == (1, 2, 4, 6)


@pytest.mark.parametrize(
    ("reason", "usable"), [pytest.param("", True, id="fine"), pytest.param("too dark", False, id="dark")]
)
def test_a_frame_with_a_reason_is_not_usable(reason: str, *, usable: bool) -> None:
    assert Frame("f", "cam", "clip", 0, None, 4, 3, "a.jpg", reason=reason).usable is usable


def test_empty_detections() -> None:
    assert len(Detections.empty()) == 0


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "message"),
    [
        pytest.param(np.zeros((2, 5)), np.zeros(2), np.zeros(2), r"\(N, 4\)", id="five-numbers"),
        pytest.param(np.zeros((2, 4)), np.zeros(1), np.zeros(2), r"\(1,\)", id="one-score-too-few"),
        pytest.param(np.zeros((2, 4)), np.zeros(2), np.zeros((2, 1)), r"\(2, 1\)", id="labels-in-a-column"),
        pytest.param(np.full((1, 4), np.nan), np.zeros(1), np.zeros(1), "finite", id="nan-box"),
        pytest.param(np.zeros((1, 4)), np.array([np.inf]), np.zeros(1), "finite", id="infinite-score"),
    ],
)
def test_detections_that_do_not_fit_together_are_refused(
    boxes: Numbers, scores: Numbers, labels: Numbers, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Detections(boxes.astype(np.float32), scores.astype(np.float32), labels.astype(np.int64))


@pytest.mark.parametrize(
    ("annotation", "labels", "ignore"),
    [
        pytest.param(Annotation("f", "vehicle", 0, 0, 1, 1), [1], [False], id="a-class"),
        pytest.param(Annotation("f", "bicycle", 0, 0, 1, 1), [], [], id="counted-only"),
        pytest.param(Annotation("f", "person", 0, 0, 1, 1, ignore=True), [0], [True], id="crowd-of-its-class"),
        pytest.param(Annotation("f", "ignore", 0, 0, 1, 1, ignore=True), [0, 1], [True, True], id="ignore-for-all"),
    ],
)
def test_truth_of_annotations(annotation: Annotation, labels: list[int], ignore: list[bool]) -> None:
    truth = Truth.of([annotation], ("person", "vehicle"))
    assert truth.labels.tolist() == labels
    assert truth.ignore.tolist() == ignore
    assert truth.boxes.shape == (len(labels), 4)
    assert len(truth.attributes) == len(truth) == len(labels)
