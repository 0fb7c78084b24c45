"""Detections matched to truths as COCO does: greedy by score, within a class, ignore regions neither hit nor miss.

What overlaps is found once (`overlaps`), for all frames at a time, and matched at any IoU (`match_overlaps`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import area, coverage, iou
from pipeline.core.types import Detections, Truth

S = TypeVar("S", bound=np.generic)
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
PAIRS = 1 << 20  # pairs of boxes compared at a time: what they take in memory


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """One frame's matches. N = number of detections, M = number of truths, ignore regions included."""

    truth: Indices  # (N,) index of the matched truth, -1 for none
    iou: Floats  # (N,) with the matched truth, 0 for none
    ignored: Mask  # (N,) unmatched and inside an ignore region
    detection: Indices  # (M,) index of the matched detection, -1 for none


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Many frames' matches, flat. D = number of detections, G = number of objects; ignore regions are no objects.

    Matching is greedy by score, so what a higher score threshold would leave is found by leaving out lower scores.
    """

    frame: Indices  # (D,) position of the frame
    label: Indices  # (D,)
    score: NDArray[np.float32]  # (D,)
    height: Floats  # (D,) pixels of the source frame
    iou: Floats  # (D,) with the matched object, 0 for none
    object: Indices  # (D,) the matched object, -1 for none
    ignored: Mask  # (D,) unmatched and inside an ignore region
    object_frame: Indices  # (G,)
    object_label: Indices  # (G,)
    object_height: Floats  # (G,) pixels of the source frame
    object_score: NDArray[np.float32]  # (G,) of the matched detection, -1 for none

    def hits(self, thresholds: Floats) -> Mask:
        """Which detections (D,) at or above their class's threshold (C,) found an object."""
        return (self.object >= 0) & (self.score >= thresholds[self.label])

    def false_alarms(self, thresholds: Floats) -> Mask:
        """Which detections (D,) at or above their class's threshold (C,) found nothing, outside ignore regions."""
        return (self.object < 0) & ~self.ignored & (self.score >= thresholds[self.label])

    def found(self, thresholds: Floats) -> Mask:
        """Which objects (G,) a detection at or above their class's threshold (C,) found."""
        return (self.object_score >= 0) & (self.object_score >= thresholds[self.object_label])


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """What overlaps in many frames, flat. D = number of detections, G of objects, P of pairs that overlap.

    A pair is a detection and an object of the same frame, of any classes. Pairs are in the order in which detections
    choose: best score first, and for each the largest IoU first (of equals, the last object).
    """

    frame: Indices  # (D,) position of the frame
    label: Indices  # (D,)
    score: NDArray[np.float32]  # (D,)
    boxes: NDArray[np.float32]  # (D, 4) pixel xyxy
    covered: Floats  # (D,) the largest share of it that lies in an ignore region of its class
    object_frame: Indices  # (G,)
    object_label: Indices  # (G,)
    object_height: Floats  # (G,) pixels of the source frame
    detection: Indices  # (P,)
    object: Indices  # (P,)
    iou: Floats  # (P,) above 0

    @property
    def same(self) -> Mask:
        """Which pairs (P,) are of one class."""
        return np.asarray(self.label[self.detection] == self.object_label[self.object])


