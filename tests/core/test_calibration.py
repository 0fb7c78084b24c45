"""Calibration errors by hand, isotonic regression against scikit-learn, and whether calibrated scores hold."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from pipeline.core import calibration
from pipeline.core.matching import overlaps
from pipeline.core.types import Detections, Truth


@pytest.mark.parametrize(
    ("scores", "gains", "error"),
    [
        pytest.param([0.8], [0.8], 0.0, id="right"),
        pytest.param([0.9, 0.9], [1.0, 0.8], 0.0, id="right-in-the-mean"),
        pytest.param([0.9, 0.9], [0.5, 0.0], 0.65, id="too-sure"),
        pytest.param([0.9, 0.1, 0.1, 0.1], [0.5, 0.1, 0.1, 0.1], 0.1, id="weighted-by-detections"),
        pytest.param([0.9, 0.1], [0.8, 0.2], 0.1, id="errors-do-not-cancel-between-bins"),
        pytest.param([0.04, 0.05], [0.0, 0.1], 0.045, id="an-upper-edge-belongs-to-its-bin"),
        pytest.param([0.0, 1.0], [0.0, 1.0], 0.0, id="the-ends"),
    ],
)
def test_laece(scores: list[float], gains: list[float], error: float) -> None:
    assert calibration.laece(np.array(scores), np.array(gains)) == pytest.approx(error)


def test_bins_of_the_chart() -> None:
    held = calibration.reliability(np.array([0.11, 0.19, 0.95]), np.array([0.0, 0.5, 1.0]), 10)
    assert held.score.tolist() == pytest.approx([0.15, 0.95])
    assert held.gain.tolist() == pytest.approx([0.25, 1.0])
    assert held.count.tolist() == [2, 1]


def simulated(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Scores that are too sure: what they should be is their square; gains are 0 or a little below 1."""
    rng = np.random.default_rng(seed)
    scores = rng.random(n)
    hit = rng.random(n) < scores**2 / 0.9
    return scores, np.where(hit, 0.9, 0.0), scores**2


@pytest.mark.parametrize("n", [40, 400, 4000])
def test_steps_are_scikit_learns(n: int) -> None:
    """Each knot lies at its step's mean score and has the value that isotonic regression gives there."""
    scores, gains, _ = simulated(n)
    scores = np.round(scores, 2)  # ties
    knots = np.array(calibration.fit(scores, gains))
    values = IsotonicRegression().fit(scores, gains).predict(scores)
    steps = np.unique(values)
    assert len(steps) <= calibration.MOST_KNOTS
    assert knots[:, 1] == pytest.approx(steps, abs=1e-6)
    assert knots[:, 0] == pytest.approx([scores[values == step].mean() for step in steps])


def test_too_many_steps_are_joined_and_still_mean_the_same() -> None:
    scores = np.linspace(0, 1, 1000, dtype=np.float64)
    knots = np.array(calibration.fit(scores, scores**2), np.float64)  # every score a step of its own
    assert len(knots) == calibration.MOST_KNOTS
    assert (np.diff(knots, axis=0) > 0).all()
    assert np.abs(np.interp(scores, *knots.T) - scores**2).max() < 0.03


def test_calibrated_scores_mean_what_they_say() -> None:
    fitted = np.array(calibration.fit(*simulated(20_000, 1)[:2]))
    scores, gains, expected = simulated(20_000, 2)
    after = np.interp(scores, *fitted.T)
    assert np.abs(after - expected).mean() < 0.02
    assert calibration.laece(scores, gains) == pytest.approx(1 / 6, abs=0.01)  # the mean of x - x^2
    assert calibration.laece(after, gains) < 0.02


@pytest.mark.parametrize(
    ("scores", "gains", "knots"),
    [
        pytest.param([0.5], [0.7], ((0.5, 0.7),), id="one"),
        pytest.param([0.5, 0.5], [0.0, 0.8], ((0.5, 0.4),), id="tied"),
        pytest.param([0.2, 0.8], [0.9, 0.1], ((0.5, 0.5),), id="falling"),
        pytest.param([0.2, 0.8], [0.1, 0.9], ((0.2, 0.1), (0.8, 0.9)), id="rising"),
    ],
)
def test_knots(scores: list[float], gains: list[float], knots: calibration.Knots) -> None:
    fitted = calibration.fit(np.array(scores), np.array(gains))
    assert np.array(fitted) == pytest.approx(np.array(knots))


OBJECT, HALF, THIRD, ELSEWHERE = (0, 0, 90, 90), (0, 0, 90, 45), (0, 0, 90, 30), (500, 500, 590, 590)


@pytest.mark.parametrize(
    ("least", "gains"),
    [pytest.param(0.5, [0.5, 0.0, 0.0], id="hits"), pytest.param(0.0, [0.5, 1 / 3, 0.0], id="any-overlap")],
)
def test_gains(least: float, gains: list[float]) -> None:
    """A hit, a poor box on another object, and a box on no object; a fourth, in an ignore region, is left out."""
    second = tuple(side + 200 for side in OBJECT)
    region = (1000, 0, 1100, 100)
    truth = Truth(np.array([OBJECT, second, region], np.float32), np.zeros(3, np.int64), np.array([False, False, True]))
    poor = (200, 200, 290, 230)
    boxes = np.array([HALF, poor, ELSEWHERE, (1000, 0, 1050, 50)], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.zeros(4, np.int64))
    graded = calibration.grade(overlaps([truth], [found]), least, 0.5)
    assert graded.gain.tolist() == pytest.approx(gains)
    assert graded.kept.tolist() == [True, True, True, False]
    assert graded.score.tolist() == pytest.approx([0.9, 0.8, 0.7])
