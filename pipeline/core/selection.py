"""What should people label next? Signals of each frame in 0..1, and a choice of frames that differ.

Uncertainty sampling (Lewis and Gale 1994) over detections, disagreement between a picture and its mirror image
(consistency, Elezi et al., CVPR 2022), conditions in which the detector is weak or unproven, and distance from what is
labelled. One frame after the other is chosen by its score, its distance from those chosen before (k-centre greedy,
Sener and Savarese, ICLR 2018), and how often its camera had a turn; of scenes too near one another the best is taken.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import iou
from pipeline.core.matching import Floats, Mask
from pipeline.core.params import SelectParams
from pipeline.core.types import Detections, Frame

HALF = 0.5  # share of its threshold at which a box still counts as seen again in the other view
BLOCK = 512  # frames compared with all others at a time


@dataclass(frozen=True, slots=True)
class Pick:
    """A chosen frame, in the order of choosing."""

    index: int
    novelty: float  # 0..1, distance to the nearest frame chosen before; 1 for the first
    worth: float  # score, times novelty to the power of the diversity, times the turn of its camera


def doubts(found: Detections, thresholds: Floats) -> Floats:
    """How undecided each detection is, (N,): 1 at its class's threshold, 0 from half-way to certainty on, both ways.

    >>> boxes, labels = np.zeros((3, 4), np.float32), np.zeros(3, np.int64)
    >>> doubts(Detections(boxes, np.array([0.75, 0.5, 0.375], np.float32), labels), np.array([0.5])).tolist()
    [0.0, 1.0, 0.5]
    """
    at = thresholds[found.labels]
    above = found.scores >= at
    reach = np.where(above, 1 - at, at)
    far = np.abs(found.scores - at) / np.maximum(reach, 1e-9)
    return np.asarray(np.clip(1 - 2 * far, 0, 1), np.float64)


def uncertainty(found: Detections, thresholds: Floats) -> float:
    """How much of a frame is undecided: 1 - exp(-sum of doubts), so that each further box adds less."""
    return 1 - math.exp(-float(doubts(found, thresholds).sum()))


def disagreement(found: Detections, mirrored: Detections, thresholds: Floats) -> float:
    """How differently a frame and its mirror image are seen, both in the frame's pixels.

    The mean, over every box that either view reports, of 1 - IoU with the nearest box of its class in the other view,
    where a box from half its threshold on counts as seen. 0 where neither reports any.
    """
    moved = [*_unlike(found, mirrored, thresholds), *_unlike(mirrored, found, thresholds)]
    return float(np.mean(moved)) if moved else 0.0


def _unlike(found: Detections, other: Detections, thresholds: Floats) -> list[float]:
    reported = found.scores >= thresholds[found.labels]
    there = other.scores >= HALF * thresholds[other.labels]
    same = (found.labels[:, None] == other.labels) & there
    overlap = np.where(same, iou(found.boxes, other.boxes), 0.0).max(axis=1, initial=0.0)
    return list((1 - overlap[reported]).tolist())


def standardised(embeddings: NDArray[np.floating]) -> Floats:
    """Embeddings (N, D) with mean 0 and deviation 1 in each dimension, then scaled to length 1."""
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-9)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(np.divide(scaled, length, out=np.zeros_like(scaled), where=length > 0), np.float64)


def nearest(embeddings: Floats, others: Floats) -> Floats:
    """Distance (N,) in 0..1 of each standardised embedding to the nearest of the others; 1 where there is none.

    Half of 1 - cosine: 0 the same, 0.5 unrelated, 1 opposite.
    """
    result = np.ones(len(embeddings))
    for start in range(0, len(embeddings) if len(others) else 0, BLOCK):
        cosine = (embeddings[start : start + BLOCK] @ others.T).max(axis=1)
        result[start : start + BLOCK] = np.clip((1 - cosine) / 2, 0, 1)
    return result


def rarity(distances: Floats) -> Floats:
    """Share of the other frames that are nearer to a labelled one, (N,); equals share a place.

    >>> rarity(np.array([0.3, 0.1, 0.1, 0.9])).round(2).tolist()
    [0.67, 0.0, 0.0, 1.0]
    """
    below = np.searchsorted(np.sort(distances), distances, side="left")
    return np.asarray(below / max(len(distances) - 1, 1), np.float64)


def combined(signals: Sequence[Mapping[str, float]], weights: Mapping[str, float]) -> Floats:
    """Weighted mean (N,) of the signals that each frame has; 0 where all their weights are 0.

    >>> combined([{"rarity": 1.0, "uncertainty": 0.5}, {"rarity": 0.5}], {"rarity": 1.0, "uncertainty": 3.0}).tolist()
    [0.625, 0.5]
    """
    scores = []
    for own in signals:
        total = sum(weights[name] for name in own)
        scores.append(sum(weights[name] * value for name, value in own.items()) / total if total else 0.0)
    return np.array(scores, np.float64)


class Looks:
    """Which frames show a scene that is taken already."""

    def __init__(self, frames: Sequence[Frame], p: SelectParams) -> None:
        self._p = p
        self._clips = np.array([frame.clip for frame in frames], np.str_)
        self._scenes = np.array(["" if f.timestamp_s is None else f.camera for f in frames], np.str_)
        self._times = np.array([np.nan if f.timestamp_s is None else f.timestamp_s for f in frames], np.float64)
        self._hashed = np.array([bool(frame.phash) for frame in frames], np.bool_)
        self._hashes = np.array([int(frame.phash or "0", 16) for frame in frames], np.uint64)

    def like(self, frame: Frame) -> Mask:
        """Frames (N,) nearer than the gap in time of its clip; or, but for its own fixed camera's, alike by hash.

        A fixed camera's frames look alike by nature, whatever moves in them, so for them distance in time decides.
        """
        result = np.zeros(len(self._clips), np.bool_)
        if frame.timestamp_s is not None:
            near = np.abs(self._times - frame.timestamp_s) < self._p.gap_s - 1e-6  # NaN is never near
            result |= (self._clips == frame.clip) & near
        if frame.phash:
            close = np.bitwise_count(self._hashes ^ np.uint64(int(frame.phash, 16))) <= self._p.near_duplicate_bits
            other = (self._scenes == "") | (self._scenes != frame.camera)
            result |= close & self._hashed & other
        return result


def choose(
    scores: Floats, embeddings: Floats, frames: Sequence[Frame], taken: Sequence[Frame], budget: int, p: SelectParams
) -> tuple[list[Pick], int]:
    """At most `budget` frames, one after the other; the first of equals.

    A frame's worth is its score, times its distance from the frames chosen before to the power of `diversity`, times
    sqrt(n + 1) - sqrt(n) for the n frames that its camera gave before: the gain of a sum of square roots, which
    favours the camera that had fewest turns (Lin and Bilmes, ACL 2011).

    Args:
        scores: (N,) in 0..1.
        embeddings: (N, D) standardised.
        frames: the candidates.
        taken: frames that need no labels; what looks like one of them is left out.
        budget: how many.
        p: section `select`.

    Returns:
        the choice, and how many candidates were near duplicates of frames taken.
    """
    looks = Looks(frames, p)
    free = np.ones(len(frames), np.bool_)
    for frame in taken:
        free &= ~looks.like(frame)
    duplicates = int((~free).sum())
    novelty: Floats = np.ones(len(frames))
    turns = Counter[str]()
    cameras = [frame.camera for frame in frames]
    picks: list[Pick] = []
    while free.any() and len(picks) < budget:
        turn = np.array([math.sqrt(turns[camera] + 1) - math.sqrt(turns[camera]) for camera in cameras])
        worth = np.where(free, scores * novelty**p.diversity * turn, -1.0)
        best = int(worth.argmax())
        picks.append(Pick(best, float(novelty[best]), float(worth[best])))
        free &= ~looks.like(frames[best])
        free[best] = False
        turns[cameras[best]] += 1
        novelty = np.minimum(novelty, nearest(embeddings, embeddings[best : best + 1]))
    return picks, duplicates
