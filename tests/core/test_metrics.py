"""Rates, curves and AP from hits, worked by hand."""

import numpy as np
import pytest

from pipeline.core import metrics


def test_rates_are_left_out_where_they_are_not_defined() -> None:
    assert metrics.rates(0, 0, 0) == {}
    assert metrics.rates(0, 0, 4) == {"recall": 0.0, "f1": 0.0}


def test_curve_moves_at_different_scores_only() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.1], np.float64)
    points = metrics.curve(scores, np.array([True, False, True, True]), 4)
    assert points.score.tolist() == [0.9, 0.5, 0.1]
    assert points.recall.tolist() == [0.25, 0.5, 0.75]
    assert points.precision.tolist() == pytest.approx([1, 2 / 3, 3 / 4])


def test_curve_of_no_detection_is_empty() -> None:
    points = metrics.curve(np.zeros(0), np.zeros(0, np.bool_), 3)
    assert len(points.score) == 0


@pytest.mark.parametrize(
    ("hits", "objects", "ap"),
    [
        pytest.param([True], 1, 1.0, id="perfect"),
        pytest.param([True], 2, 51 / 101, id="half-the-objects"),  # recall points 0 .. 0.50 have precision 1
        pytest.param([False, True], 1, 0.5, id="false-alarm-first"),
        pytest.param([True, False, True], 2, (51 * 1 + 50 * 2 / 3) / 101, id="envelope"),
        pytest.param([], 2, 0.0, id="nothing-found"),
        pytest.param([False], 2, 0.0, id="only-a-false-alarm"),
    ],
)
def test_average_precision_at_cocos_points(hits: list[bool], objects: int, ap: float) -> None:
    scores = np.linspace(0.9, 0.1, len(hits))
    assert metrics.coco_precision(scores, np.array(hits, np.bool_), objects).mean() == pytest.approx(ap)
