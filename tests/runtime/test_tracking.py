"""What keeps an id and what does not, in small scenes whose answer is plain."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import ConfigError, DataError
from pipeline.core.types import Detections
from pipeline.runtime.tracking import Track, Tracker, TrackerParams

Box = tuple[float, float, float, float]
BOX: Box = (100, 100, 140, 200)


def found(*boxes: Box, score: float = 0.9, scores: Sequence[float] = (), labels: Sequence[int] = ()) -> Detections:
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.array(scores or [score] * n, np.float32),
        np.array(labels or [0] * n, np.int64),
    )


def moved(box: Box, x: float, y: float = 0.0) -> Box:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def run(tracker: Tracker, looks: Sequence[tuple[float, Detections]]) -> list[list[Track]]:
    return [tracker.update(it, at) for at, it in looks]


def test_a_track_says_what_it_saw() -> None:
    (track,) = run(Tracker(), [(3.0, found(BOX, score=0.8)), (3.2, found(BOX, score=0.6))])[-1]
    assert (track.track_id, track.label, track.hits, track.first_s, track.last_s) == (1, 0, 2, 3.0, 3.2)
    assert track.score == pytest.approx(0.6)
    np.testing.assert_allclose(track.box, BOX, atol=1e-3)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param([0.5], [False], id="once"),
        pytest.param([0.5, 0.5], [True], id="twice"),
        pytest.param([0.5, None, 0.5], [True], id="twice, with a miss"),
        pytest.param([0.5, 0.3], [False], id="an unsure one does not count"),
        pytest.param([0.6], [True], id="sure"),
    ],
)
def test_two_detections_confirm_a_track_or_a_sure_one(scores: list[float | None], expected: list[bool]) -> None:
    looks = [(0.2 * k, found() if s is None else found(BOX, score=s)) for k, s in enumerate(scores)]
    assert [t.confirmed for t in run(Tracker(), looks)[-1]] == expected


def test_what_is_far_from_where_a_track_should_be_is_another() -> None:
    tracker = Tracker(TrackerParams(min_iou=0.2))
    run(tracker, [(0.0, found(BOX))])
    # 40 wide and 27 beside it: IoU 13 / 67, just below
    assert [t.track_id for t in tracker.update(found(moved(BOX, 27)), 0.2)] == [1, 2]
    # 26 beside it: 14 / 66, just above
    tracker.reset()
    run(tracker, [(0.0, found(BOX))])
    assert [t.track_id for t in tracker.update(found(moved(BOX, 26)), 0.2)] == [1]


@pytest.mark.parametrize(
    "steps", [pytest.param([0.2] * 12, id="even"), pytest.param([0.1, 0.4, 0.2, 0.3, 0.1] * 2, id="uneven")]
)
def test_a_hidden_object_is_expected_where_it_would_be_at_that_time(steps: list[float]) -> None:
    times = np.cumsum([0.0, *steps])
    tracker = Tracker()
    run(tracker, [(t, found(moved(BOX, 60 * t))) for t in times])
    (hidden,) = tracker.update(found(), times[-1] + 0.5)
    assert (hidden.confirmed, hidden.visible, hidden.last_s) == (True, False, times[-1])
    way = hidden.box[0] - (100 + 60 * times[-1])  # at full speed 30 pixels
    assert 0.7 * 30 < way < 30


def test_a_hidden_object_does_not_run_away() -> None:
    tracker = Tracker(TrackerParams(max_age_s=60))
    run(tracker, [(0.2 * k, found(moved(BOX, 60 * 0.2 * k))) for k in range(20)])
    ways = [tracker.update(found(), 3.8 + k)[0].box[0] - (100 + 60 * 3.8) for k in range(1, 5)]
    assert np.all(np.diff(ways) > 0)
    assert ways[-1] < 0.6 * 60 * 4  # a speed that falls to 1/e in 3 s goes 0.55 of the way in 4 s


def test_the_filter_is_the_textbooks() -> None:
    """The same boxes through a Kalman filter of whole matrices: x = F x, P = F P F' + Q; K = P H' / (H P H' + R)."""
    rng = np.random.default_rng(0)
    tracker, eye, none = Tracker(), np.eye(4), np.zeros((4, 4))
    x: NDArray[np.float64] = np.zeros(8)
    p: NDArray[np.float64] = np.zeros((8, 8))
    h, last = np.hstack([eye, none]), 0.0
    for k, at in enumerate(np.cumsum(rng.uniform(0.1, 0.6, 30))):
        box = np.float32(np.array(BOX) + 20 * at + rng.normal(0, 3, 4)).astype(float)
        z = np.array([box[0] + box[2], box[1] + box[3], 2 * (box[2] - box[0]), 2 * (box[3] - box[1])]) / 2
        dt, last = at - last, at
        if not k:
            x, p = np.hstack([z, np.zeros(4)]), np.diag([(0.1 * z[3]) ** 2] * 4 + [(1.9 * z[3]) ** 2] * 4)
        else:
            left = np.exp(-dt / 3)
            f = np.block([[eye, 3 * (1 - left) * eye], [none, left * eye]])
            drift, pushed = (0.2 * x[3]) ** 2 * eye, (0.7 * x[3]) ** 2 * eye
            q = np.block([[drift * dt + pushed * dt**3 / 3, pushed * dt**2 / 2], [pushed * dt**2 / 2, pushed * dt]])
            x, p = f @ x, f @ p @ f.T + q
            gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + (0.1 * z[3]) ** 2 * eye)
            x, p = x + gain @ (z - h @ x), (np.eye(8) - gain @ h) @ p
        (track,) = tracker.update(found((box[0], box[1], box[2], box[3])), float(at))
        np.testing.assert_allclose(track.box, np.hstack([x[:2] - x[2:4] / 2, x[:2] + x[2:4] / 2]), atol=1e-3)