def overlaps(truths: Sequence[Truth], found: Sequence[Detections]) -> Overlaps:
    """What overlaps in each frame; detections and objects keep the order of the frames."""
    label, score = _join([f.labels for f in found], np.int64), _join([f.scores for f in found], np.float32)
    boxes, truth_boxes = _boxes([f.boxes for f in found]), _boxes([t.boxes for t in truths])
    truth_label = _join([t.labels for t in truths], np.int64)
    real = ~_join([t.ignore for t in truths], np.bool_)
    d, t, shared = _pairs(_starts(found), _starts(truths), boxes, truth_boxes)
    inside = ~real[t] & (label[d] == truth_label[t])
    covered = np.zeros(len(label))
    np.maximum.at(covered, d[inside], shared[inside] / area(boxes)[d[inside]])
    d, t, shared = d[real[t]], t[real[t]], shared[real[t]]
    ious = shared / (area(boxes)[d] + area(truth_boxes)[t] - shared)
    order = np.lexsort((-t, -ious, _ranks(score)[d]))
    return Overlaps(
        frame=_repeat([len(f) for f in found]),
        label=label,
        score=score,
        boxes=boxes,
        covered=covered,
        object_frame=_repeat([len(t) for t in truths])[real],
        object_label=truth_label[real],
        object_height=_heights(truth_boxes[real]),
        detection=d[order],
        object=(np.cumsum(real) - 1)[t[order]],
        iou=ious[order],
    )


def match_overlaps(near: Overlaps, threshold: float) -> Matched:
    """Match every frame, from IoU `threshold` on, by the rule of `match`."""
    threshold = _admitting(threshold)
    fit = near.same & (near.iou >= threshold)
    matched, detection, shared = _assign(near, fit)
    return Matched(
        frame=near.frame,
        label=near.label,
        score=near.score,
        height=_heights(near.boxes),
        iou=shared,
        object=matched,
        ignored=(matched < 0) & (near.covered >= threshold),
        object_frame=near.object_frame,
        object_label=near.object_label,
        object_height=near.object_height,
        object_score=_scores(detection, near.score),
    )


def _assign(near: Overlaps, fit: Mask) -> tuple[Indices, Indices, Floats]:
    """The object of each detection, the detection of each object (-1 for none), and the IoU (0 for none)."""
    matched, detection = choose(near.detection[fit], near.object[fit], len(near.label), len(near.object_label))
    shared = np.zeros(len(near.label))
    taken = matched[near.detection] == near.object
    shared[near.detection[taken]] = near.iou[taken]
    return matched, detection, shared


def choose(detections: Indices, objects: Indices, n: int, m: int) -> tuple[Indices, Indices]:
    """Give each pair (P,) its turn: it is taken where both sides are still free; -1 for none.

    Returns:
        the object of each of `n` detections, and the detection of each of `m` objects.
    """
    matched, detection = [-1] * n, [-1] * m  # lists: faster than arrays, one value at a time
    for d, t in zip(detections.tolist(), objects.tolist(), strict=True):
        if matched[d] < 0 and detection[t] < 0:
            matched[d], detection[t] = t, d
    return np.array(matched, np.int64), np.array(detection, np.int64)


def match(truth: Truth, found: Detections, threshold: float) -> Matches:
    """Match one frame's detections.

    As in COCO's evaluation, the best detection takes the free truth of its class that it overlaps most, from IoU
    `threshold` on (the last one of equals); a detection left over is ignored where at least that share of it lies in
    an ignore region of its class.
    """
    threshold = _admitting(threshold)
    same = found.labels[:, None] == truth.labels[None, :]
    overlap = np.where(same & ~truth.ignore, iou(found.boxes, truth.boxes), 0.0)
    matched, detection = greedy(overlap, found.scores, threshold)
    covered = (same & truth.ignore & (coverage(found.boxes, truth.boxes) >= threshold)).any(axis=1)
    rows = np.arange(len(found))
    shared = np.where(matched >= 0, overlap[rows, matched], 0.0) if len(truth) else np.zeros(len(found))
    return Matches(matched, shared, covered & (matched < 0), detection)


def greedy(overlap: Floats, scores: NDArray[np.float32], threshold: float) -> tuple[Indices, Indices]:
    """Index of the truth for each detection, and of the detection for each truth; -1 for none."""
    d, t = np.nonzero(overlap >= threshold)
    order = np.lexsort((-t, -overlap[d, t], _ranks(scores)[d]))
    return choose(d[order], t[order], *overlap.shape)


def match_frames(truths: Sequence[Truth], found: Sequence[Detections], threshold: float) -> Matched:
    """Match every frame; detections and objects keep the order of the frames."""
    return match_overlaps(overlaps(truths, found), threshold)


