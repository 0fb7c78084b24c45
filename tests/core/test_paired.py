"""Differences in AP against pycocotools and against simulations whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.bootstrap import Resampling, levels
from pipeline.core.paired import average_precision, difference
from pipeline.core.types import Detections, Frame, Truth
from tests import pycoco

SIDE = 20.0


def boxes(count: int) -> NDArray[np.float32]:
    """Boxes (count, 4) in a row that do not touch."""
    left = np.arange(count, dtype=np.float32) * 2 * SIDE
    return np.column_stack([left, np.zeros(count), left + SIDE, np.full(count, SIDE)]).astype(np.float32)


def truth(count: int, labels: int = 0) -> Truth:
    return Truth(boxes(count), np.full(count, labels, np.int64), np.zeros(count, np.bool_))


def detector(rng: np.random.Generator, truths: list[Truth], recalls: NDArray[np.float64]) -> list[Detections]:
    """Exact boxes of the objects that are found, and a false alarm a frame below them."""
    found = []
    for it, recall in zip(truths, recalls, strict=True):
        hit = rng.random(len(it)) < recall
        wrong = np.array([[0, 500, SIDE, 500 + SIDE]], np.float32)
        rows = np.concatenate([it.boxes[hit], wrong])
        score = np.append(rng.uniform(0.5, 1, int(hit.sum())), 0.1).astype(np.float32)
        found.append(Detections(rows, score, np.zeros(len(rows), np.int64)))
    return found


def by_clip(clips: int, frames: int, resamples: int = 400) -> tuple[Resampling, ...]:
    every = [
        Frame(f"{clip}-{i}", "hall", f"{clip}", i, None, 10, 10, "x") for clip in range(clips) for i in range(frames)
    ]
    return levels(every, 5.0, resamples, 0)


def jittered(rng: np.random.Generator, truths: list[Truth]) -> list[Detections]:
    found = []
    for it in truths:
        moved = it.boxes + rng.normal(0, 2.0, it.boxes.shape).astype(np.float32)
        order = np.argsort(-(score := rng.random(len(it)).astype(np.float32)))
        found.append(Detections(moved[order], score[order], it.labels[order]))
    return found


def test_the_figure_is_pycocotools() -> None:
    rng = np.random.default_rng(3)
    truths = [truth(6, label % 2) for label in range(24)]
    found = jittered(rng, truths)
    figure, _ = average_precision(truths, found, by_clip(12, 2)[0])
    theirs = pycoco.evaluate(pycoco.dataset(truths, ("person", "vehicle")), pycoco.results(found))
    assert figure == pytest.approx(float(theirs.stats[0]), abs=1e-9)
    assert 0.2 < figure < 0.9


def test_a_detector_is_as_good_as_itself() -> None:
    rng = np.random.default_rng(0)
    truths = [truth(5)] * 24
    found = jittered(rng, truths)
    it = difference(truths, found, found, by_clip(12, 2))
    assert (it.figure, it.interval) == (0.0, (0.0, 0.0))
    assert (it.objects, it.clusters, it.unit) == (120, 12, "camera x clip")


def test_all_against_nothing() -> None:
    truths = [truth(2)] * 12
    all_found = [Detections(it.boxes, np.ones(2, np.float32), it.labels) for it in truths]
    it = difference(truths, all_found, [Detections.empty()] * 12, by_clip(12, 1))
    assert it.figure == 1.0
    assert it.ours == 1.0


@pytest.mark.parametrize(
    ("truths", "figure", "objects"),
    [
        pytest.param([truth(1)] * 4, 1.0, 4, id="few clusters: a figure without an interval"),
        pytest.param([truth(0)] * 12, None, 0, id="no object: no figure"),
    ],
)
def test_too_little(truths: list[Truth], figure: float | None, objects: int) -> None:
    found = [Detections(it.boxes, np.ones(len(it), np.float32), it.labels) for it in truths]
    it = difference(truths, found, [Detections.empty()] * len(truths), by_clip(len(truths), 1))
    assert (it.figure, it.interval, it.objects) == (figure, None, objects)


def coverage(repeats: int, *, paired: bool) -> tuple[float, float]:
    """Share of intervals that hold zero between equal detectors on scenes of unequal difficulty, and their mean width.

    Unpaired: the second detector sees other scenes of the same kind.
    """
    rng = np.random.default_rng(11)
    drawn = by_clip(30, 1)
    covered, width = 0, 0.0
    for _ in range(repeats):
        truths = [truth(int(n)) for n in rng.integers(5, 15, 30)]
        difficulty = rng.beta(4, 1, 30)
        other = difficulty if paired else rng.beta(4, 1, 30)
        it = difference(truths, detector(rng, truths, difficulty), detector(rng, truths, other), drawn)
        assert it.interval is not None
        covered += it.interval[0] <= 0 <= it.interval[1]
        width += it.interval[1] - it.interval[0]
    return covered / repeats, width / repeats


def test_the_interval_holds_the_truth_and_pairing_sharpens_it() -> None:
    share, width = coverage(150, paired=True)
    assert 0.90 <= share <= 0.99  # 95 %, give or take 2.5 standard errors of 150 simulations
    _, unpaired = coverage(20, paired=False)
    assert width < 0.8 * unpaired