def test_two_that_pass_one_another_keep_their_ids() -> None:
    tracker = Tracker()
    right, left = (100.0, 100.0, 140.0, 200.0), (300.0, 105.0, 340.0, 205.0)
    for k in range(21):
        tracks = tracker.update(found(moved(right, 10 * k), moved(left, -10 * k)), 0.1 * k)
    assert [t.track_id for t in sorted(tracks, key=lambda t: t.box[0])] == [2, 1]


def test_an_unsure_detection_goes_on_with_a_track_but_begins_none() -> None:
    tracker = Tracker()
    other = moved(BOX, 300)
    run(tracker, [(0.0, found(BOX)), (0.2, found(BOX))])
    for k in range(2, 20):
        tracks = tracker.update(found(BOX, other, score=0.2), 0.2 * k)
    assert [(t.track_id, t.hits, t.visible) for t in tracks] == [(1, 20, True)]


def test_below_the_low_score_there_is_nothing() -> None:
    tracker = Tracker()
    looks = run(tracker, [(0.0, found(BOX)), (0.2, found(BOX)), (0.4, found(BOX, score=0.05))])
    assert not looks[-1][0].visible


def test_the_high_score_may_differ_from_class_to_class() -> None:
    tracker = Tracker(TrackerParams(high_score=(0.7, 0.3)))
    tracks = tracker.update(found(BOX, moved(BOX, 300), score=0.5, labels=(0, 1)), 0.0)
    assert [t.label for t in tracks] == [1]


def test_an_unsure_detection_brings_back_what_was_lost() -> None:
    looks = [(0.0, found(BOX)), (0.2, found()), (0.4, found(BOX, score=0.2))]
    assert [(t.track_id, t.visible) for t in run(Tracker(), looks)[-1]] == [(1, True)]


