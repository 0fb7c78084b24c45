"""The cluster bootstrap: how sure a figure is when boxes of one clip resemble each other.

Whole clusters are drawn again with replacement (Davison and Hinkley 1997, section 3.8): every box of a cluster comes
along, so what its boxes share is in the spread. A figure is computed from sums a cluster, so that all resamples are one
matrix product. An interval takes from the bootstrap the standard error alone. Percentiles of few clusters promise more
than they hold; so the interval is Student's, with one degree of freedom less than there are effective clusters (Kish
1965: unequal clusters tell less), drawn on the log-odds so that it stays within 0 and 1. benchmarks/groups.py measures
what it holds.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import stdtrit

from pipeline.core.statistics import MIN_CLUSTERS, wilson
from pipeline.core.types import Frame

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Figure = NDArray[np.float32]

CLIPS, BLOCKS, IMAGES = "camera x clip", "time block", "image"
BATCH = 64  # resamples drawn at a time: their counts stay in the processor's cache
STEPS = 128  # of a precision-recall curve
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """Resamples of a benchmark's clusters. F = number of frames, C = of clusters, R = of resamples."""

    unit: str  # what a cluster is
    of_frame: Indices  # (F,) the cluster of each frame
    counts: Figure  # (C, R) how often each resample draws each cluster

    def sums(self, frame: Indices, values: NDArray[np.generic] | None = None) -> Floats:
        """Values (N,) of rows in frames (N,), one each where not given, added up by cluster: (C,)."""
        weights = None if values is None else values.astype(np.float64)
        return np.bincount(self.of_frame[frame], weights, minlength=len(self.counts)).astype(np.float64)

    def totals(self, by_cluster: Floats) -> Floats:
        """Sums by cluster (C, S) added up in every resample: (S, R)."""
        used = np.flatnonzero(by_cluster.any(axis=1))
        few = 2 * len(used) < len(self.counts)
        rows, counts = (by_cluster[used], self.counts[used]) if few else (by_cluster, self.counts)
        return (rows.T.astype(np.float32) @ counts).astype(np.float64)


def resampling(unit: str, keys: Sequence[Hashable], resamples: int, seed: int) -> Resampling:
    """Draw resamples of clusters; frames (F,) with an equal key are one cluster. The same seed draws the same."""
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    clusters = max(len(number), 1)
    rng = np.random.default_rng(seed)
    counts = np.zeros((clusters, resamples), np.float32)
    for start in range(0, resamples, BATCH):
        part = counts[:, start : start + BATCH]
        size = part.shape[1]
        drawn = rng.integers(0, clusters, (size, clusters)) * size + np.arange(size)[:, None]
        part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
    return Resampling(unit, np.array([number[key] for key in keys], np.int64), counts)


def levels(frames: Sequence[Frame], block_s: float, resamples: int, seed: int) -> tuple[Resampling, ...]:
    """Resamplings of a benchmark, the coarsest first: by camera x clip, then by time block, or image without a time.

    Clips of a camera are the right clusters, but a site may have one clip a camera. Then a clip is cut into blocks
    (Carlstein 1986, the block bootstrap); what they tell holds for these cameras at other times, for no other camera.

    Args:
        frames: of the benchmark.
        block_s: length of a time block, seconds.
        resamples: how many.
        seed: of the draws.
    """
    clips: list[Hashable] = [(frame.camera, frame.clip) for frame in frames]
    fine: list[Hashable] = [
        frame.frame_id if time is None else (frame.camera, frame.clip, math.floor(time / block_s))
        for frame in frames
        for time in [frame.timestamp_s]
    ]
    by_clip = [(CLIPS, clips)] if len(set(clips)) >= MIN_CLUSTERS else []
    timed = any(frame.timestamp_s is not None for frame in frames)
    named = [*by_clip, (BLOCKS if timed else IMAGES, fine)]
    return tuple(resampling(unit, keys, resamples, seed) for unit, keys in named)


def effective(sizes: Floats) -> float:
    """How many equal clusters tell as much as clusters of these sizes (Kish 1965).

    >>> effective(np.array([5.0, 5.0, 5.0, 0.0]))
    3.0
    """
    squares = float((sizes**2).sum())
    return float(sizes.sum()) ** 2 / squares if squares else 0.0


def enough(sizes: Floats) -> bool:
    """Whether so many clusters have something in them that an interval keeps what it promises."""
    return int((sizes > 0).sum()) >= MIN_CLUSTERS


def quantile(clusters: float, alpha: float = 1 - CONFIDENCE) -> float:
    """Student's two-sided quantile for a number of effective clusters, at least two."""
    return float(stdtrit(max(clusters - 1, 1.0), 1 - alpha / 2))