def confusions(near: Overlaps, matched: Matched, thresholds: Floats, threshold: float) -> list[tuple[int, int]]:
    """(actual, predicted) classes at the operating point, frame by frame; -1 is the background.

    An object is first given to a detection of its own class, as `match` does; what is left over on both sides is
    matched across classes; then what is still left is a miss or a false alarm. Ignored detections are left out.

    Args:
        near: what overlaps.
        matched: the same, matched at `threshold`.
        thresholds: (C,) operating threshold by class.
        threshold: least IoU.
    """
    hits, surplus = matched.hits(thresholds), matched.false_alarms(thresholds)
    missed = ~matched.found(thresholds)
    fit = surplus[near.detection] & missed[near.object] & (near.iou >= _admitting(threshold))
    across, detection, _ = _assign(near, fit)
    nowhere = missed & (detection < 0)
    label, actual = near.label, near.object_label
    parts = [
        (near.frame[hits], label[hits], label[hits]),
        (near.frame[surplus], _through(across, actual)[surplus], label[surplus]),
        (near.object_frame[nowhere], actual[nowhere], np.full(int(nowhere.sum()), -1)),
    ]
    frame, truth, said = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(frame, kind="stable")
    return list(zip(truth[order].tolist(), said[order].tolist(), strict=True))


def _admitting(threshold: float) -> float:
    """As pycocotools: a threshold of 1 still admits equal boxes."""
    return min(threshold, 1 - 1e-10)


def _pairs(
    detections: Indices, truths: Indices, boxes: NDArray[np.float32], truth_boxes: NDArray[np.float32]
) -> tuple[Indices, Indices, Floats]:
    """Detection, truth and shared area (pixels^2) of each pair (P,) of a frame that overlaps.

    Args:
        detections: (F + 1,) where each frame's detections begin, and where the last one's end.
        truths: (F + 1,) the same for truths.
        boxes: (D, 4) of the detections.
        truth_boxes: (M, 4) of the truths, ignore regions included.
    """
    n, m = np.diff(detections), np.diff(truths)
    parts = []
    for frames in np.split(np.arange(len(n)), np.flatnonzero(np.diff(np.cumsum(n * m) // PAIRS)) + 1):
        size = n[frames] * m[frames]
        of = np.repeat(frames, size)
        place = np.arange(len(of)) - np.repeat(np.cumsum(size) - size, size)
        d, t = detections[of] + place // m[of], truths[of] + place % m[of]
        a, b = boxes[d].astype(np.float64), truth_boxes[t].astype(np.float64)
        sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
        there = (sides > 0).all(axis=1)
        parts.append((d[there], t[there], sides[there].prod(axis=1)))
    d, t, shared = (np.concatenate(column) for column in zip(*parts, strict=True))
    return d, t, shared


def _starts(frames: Sequence[Truth] | Sequence[Detections]) -> Indices:
    return np.cumsum([0, *map(len, frames)])


def _ranks(scores: NDArray[np.float32]) -> Indices:
    """Place of each detection in the order of choosing: best first, ties in the order given."""
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return ranks


def _boxes(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate([np.zeros((0, 4), np.float32), *parts])


def _heights(boxes: NDArray[np.floating]) -> Floats:
    return np.asarray(boxes[:, 3].astype(np.float64) - boxes[:, 1])


def _through(index: Indices, target: Indices) -> Indices:
    """`target[index]`, where -1 stays -1."""
    return np.append(target, -1)[index]


def _scores(index: Indices, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.append(scores, np.float32(-1))[index]


def _repeat(counts: list[int]) -> Indices:
    return np.repeat(np.arange(len(counts)), counts)


def _join(parts: Sequence[NDArray[S]], dtype: type[S]) -> NDArray[S]:
    return np.asarray(np.concatenate([np.zeros(0, dtype), *parts]), dtype)