def test_a_confident_detection_is_served_first_and_classes_do_not_mix() -> None:
    tracker = Tracker()
    run(tracker, [(0.0, found(BOX)), (0.2, found(BOX))])
    (track, other) = tracker.update(found(BOX, moved(BOX, 8), scores=(0.9, 0.8), labels=(1, 0)), 0.4)
    assert (track.track_id, track.label, track.hits) == (1, 0, 3)
    assert (other.track_id, other.label, other.hits) == (2, 1, 1)


def test_a_track_ends_after_a_search_in_vain_and_not_for_want_of_a_look() -> None:
    tracker = Tracker(TrackerParams(max_age_s=1.0, max_gap_s=5.0))
    run(tracker, [(0.0, found(BOX)), (0.2, found(BOX))])
    assert [t.track_id for t in tracker.update(found(BOX), 4.0)] == [1]  # nobody looked for 3.8 s
    assert [t.visible for t in tracker.update(found(), 6.0)] == [False]  # missed once: the search begins
    assert [t.track_id for t in tracker.update(found(), 6.9)] == [1]
    assert tracker.update(found(), 7.0) == []


def test_what_was_there_for_a_moment_is_searched_for_as_long() -> None:
    tracker = Tracker(TrackerParams(max_age_s=2.0))
    run(tracker, [(0.2 * k, found(BOX)) for k in range(4)])  # 0.6 s
    alive = [len(tracker.update(found(), 0.8 + t)) for t in (0.0, 0.9, 1.1)]  # 0.6 s, and the 0.4 s of any track
    assert alive == [1, 1, 0]


def test_looks_that_follow_closely_ask_for_more_overlap() -> None:
    looks = [(0.0, found(BOX)), (0.05, found(moved(BOX, 22)))]  # IoU 18 / 62 = 0.29, asked 0.35
    assert [t.track_id for t in run(Tracker(), looks)[-1]] == [1, 2]
    looks = [(0.0, found(BOX)), (0.15, found(moved(BOX, 22)))]  # asked 0.25
    assert [t.track_id for t in run(Tracker(), looks)[-1]] == [1]


def test_after_a_long_gap_everything_is_new() -> None:
    tracker = Tracker(TrackerParams(max_gap_s=5.0))
    run(tracker, [(0.0, found(BOX)), (0.2, found(BOX))])
    assert [(t.track_id, t.hits) for t in tracker.update(found(BOX), 5.3)] == [(2, 1)]


def test_reset_begins_anew() -> None:
    tracker = Tracker()
    run(tracker, [(9.0, found(BOX)), (9.2, found(BOX))])
    tracker.reset()
    (track,) = tracker.update(found(BOX), 0.0)
    assert (track.track_id, track.hits) == (1, 1)


@pytest.mark.parametrize("second", [pytest.param(0.9, id="back"), math.nan, math.inf])
def test_time_that_goes_back_is_an_error(second: float) -> None:
    tracker = Tracker()
    tracker.update(found(BOX), 1.0)
    with pytest.raises(DataError, match="time must not go back"):
        tracker.update(found(BOX), second)


def test_the_same_moment_twice_is_none() -> None:
    looks = run(Tracker(), [(1.0, found(BOX)), (1.0, found(BOX))])
    assert looks[1][0].hits == 2


def test_boxes_without_size_do_no_harm() -> None:
    point: Box = (50, 50, 50, 50)
    tracks = run(Tracker(), [(0.1 * k, found(point)) for k in range(5)])[-1]
    assert all(np.isfinite(t.box).all() for t in tracks)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"min_iou": 1.5}, "min_iou must be in 0..1, got 1.5"),
        ({"max_age_s": -1}, "max_age_s must be in 0..1e\\+09, got -1"),
        ({"confirm_hits": 0}, "confirm_hits must be in 1..1e\\+09, got 0"),
        ({"max_gap_s": math.nan}, "max_gap_s must be in 0..1e\\+09, got nan"),
    ],
)
def test_parameters_out_of_range_are_named(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TrackerParams(**wrong)  # type: ignore[arg-type]
