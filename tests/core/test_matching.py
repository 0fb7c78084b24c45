"""Matching against pycocotools' own, and by hand where the rules are ours."""

import numpy as np
import pytest

from pipeline.core import matching
from pipeline.core.metrics import coco_precision
from pipeline.core.types import Detections, Truth
from tests import pycoco

CLASSES = ("person", "vehicle")
Box = tuple[float, float, float, float]


def truth(*rows: tuple[Box, int, bool]) -> Truth:
    return Truth(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.int64),
        np.array([r[2] for r in rows], np.bool_),
    )


def found(*rows: tuple[Box, float, int]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int64),
    )


def above(every: Detections, score: np.float32) -> Detections:
    keep = every.scores >= score
    return Detections(every.boxes[keep], every.scores[keep], every.labels[keep])


def random_frame(rng: np.random.Generator) -> tuple[Truth, Detections]:
    """Crowded boxes, a quarter of the truths ignore regions, detections near truths and at random, tied scores."""
    m, n = int(rng.integers(0, 8)), int(rng.integers(0, 20))
    corners = rng.integers(0, 60, (m, 2))
    boxes = np.hstack([corners, corners + rng.integers(5, 40, (m, 2))]).astype(np.float32)
    labels = rng.integers(0, 2, m)
    ignore = rng.random(m) < 0.25
    near = boxes[rng.integers(0, m, n)] if m else np.tile(np.array([[5, 5, 30, 30]], np.float32), (n, 1))
    noisy = near + rng.integers(-4, 5, (n, 4))
    noisy[:, 2:] = np.maximum(noisy[:, 2:], noisy[:, :2] + 1)
    return (
        Truth(boxes, labels.astype(np.int64), ignore),
        Detections(noisy.astype(np.float32), (rng.integers(1, 20, n) / 20).astype(np.float32), rng.integers(0, 2, n)),
    )


@pytest.mark.parametrize("threshold", [0.5, 0.75])
@pytest.mark.parametrize("seed", range(4))
def test_every_match_is_pycocotools_match(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    frames = [random_frame(rng) for _ in range(40)]
    truths, detections = [f[0] for f in frames], [f[1] for f in frames]
    evaluation = pycoco.evaluate(pycoco.dataset(truths, CLASSES), pycoco.results(detections))
    at = int(np.flatnonzero(np.isclose(evaluation.params.iouThrs, threshold))[0])
    truth_start = np.cumsum([0, *map(len, truths)]) + 1  # annotation ids count on over the frames
    found_start = np.cumsum([0, *map(len, detections)]) + 1
    compared = 0
    for result in evaluation.evalImgs:
        if result is None or result["aRng"] != evaluation.params.areaRng[0]:
            continue
        i = result["image_id"] - 1
        ours = matching.match(truths[i], detections[i], threshold)
        for d, matched, ignored in zip(result["dtIds"], result["dtMatches"][at], result["dtIgnore"][at], strict=True):
            own = d - found_start[i]
            assert ours.ignored[own] == bool(ignored)
            if not ignored:
                assert ours.truth[own] == (matched - truth_start[i] if matched else -1)
            compared += 1
    assert compared == sum(map(len, detections))


@pytest.mark.parametrize("seed", range(3))
def test_precision_over_recall_is_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    frames = [random_frame(rng) for _ in range(40)]
    truths, detections = [f[0] for f in frames], [f[1] for f in frames]
    evaluation = pycoco.evaluate(pycoco.dataset(truths, CLASSES), pycoco.results(detections))
    flat = matching.match_frames(truths, detections, 0.5)
    for k in range(len(CLASSES)):
        mine = (flat.label == k) & ~flat.ignored
        precision = coco_precision(flat.score[mine], flat.object[mine] >= 0, int((flat.object_label == k).sum()))
        assert precision == pytest.approx(evaluation.eval["precision"][0, :, k, 0, -1], abs=1e-12)


def test_a_higher_threshold_only_leaves_out() -> None:
    """Matching what is left above a score is the same as leaving out of the whole matching."""
    rng = np.random.default_rng(7)
    frames = [random_frame(rng) for _ in range(30)]
    truths = [f[0] for f in frames]
    cut = [above(f, np.float32(0.5)) for _, f in frames]
    whole = matching.match_frames(truths, [f for _, f in frames], 0.5)
    part = matching.match_frames(truths, cut, 0.5)
    at, none = np.array([0.5, 0.5]), np.zeros(2)
    assert whole.found(at).tolist() == part.found(none).tolist()
    assert whole.hits(at).sum() == part.hits(none).sum()
    assert whole.false_alarms(at).sum() == part.false_alarms(none).sum()


@pytest.mark.parametrize("pairs", [matching.PAIRS, 64], ids=["at-once", "in-parts"])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.75])
def test_all_frames_at_a_time_match_as_each_alone(
    threshold: float, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "PAIRS", pairs)
    rng = np.random.default_rng(11)
    frames = [random_frame(rng) for _ in range(60)]
    flat = matching.match_overlaps(matching.overlaps([t for t, _ in frames], [f for _, f in frames]), threshold)
    alone = [matching.match(t, f, threshold) for t, f in frames]
    assert flat.iou.tolist() == np.concatenate([m.iou for m in alone]).tolist()
    assert flat.ignored.tolist() == np.concatenate([m.ignored for m in alone]).tolist()
    real = [np.cumsum(~t.ignore) - 1 for t, _ in frames]
    starts = np.cumsum([0, *(int((~t.ignore).sum()) for t, _ in frames)])
    expected = [
        start + numbers[t] if t >= 0 else -1
        for m, numbers, start in zip(alone, real, starts, strict=False)
        for t in m.truth
    ]
    assert flat.object.tolist() == expected
    assert (flat.object >= 0).sum() > 20