def spread(replicates: Floats, clusters: float) -> float | None:
    """Standard error from a figure's replicates (R,), NaN where undefined; None where fewer than half are defined.

    A resample of n clusters varies by (n - 1) / n too little, which is given back (Davison and Hinkley, section 2.3).
    """
    defined = replicates[np.isfinite(replicates)]
    if 2 * len(defined) < len(replicates) or len(defined) < 2:
        return None
    return float(defined.std(ddof=1)) * math.sqrt(clusters / max(clusters - 1, 1.0))


def interval(estimate: float, error: float, clusters: float, size: float) -> tuple[float, float]:
    """95 % interval of a figure within 0 and 1.

    Args:
        estimate: the figure.
        error: its standard error.
        clusters: effective number of them.
        size: effective number of objects: what an interval rests on where nothing ever varied, as when all are found.
            It is then Wilson's, with Student's quantile (Franco et al. 2019).
    """
    t = quantile(clusters)
    inside = estimate * (1 - estimate)
    if error <= 1e-9 or inside <= 1e-9:
        return wilson(estimate * size, size, t)
    middle, half = math.log(estimate / (1 - estimate)), min(t * error / inside, 500.0)
    return 1 / (1 + math.exp(half - middle)), 1 / (1 + math.exp(-half - middle))


def correlation(found: Floats, sizes: Floats) -> float:
    """Intra-cluster correlation of hits, 0..1, by the analysis of variance (Donner 1986, Int. Stat. Review 54).

    Args:
        found: (C,) objects found in each cluster.
        sizes: (C,) objects in each cluster.
    """
    n, y = sizes[sizes > 0], found[sizes > 0]
    clusters, objects = len(n), n.sum()
    if clusters < 2 or objects <= clusters:
        return 0.0
    within = (y * (1 - y / n)).sum() / (objects - clusters)
    between = (n * (y / n - y.sum() / objects) ** 2).sum() / (clusters - 1)
    typical = (objects - (n**2).sum() / objects) / (clusters - 1)
    total = between + (typical - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 else 0.0


def design_effect(correlation: float, sizes: Floats) -> float:
    """By how much correlated clusters of these sizes (C,) inflate a share's variance (Kish 1965), at least 1.

    >>> design_effect(0.1, np.array([11.0, 11.0, 0.0]))
    2.0
    """
    total = float(sizes.sum())
    return 1 + (float((sizes**2).sum()) / total - 1) * correlation if total else 1.0


def average_precisions(drawn: Resampling, frame: Indices, hit: Mask, objects: Floats) -> Floats:
    """COCO's average precision in every resample: (R,), NaN where a resample draws no object.

    A recall point r counts to the first hit whose recall is at least r. So AP is a sum over hits: the points that each
    takes, times the best precision from there on. Beyond `STEPS` hits, neighbours by score stand together: that moves
    AP by less than a recall point does, and leaves its spread as it is.

    Args:
        drawn: the resamples.
        frame: (N,) frames of one class's detections that are not ignored, best score first.
        hit: (N,) whether each found an object.
        objects: (C,) objects in each cluster.
    """
    clusters = len(drawn.counts)
    wanted = drawn.totals(objects[:, None])[0].astype(np.float32)
    hits = int(hit.sum())
    turn: Indices = np.cumsum(hit) - hit  # a false alarm bears on the next hit; after the last one nothing counts
    kept = turn < hits
    cluster, hit = drawn.of_frame[frame[kept]], hit[kept]
    step = np.asarray(turn[kept] * min(hits, STEPS) // max(hits, 1), np.int64)
    taken = _running(step, cluster, (min(hits, STEPS), clusters), drawn.counts)
    found = _running(step[hit], cluster[hit], (min(hits, STEPS), clusters), drawn.counts)
    best = np.maximum.accumulate((found / np.maximum(taken, 1))[::-1], axis=0)[::-1]
    points = np.floor(100 * found / np.maximum(wanted, 1) + np.float32(1e-4))  # of 29 / 100 in float32 too
    points[1:] -= points[:-1].copy()
    points[:1] += 1  # the point at recall 0 is the first hit's
    return np.where(wanted > 0, np.einsum("sr,sr->r", points, best) / 101, np.nan)


def _running(step: Indices, cluster: Indices, shape: tuple[int, int], counts: Figure) -> Figure:
    """Detections up to each step in every resample: (S, R), of detections at (step, cluster) in (S, C) of them."""
    ones = np.ones(len(step), np.float32)
    by_step = csr_array((ones, (step, cluster)), shape=shape) @ counts
    return cast("Figure", np.cumsum(by_step, axis=0))
