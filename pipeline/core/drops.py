"""What one detector loses against another on the same frames: recall by group, AP, each with its 95 % interval.

Both have seen the same objects, so resamples draw them together (the paired bootstrap): what makes a clip easy or hard
for both cancels out, and the difference is surer than either figure.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.core import bootstrap
from pipeline.core.bootstrap import Resampling
from pipeline.core.groups import Evidence, Group
from pipeline.core.matching import Floats, Mask, Matched, Overlaps, match_overlaps

COCO_IOUS = np.linspace(0.5, 0.95, 10)


def recall_drop(group: Group, evidence: Evidence, other: Mask) -> dict[str, Any]:
    """Recall of a group that is lost; points are shares in 0..1.

    Args:
        group: the objects, at least one.
        evidence: of the reference detector.
        other: (G,) objects that the other detector found at its operating point.

    Returns:
        objects, recall of both, drop, and low and high of its interval where there are clusters enough.
    """
    found = evidence.matched.found(evidence.thresholds)
    before, after = float(found[group.objects].mean()), float(other[group.objects].mean())
    told = {"objects": int(group.objects.sum()), "reference": before, "recall": after, "drop": before - after}
    level = evidence.level(group)
    if level is None:
        return told
    sizes = evidence.sizes(group, level)
    lost = (found.astype(np.float64) - other)[group.objects]
    sums = level.sums(evidence.matched.object_frame[group.objects], lost)
    total, n = level.totals(np.stack([sums, sizes], axis=1))
    drawn = np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)
    return told | interval(before - after, drawn, sizes)


def ap_interval(
    reference: Overlaps, other: Overlaps, frames: int, classes: int, levels: Sequence[Resampling], drop: float
) -> dict[str, float]:
    """The interval of a drop in COCO's AP, at the coarsest clusters that are enough; none where no level has them."""
    everywhere = np.arange(frames)
    for level in levels:
        sizes = level.sums(reference.object_frame)
        if bootstrap.enough(sizes):
            drawn = _average_precisions(reference, classes, level) - _average_precisions(other, classes, level)
            return interval(drop, drawn, level.sums(everywhere))
    return {}


def _average_precisions(near: Overlaps, classes: int, level: Resampling) -> Floats:
    """AP, mean over COCO's IoUs and the classes that a resample drew, in every resample: (R,)."""
    values = [_of_class(match_overlaps(near, float(iou)), k, level) for iou in COCO_IOUS for k in range(classes)]
    parts = np.stack(values)
    drawn = np.isfinite(parts)
    total, count = np.where(drawn, parts, 0).sum(axis=0), drawn.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0))


def _of_class(matched: Matched, k: int, level: Resampling) -> Floats:
    mine = np.flatnonzero((matched.label == k) & ~matched.ignored)
    mine = mine[np.argsort(-matched.score[mine], kind="stable")]
    objects = level.sums(matched.object_frame[matched.object_label == k])
    return bootstrap.average_precisions(level, matched.frame[mine], matched.object[mine] >= 0, objects)


def interval(drop: float, drawn: Floats, sizes: Floats) -> dict[str, float]:
    """Low and high of a difference, from its replicates (R,) and the sizes (C,) of the clusters; none where undefined.

    Where no resample differs, nothing is known of the spread, so nothing is said: rare losses are not excluded.
    """
    clusters = bootstrap.effective(sizes)
    error = bootstrap.spread(drawn, clusters)
    if error is None or error <= 1e-12:
        return {}
    half = bootstrap.quantile(clusters) * error
    return {"low": drop - half, "high": drop + half}
