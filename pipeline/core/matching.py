"""Detections matched to truths as COCO does: greedy by score, within a class, ignore regions neither hit nor miss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import coverage, iou
from pipeline.core.types import Detections, Truth

S = TypeVar("S", bound=np.generic)
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


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


def match(truth: Truth, found: Detections, threshold: float) -> Matches:
    """Match one frame's detections.

    As in COCO's evaluation, the best detection takes the free truth of its class that it overlaps most, from IoU
    `threshold` on (the last one of equals); a detection left over is ignored where at least that share of it lies in
    an ignore region of its class.
    """
    threshold = min(threshold, 1 - 1e-10)  # as pycocotools: a threshold of 1 still admits equal boxes
    same = found.labels[:, None] == truth.labels[None, :]
    overlap = np.where(same & ~truth.ignore, iou(found.boxes, truth.boxes), 0.0)
    matched, detection = _greedy(overlap, found.scores, threshold)
    covered = (same & truth.ignore & (coverage(found.boxes, truth.boxes) >= threshold)).any(axis=1)
    rows = np.arange(len(found))
    shared = np.where(matched >= 0, overlap[rows, matched], 0.0) if len(truth) else np.zeros(len(found))
    return Matches(matched, shared, covered & (matched < 0), detection)


def _greedy(overlap: Floats, scores: NDArray[np.float32], threshold: float) -> tuple[Indices, Indices]:
    """Index of the truth for each detection, and of the detection for each truth; -1 for none."""
    n, m = overlap.shape
    matched, detection = np.full(n, -1, np.int64), np.full(m, -1, np.int64)
    order = np.argsort(-scores, kind="stable")
    near = np.any(overlap >= threshold, axis=1)  # few: most detections overlap no truth
    for d in order[near[order]]:
        free = np.where(detection < 0, overlap[d], -1.0)
        best = m - 1 - int(np.argmax(free[::-1]))
        if free[best] >= threshold:
            matched[d], detection[best] = best, d
    return matched, detection


def match_frames(truths: Sequence[Truth], found: Sequence[Detections], threshold: float) -> Matched:
    """Match every frame; detections and objects keep the order of the frames."""
    frames = [match(t, f, threshold) for t, f in zip(truths, found, strict=True)]
    real = [~t.ignore for t in truths]
    starts = np.cumsum([0, *(int(r.sum()) for r in real)])
    positions = [np.where(r, start + np.cumsum(r) - 1, -1) for r, start in zip(real, starts, strict=False)]
    return Matched(
        frame=_repeat([len(f) for f in found]),
        label=_join([f.labels for f in found], np.int64),
        score=_join([f.scores for f in found], np.float32),
        height=_join([_heights(f.boxes) for f in found], np.float64),
        iou=_join([m.iou for m in frames], np.float64),
        object=_join([_through(m.truth, p) for m, p in zip(frames, positions, strict=True)], np.int64),
        ignored=_join([m.ignored for m in frames], np.bool_),
        object_frame=_repeat([int(r.sum()) for r in real]),
        object_label=_join([t.labels[r] for t, r in zip(truths, real, strict=True)], np.int64),
        object_height=_join([_heights(t.boxes[r]) for t, r in zip(truths, real, strict=True)], np.float64),
        object_score=_join(
            [_scores(m.detection[r], f.scores) for m, r, f in zip(frames, real, found, strict=True)], np.float32
        ),
    )


def confusions(
    truths: Sequence[Truth], found: Sequence[Detections], thresholds: Floats, threshold: float
) -> list[tuple[int, int]]:
    """(actual, predicted) classes at the operating point; -1 is the background.

    An object is first given to a detection of its own class, as `match` does; what is left over on both sides is
    matched across classes; then what is still left is a miss or a false alarm. Ignored detections are left out.
    """
    pairs: list[tuple[int, int]] = []
    for truth, every in zip(truths, found, strict=True):
        kept = _take(every, every.scores >= thresholds[every.labels])
        own = match(truth, kept, threshold)
        missed = np.flatnonzero((own.detection < 0) & ~truth.ignore)
        surplus = np.flatnonzero((own.truth < 0) & ~own.ignored)
        across, detection = _greedy(iou(kept.boxes[surplus], truth.boxes[missed]), kept.scores[surplus], threshold)
        pairs += [(int(label), int(label)) for label in kept.labels[own.truth >= 0]]
        pairs += [
            (int(truth.labels[missed[t]]) if t >= 0 else -1, int(label))
            for t, label in zip(across, kept.labels[surplus], strict=True)
        ]
        pairs += [(int(label), -1) for label in truth.labels[missed[detection < 0]]]
    return pairs


def _take(found: Detections, keep: Mask) -> Detections:
    return Detections(found.boxes[keep], found.scores[keep], found.labels[keep])


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
