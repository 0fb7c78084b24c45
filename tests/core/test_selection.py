import math

import numpy as np
import pytest

from pipeline.core.params import SelectParams
from pipeline.core.selection import (
    choose,
    combined,
    disagreement,
    doubts,
    nearest,
    rarity,
    standardised,
    uncertainty,
)
from pipeline.core.types import Detections, Frame

WEIGHTS = {"uncertainty": 1.0, "disagreement": 1.0, "weakness": 1.0, "rarity": 1.0, "health": 1.0, "suspicion": 1.0}
SECTION = {
    "budget": 9,
    "second_looks": 9,
    "weights": WEIGHTS,
    "diversity": 1.0,
    "gap_s": 1.0,
    "near_duplicate_bits": 4,
    "pictures": 4,
}
AT = np.array([0.4, 0.5])
BOX, HALF_OF_IT, FAR = (0, 0, 10, 10), (0, 0, 10, 5), (50, 50, 60, 60)


def params(**changes: object) -> SelectParams:
    return SelectParams.parse("select", SECTION | changes)


def found(*rows: tuple[tuple[int, int, int, int], float, int]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int64),
    )


def frame(index: int, camera: str = "hall", time: float | None = None, phash: str = "", clip: str = "") -> Frame:
    return Frame(f"f{index}", camera, clip or camera, index, time, 100, 100, "x", phash=phash)


@pytest.mark.parametrize(
    ("score", "label", "doubt"),
    [
        pytest.param(0.4, 0, 1.0, id="at-its-threshold"),
        pytest.param(0.5, 1, 1.0, id="at-the-threshold-of-its-class"),
        pytest.param(0.55, 0, 0.5, id="a-quarter-of-the-way-up"),
        pytest.param(0.3, 0, 0.5, id="a-quarter-of-the-way-down"),
        pytest.param(0.2, 0, 0.0, id="half-way-down"),
        pytest.param(0.95, 1, 0.0, id="sure"),
    ],
)
def test_doubt_falls_on_both_sides_of_the_threshold(score: float, label: int, doubt: float) -> None:
    assert doubts(found((BOX, score, label)), AT) == pytest.approx([doubt], abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param([], 0.0, id="no-box"),
        pytest.param([0.9, 0.01], 0.0, id="nothing-undecided"),
        pytest.param([0.4], 1 - math.exp(-1), id="one-undecided"),
        pytest.param([0.4, 0.55], 1 - math.exp(-1.5), id="each-further-box-adds-less"),
    ],
)
def test_uncertainty_sums_softly(scores: list[float], expected: float) -> None:
    assert uncertainty(found(*((BOX, s, 0) for s in scores)), AT) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param([], [], 0.0, id="both-empty"),
        pytest.param([(BOX, 0.1, 0)], [], 0.0, id="nothing-reported"),
        pytest.param([(BOX, 0.9, 0)], [(BOX, 0.8, 0)], 0.0, id="the-same"),
        pytest.param([(BOX, 0.9, 0)], [], 1.0, id="seen-in-one-view"),
        pytest.param([(BOX, 0.9, 0)], [(HALF_OF_IT, 0.8, 0)], 0.5, id="moved"),
        pytest.param([(BOX, 0.9, 0)], [(BOX, 0.9, 1)], 1.0, id="another-class"),
        pytest.param([(BOX, 0.45, 0)], [(BOX, 0.3, 0)], 0.0, id="just-below-its-threshold-is-seen"),
        pytest.param([(BOX, 0.45, 0)], [(BOX, 0.1, 0)], 1.0, id="hardly-seen"),
        pytest.param([(BOX, 0.9, 0), (FAR, 0.9, 0)], [(BOX, 0.9, 0)], 1 / 3, id="mean-over-boxes-of-both"),
    ],
)
def test_disagreement_is_what_the_mirror_changes(one: list, other: list, expected: float) -> None:  # type: ignore[type-arg]
    assert disagreement(found(*one), found(*other), AT) == pytest.approx(expected)
    assert disagreement(found(*other), found(*one), AT) == pytest.approx(expected)


def test_distance_is_half_of_one_minus_cosine() -> None:
    points = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert nearest(points, points[:1]) == pytest.approx([0.0, 0.5, 1.0])
    assert nearest(points, points[:2]) == pytest.approx([0.0, 0.0, 0.5])
    assert nearest(points, points[:0]) == pytest.approx([1.0, 1.0, 1.0])


def test_many_embeddings_are_compared_as_few_are() -> None:
    rng = np.random.default_rng(0)
    points = standardised(rng.normal(size=(1100, 3)))
    expected = [(1 - max(points[i] @ other for other in points[:7])) / 2 for i in (0, 511, 512, 1099)]
    assert nearest(points, points[:7])[[0, 511, 512, 1099]] == pytest.approx(expected)


