"""Is one detector better than another on the same frames, and how sure is that?

Both are scored on the same truths, and both in the same resamples of clusters (Davison and Hinkley 1997, section 3.8):
what makes a resample hard for one makes it hard for the other, and cancels in the difference. The difference in AP is
that on the frames as they are, its standard error comes from the resamples, its interval is Student's as in
`core.comparisons`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core import bootstrap
from pipeline.core.bootstrap import Resampling
from pipeline.core.matching import Floats, Matched, match_overlaps, overlaps
from pipeline.core.metrics import coco_precision
from pipeline.core.types import Detections, Truth

IOUS = np.linspace(0.5, 0.95, 10)  # COCO's


@dataclass(frozen=True, slots=True)
class Difference:
    """What one detector has over another, in AP."""

    figure: float | None  # None where there is no object
    interval: tuple[float, float] | None  # at 95 %; None where there are too few clusters
    objects: int
    clusters: int
    unit: str  # what a cluster is
    ours: float | None  # AP of the first one


def difference(
    truths: Sequence[Truth],
    ours: Sequence[Detections],
    theirs: Sequence[Detections],
    levels: Sequence[Resampling],
) -> Difference:
    """AP of `ours` minus AP of `theirs`.

    Args:
        truths: what is truly in each of F frames.
        ours: detections of one detector in each.
        theirs: detections of the other.
        levels: resamples of the frames, the coarsest clusters first.
    """
    frame = np.repeat(np.arange(len(truths)), [int((~truth.ignore).sum()) for truth in truths])
    level = next((it for it in levels if bootstrap.enough(it.sums(frame))), None)
    drawn = level or levels[-1]
    sizes = drawn.sums(frame)
    clusters = int((sizes > 0).sum())
    if not len(frame):
        return Difference(None, None, 0, 0, drawn.unit, None)
    (mine, mine_drawn), (other, other_drawn) = (average_precision(truths, it, drawn) for it in (ours, theirs))
    interval = None if level is None else _interval(mine - other, mine_drawn - other_drawn, bootstrap.effective(sizes))
    return Difference(mine - other, interval, len(frame), clusters, drawn.unit, mine)


def _interval(figure: float, replicates: Floats, clusters: float) -> tuple[float, float] | None:
    error = bootstrap.spread(replicates, clusters)
    if error is None:
        return None
    half = bootstrap.quantile(clusters) * error
    return max(figure - half, -1.0), min(figure + half, 1.0)


def average_precision(truths: Sequence[Truth], found: Sequence[Detections], drawn: Resampling) -> tuple[float, Floats]:
    """COCO's AP, over IoUs and classes that have an object, as it is and in every resample: (R,)."""
    near = overlaps(truths, found)
    labels = np.unique(near.object_label).tolist()
    parts = [_of_class(match_overlaps(near, iou), label, drawn) for iou in IOUS.tolist() for label in labels]
    replicates = np.stack([replicate for _, replicate in parts])
    there = np.isfinite(replicates)
    total = np.where(there, replicates, 0).sum(axis=0)
    mean = np.divide(total, there.sum(axis=0), out=np.full(len(total), np.nan), where=there.any(axis=0))
    return float(np.mean([figure for figure, _ in parts])), np.asarray(mean)


def _of_class(matched: Matched, label: int, drawn: Resampling) -> tuple[float, Floats]:
    mine = np.flatnonzero((matched.label == label) & ~matched.ignored)
    mine = mine[np.argsort(-matched.score[mine], kind="stable")]
    hit = matched.object[mine] >= 0
    of_class = matched.object_frame[matched.object_label == label]
    figure = float(coco_precision(matched.score[mine], hit, len(of_class)).mean())
    return figure, bootstrap.average_precisions(drawn, matched.frame[mine], hit, drawn.sums(of_class))
