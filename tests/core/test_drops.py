import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.bootstrap import Resampling, resampling
from pipeline.core.drops import ap_interval, interval, recall_drop
from pipeline.core.groups import Evidence, everything
from pipeline.core.matching import match_overlaps, overlaps
from pipeline.core.types import Detections, Truth

FRAMES = 40
BOX = np.array([[10, 10, 50, 50]], np.float32)


def truths() -> list[Truth]:
    """One object a frame."""
    return [Truth(BOX, np.zeros(1, np.int64), np.zeros(1, np.bool_)) for _ in range(FRAMES)]


def found(hits: NDArray[np.bool_]) -> list[Detections]:
    """A perfect detection in the frames of `hits`, none elsewhere."""
    one = Detections(BOX, np.full(1, 0.9, np.float32), np.zeros(1, np.int64))
    return [one if hit else Detections.empty() for hit in hits]


def drawn() -> Resampling:
    return resampling("image", range(FRAMES), 4000, 0)


def evidence(hits: NDArray[np.bool_]) -> Evidence:
    matched = match_overlaps(overlaps(truths(), found(hits)), 0.5)
    return Evidence(matched, matched, np.array([0.5]), (drawn(),), 30)


def but(*lost: int) -> NDArray[np.bool_]:
    hits = np.ones(FRAMES, np.bool_)
    hits[list(lost)] = False
    return hits


def test_a_drop_is_what_one_finds_and_the_other_does_not() -> None:
    it = evidence(but(0))
    told = recall_drop(everything(it.matched, FRAMES), it, but(0, 1, 2))
    assert (told["objects"], told["reference"], told["recall"]) == (40, 39 / 40, 37 / 40)
    assert told["drop"] == pytest.approx(2 / 40)


def test_the_interval_is_that_of_a_paired_mean() -> None:
    # Differences a frame: 4 ones and 36 zeros, so their standard error is s / sqrt(n) and t has 39 degrees of freedom.
    it = evidence(but())
    told = recall_drop(everything(it.matched, FRAMES), it, but(1, 2, 3, 4))
    differences = np.array([1.0] * 4 + [0.0] * 36)
    half = 2.0227 * differences.std(ddof=1) / np.sqrt(FRAMES)
    assert told["low"] == pytest.approx(0.1 - half, abs=0.006)
    assert told["high"] == pytest.approx(0.1 + half, abs=0.006)


def test_what_both_miss_says_nothing_of_the_difference() -> None:
    it = evidence(but(*range(20)))
    told = recall_drop(everything(it.matched, FRAMES), it, but(*range(20)))
    assert told["drop"] == 0
    assert "low" not in told  # no resample differs: no spread is known


def test_too_few_clusters_give_no_interval() -> None:
    matched = evidence(but()).matched
    it = Evidence(matched, matched, np.array([0.5]), (resampling("clip", [i // 5 for i in range(FRAMES)], 200, 0),), 30)
    assert "low" not in recall_drop(everything(matched, FRAMES), it, but(1))  # 8 of 10 clusters


def test_the_interval_of_ap_is_about_its_drop() -> None:
    # Perfect detections, no false alarm: AP is recall (up to COCO's 101 points), so the interval is recall's.
    near, other = overlaps(truths(), found(but())), overlaps(truths(), found(but(1, 2, 3, 4)))
    told = ap_interval(near, other, FRAMES, 1, [drawn()], 0.1)
    it = evidence(but())
    recall = recall_drop(everything(it.matched, FRAMES), it, but(1, 2, 3, 4))
    assert told["low"] == pytest.approx(recall["low"], abs=0.01)
    assert told["high"] == pytest.approx(recall["high"], abs=0.01)


def test_ap_without_clusters_enough_has_no_interval() -> None:
    near = overlaps(truths(), found(but()))
    assert ap_interval(near, near, FRAMES, 1, [resampling("clip", [0] * FRAMES, 200, 0)], 0.0) == {}


@pytest.mark.parametrize("drops", [np.full(200, np.nan), np.zeros(200)], ids=["undefined", "never differs"])
def test_replicates_that_tell_nothing_give_no_interval(drops: NDArray[np.float64]) -> None:
    assert interval(0.0, drops, np.ones(20)) == {}