def test_standardising_takes_away_what_all_frames_share() -> None:
    """A dimension that never varies, and the scale of the others, say nothing."""
    values = standardised(np.array([[5.0, 1.0, 100.0], [5.0, 2.0, 300.0]]))
    assert values == pytest.approx(np.array([[0, -1, -1], [0, 1, 1]]) / math.sqrt(2))


def test_rarity_is_a_rank() -> None:
    assert rarity(np.array([0.2, 0.9, 0.2, 0.4])) == pytest.approx([0, 1, 0, 2 / 3])
    assert rarity(np.array([0.3])) == pytest.approx([0.0])
    assert rarity(np.zeros(0)).shape == (0,)


def test_the_score_is_the_mean_of_the_signals_that_there_are() -> None:
    weights = {"uncertainty": 1.0, "rarity": 3.0, "suspicion": 0.0}
    signals = [{"uncertainty": 1.0, "rarity": 0.0}, {"uncertainty": 0.5, "suspicion": 1.0}, {"suspicion": 1.0}]
    assert combined(signals, weights) == pytest.approx([0.25, 0.5, 0.0])


def test_of_equal_looks_the_better_is_taken_and_the_different_before_the_copy() -> None:
    """0.9, then the opposite with 0.5 (novelty 1), and the copy of the first (novelty 0) last."""
    embeddings = np.array([[1.0, 0], [1.0, 0], [-1.0, 0]])
    frames = [frame(i, time=10.0 * i) for i in range(3)]
    picks, duplicates = choose(np.array([0.8, 0.9, 0.5]), embeddings, frames, [], 3, params())
    assert [(pick.index, pick.novelty) for pick in picks] == [(1, 1.0), (2, 1.0), (0, 0.0)]
    assert duplicates == 0


def test_without_diversity_the_score_decides() -> None:
    embeddings = np.array([[1.0, 0], [1.0, 0], [-1.0, 0]])
    frames = [frame(i, time=10.0 * i) for i in range(3)]
    picks, _ = choose(np.array([0.8, 0.9, 0.5]), embeddings, frames, [], 2, params(diversity=0.0))
    assert [pick.index for pick in picks] == [1, 0]


def test_cameras_take_turns() -> None:
    """Turn factors 1, 0.414, 0.318: hall 0.9, then yard 0.5 > 0.9 x 0.414, then hall 0.373 > yard 0.207."""
    frames = [frame(i, camera, 10.0 * i) for i, camera in enumerate(["hall", "hall", "hall", "yard", "yard"])]
    scores = np.array([0.9, 0.9, 0.9, 0.5, 0.5])
    picks, _ = choose(scores, np.zeros((5, 1)), frames, [], 4, params(diversity=0.0))
    assert [frames[pick.index].camera for pick in picks] == ["hall", "yard", "hall", "hall"]
    assert picks[1].worth == pytest.approx(0.5)
    assert picks[2].worth == pytest.approx(0.9 * (math.sqrt(2) - 1))


NEAR, OTHER = "000000000000000f", "ffffffff00000000"


@pytest.mark.parametrize(
    ("candidate", "left_out"),
    [
        pytest.param(frame(1, time=10.9), True, id="a-moment-later"),
        pytest.param(frame(1, time=11.0), False, id="the-gap-later"),
        pytest.param(frame(1, time=10.0, clip="other"), False, id="another-clip-has-another-clock"),
        pytest.param(frame(1, time=90.0, phash=NEAR), False, id="a-fixed-camera-looks-alike-by-nature"),
        pytest.param(frame(1, "yard", 90.0, NEAR), True, id="another-camera-does-not"),
        pytest.param(frame(1, phash=NEAR), True, id="a-picture-that-looks-the-same"),
        pytest.param(frame(1, phash=OTHER), False, id="a-picture-that-looks-otherwise"),
        pytest.param(frame(1), False, id="neither-time-nor-hash"),
    ],
)
def test_what_looks_like_a_labelled_frame_is_left_out(candidate: Frame, left_out: bool) -> None:  # noqa: FBT001 - a case
    labelled = frame(0, time=10.0, phash="0" * 16)
    picks, duplicates = choose(np.array([0.5]), np.zeros((1, 1)), [candidate], [labelled], 1, params())
    assert (len(picks), duplicates) == ((0, 1) if left_out else (1, 0))


def test_chosen_frames_are_no_duplicates_of_each_other() -> None:
    frames = [frame(i, time=0.5 * i) for i in range(5)]
    picks, duplicates = choose(np.full(5, 0.5), np.eye(5), frames, [], 5, params())
    assert [pick.index for pick in picks] == [0, 2, 4]
    assert duplicates == 0


def test_frames_without_any_signal_are_still_spread() -> None:
    frames = [frame(i, time=10.0 * i) for i in range(3)]
    picks, _ = choose(np.zeros(3), np.zeros((3, 1)), frames, [], 2, params())
    assert [pick.index for pick in picks] == [0, 1]


def test_nothing_to_choose_from() -> None:
    assert choose(np.zeros(0), np.zeros((0, 1)), [], [frame(0)], 5, params()) == ([], 0)