def test_pairs_come_in_the_order_of_choosing() -> None:
    """Best score first; for each the largest IoU first, of equals the last object; other classes are pairs too."""
    truths = truth(PERSON, ((0, 0, 10, 5), 1, False), PERSON, ((50, 50, 60, 60), 0, False))
    near = matching.overlaps([truths], [found(((0, 0, 10, 5), 0.5, 0), ((0, 0, 10, 10), 0.9, 0))])
    pairs = list(zip(near.detection.tolist(), near.object.tolist(), near.iou.tolist(), strict=True))
    assert pairs == [(1, 2, 1.0), (1, 0, 1.0), (1, 1, 0.5), (0, 1, 1.0), (0, 2, 0.5), (0, 0, 0.5)]
    assert near.same.tolist() == [True, True, False, False, True, True]


def test_boxes_without_area_overlap_nothing() -> None:
    flat = [((5, 5, 5, 9), 0.9, 0), ((9, 9, 5, 5), 0.9, 0)]
    near = matching.overlaps([truth(PERSON, ((0, 0, 99, 99), 0, True))], [found(*flat)])
    assert len(near.iou) == 0
    assert near.covered.tolist() == [0.0, 0.0]


PERSON: tuple[Box, int, bool] = ((0, 0, 10, 10), 0, False)


@pytest.mark.parametrize(
    ("truths", "detections", "matched", "ignored"),
    [
        pytest.param(truth(PERSON), found(((0, 0, 10, 10), 0.9, 0)), [0], [False], id="hit"),
        pytest.param(truth(PERSON), found(((0, 0, 10, 5), 0.9, 0)), [0], [False], id="at-the-threshold"),
        pytest.param(truth(PERSON), found(((0, 0, 10, 4), 0.9, 0)), [-1], [False], id="below-the-threshold"),
        pytest.param(truth(PERSON), found(((0, 0, 10, 10), 0.9, 1)), [-1], [False], id="other-class"),
        pytest.param(
            truth(PERSON),
            found(((0, 0, 10, 9), 0.5, 0), ((0, 0, 10, 8), 0.9, 0)),
            [-1, 0],
            [False, False],
            id="best-score-takes-it",
        ),
        pytest.param(
            truth(((0, 0, 100, 100), 0, True)),
            found(((0, 0, 10, 10), 0.9, 0), ((50, 50, 60, 60), 0.8, 0)),
            [-1, -1],
            [True, True],
            id="one-region-takes-many",
        ),
        pytest.param(
            truth(((0, 0, 100, 100), 0, True), PERSON),
            found(((0, 0, 10, 10), 0.9, 0)),
            [1],
            [False],
            id="object-before-region",
        ),
        pytest.param(
            truth(((0, 0, 100, 100), 1, True)), found(((0, 0, 10, 10), 0.9, 0)), [-1], [False], id="other-class-region"
        ),
        pytest.param(truth(), found(((0, 0, 10, 10), 0.9, 0)), [-1], [False], id="empty-frame"),
        pytest.param(truth(PERSON), found(), [], [], id="no-detection"),
    ],
)
def test_rules(truths: Truth, detections: Detections, matched: list[int], ignored: list[bool]) -> None:
    result = matching.match(truths, detections, 0.5)
    assert result.truth.tolist() == matched
    assert result.ignored.tolist() == ignored
    assert sorted(result.detection[result.detection >= 0]) == [d for d, t in enumerate(matched) if t >= 0]


def test_flat_tables_point_across_frames() -> None:
    region = ((50, 50, 90, 90), 0, True)
    truths = [truth(region, PERSON), truth(), truth(PERSON, ((20, 0, 30, 20), 1, False))]
    detections = [found(((0, 0, 10, 10), 0.9, 0)), found(((0, 0, 5, 5), 0.8, 0)), found(((20, 0, 30, 20), 0.7, 1))]
    flat = matching.match_frames(truths, detections, 0.5)
    assert flat.frame.tolist() == [0, 1, 2]
    assert flat.object.tolist() == [0, -1, 2]
    assert flat.iou.tolist() == [1.0, 0.0, 1.0]
    assert flat.object_frame.tolist() == [0, 2, 2]
    assert flat.object_label.tolist() == [0, 0, 1]
    assert flat.object_height.tolist() == [10.0, 10.0, 20.0]
    assert flat.object_score.tolist() == pytest.approx([0.9, -1.0, 0.7])


def test_no_frame_at_all() -> None:
    flat = matching.match_frames([], [], 0.5)
    assert len(flat.frame) == len(flat.object_frame) == 0


@pytest.mark.parametrize(
    ("truths", "detections", "pairs"),
    [
        pytest.param(truth(PERSON), found(((0, 0, 10, 10), 0.9, 0)), [(0, 0)], id="hit"),
        pytest.param(truth(PERSON), found(((0, 0, 10, 10), 0.9, 1)), [(0, 1)], id="taken-for-another-class"),
        pytest.param(truth(PERSON), found(), [(0, -1)], id="missed"),
        pytest.param(truth(), found(((0, 0, 10, 10), 0.9, 1)), [(-1, 1)], id="false-alarm"),
        pytest.param(truth(PERSON), found(((0, 0, 10, 10), 0.1, 0)), [(0, -1)], id="below-the-operating-point"),
        pytest.param(
            truth(PERSON),
            found(((0, 0, 10, 10), 0.9, 1), ((0, 0, 10, 10), 0.6, 0)),
            [(0, 0), (-1, 1)],
            id="own-class-first",
        ),
        pytest.param(truth(((0, 0, 99, 99), 0, True)), found(((0, 0, 10, 10), 0.9, 0)), [], id="ignored"),
    ],
)
def test_confusions(truths: Truth, detections: Detections, pairs: list[tuple[int, int]]) -> None:
    near = matching.overlaps([truths], [detections])
    assert matching.confusions(near, matching.match_overlaps(near, 0.5), np.array([0.5, 0.5]), 0.5) == pairs


def test_confusions_go_frame_by_frame() -> None:
    truths = [truth(PERSON), truth(), truth(PERSON)]
    detections = [found(), found(((0, 0, 10, 10), 0.9, 1)), found(((0, 0, 10, 10), 0.9, 0))]
    near = matching.overlaps(truths, detections)
    pairs = matching.confusions(near, matching.match_overlaps(near, 0.5), np.array([0.5, 0.5]), 0.5)
    assert pairs == [(0, -1), (-1, 1), (0, 0)]
