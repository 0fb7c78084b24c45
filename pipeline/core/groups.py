"""Metrics by group: for whom, where and when the detector is good.

A missed object belongs to every group that the object is in. A false alarm belongs to a group only where it has the
attribute itself: a camera, a time, a class, a height. It has no brightness and no occlusion, so for annotated
attributes there are recall and IoU alone. Intervals are those of `core.bootstrap`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, product

import numpy as np

from pipeline.core import bootstrap
from pipeline.core.bootstrap import Resampling
from pipeline.core.matching import Floats, Mask, Matched
from pipeline.core.metrics import coco_precision, rates
from pipeline.core.statistics import MIN_CLUSTERS
from pipeline.core.types import Frame, Truth

OF_FALSE_ALARMS = ("precision", "f1", "false_alarms", "false_alarms_per_frame")
ASSESSABLE, NOT_ASSESSABLE = "assessable", "not assessable"

Figures = dict[str, str | float]
Groups = dict[str, dict[str, Figures]]  # attribute -> value -> figures


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Objects and detections that share a value of an attribute."""

    attribute: str
    value: str
    objects: Mask  # (G,)
    detections: Mask | None  # (D,) false alarms in it; None where they have no such attribute
    frames: int | None = None  # how many, for an attribute of frames

    def hits_and_alarms(self, matched: Matched) -> Mask:
        """Detections (D,) that count here: those that found one of its objects, and its false alarms."""
        by_object = np.append(self.objects, False)[matched.object]
        alarms = False if self.detections is None else self.detections
        return np.where(matched.object >= 0, by_object, alarms & ~matched.ignored)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the figures of groups rest on. C = number of classes."""

    matched: Matched  # at the IoU of the operating point
    at50: Matched  # the same detections and objects matched at IoU 0.5, for AP50
    thresholds: Floats  # (C,) operating threshold by class
    levels: tuple[Resampling, ...]  # the coarsest first
    min_support: int  # with fewer objects nothing is said

    def sizes(self, group: Group, level: Resampling) -> Floats:
        """Objects of a group in each cluster."""
        return level.sums(self.matched.object_frame[group.objects])

    def level(self, *groups: Group) -> Resampling | None:
        """The coarsest clusters that are enough for every one of the groups; None where none are."""
        fit = (it for it in self.levels if all(bootstrap.enough(self.sizes(group, it)) for group in groups))
        return next(fit, None)


def by_class(matched: Matched, classes: Sequence[str]) -> Iterator[Group]:
    """One group a class."""
    for index, name in enumerate(classes):
        yield Group("class", name, matched.object_label == index, matched.label == index)


def by_height(matched: Matched, edges: Sequence[float]) -> Iterator[Group]:
    """Groups of box heights, pixels of the source frame; the lower edge belongs to a group, the upper does not."""
    for low, high in pairwise(edges):
        inside = (matched.object_height >= low) & (matched.object_height < high)
        yield Group("height", f"{low:g}-{high:g} px", inside, (matched.height >= low) & (matched.height < high))


def by_frame(matched: Matched, attribute: str, values: Sequence[str | None]) -> Iterator[Group]:
    """Groups of an attribute that frames have, a value (None: has none) a frame."""
    for value, inside in _members(values):
        yield Group(attribute, value, inside[matched.object_frame], inside[matched.frame], int(inside.sum()))


def by_object(attribute: str, values: Sequence[str | None]) -> Iterator[Group]:
    """Groups of an annotated attribute, a value (None: has none) an object."""
    for value, inside in _members(values):
        yield Group(attribute, value, inside, None)


def _members(values: Sequence[str | None]) -> Iterator[tuple[str, Mask]]:
    """Every value, sorted, and where it stands."""
    names = sorted({value for value in values if value is not None})
    number = {name: i for i, name in enumerate(names)}
    codes = np.array([-1 if value is None else number[value] for value in values], np.int64)
    for i, name in enumerate(names):
        yield name, np.asarray(codes == i)


def everything(matched: Matched, frames: int) -> Group:
    """All objects and all false alarms of so many frames."""
    every = np.ones_like(matched.object_label, np.bool_), np.ones_like(matched.label, np.bool_)
    return Group("all", "all", *every, frames)


def every_group(
    frames: Sequence[Frame], truths: Sequence[Truth], matched: Matched, classes: Sequence[str], edges: Sequence[float]
) -> list[Group]:
    """Groups by class, camera, third of the clip's benchmark, height, and each attribute of frames and objects."""
    groups = [
        *by_class(matched, classes),
        *by_frame(matched, "camera", [f.camera for f in frames]),
        *by_frame(matched, "time", thirds([f.clip for f in frames], [f.timestamp_s for f in frames])),
        *by_height(matched, edges),
    ]
    for name in _names(f.attributes for f in frames):
        groups += by_frame(matched, f"frame {name}", [f.attributes.get(name) for f in frames])
    objects = [a for t in truths for a, ignore in zip(t.attributes, t.ignore, strict=True) if not ignore]
    for name in _names(objects):
        groups += by_object(f"object {name}", [a.get(name) for a in objects])
    return groups


def _names(mappings: Iterable[Mapping[str, str]]) -> list[str]:
    return sorted(set(chain.from_iterable(mappings)))


def slices(groups: Sequence[Group], intersections: Sequence[Sequence[str]]) -> Iterator[Group]:
    """Groups that share a value of each of several attributes; those without an object are left out.

    An intersection that names an attribute which the benchmark does not have gives none.
    """
    of = by_attribute(groups)
    for names in intersections:
        for parts in product(*(of.get(name, []) for name in names)):
            objects = np.logical_and.reduce([part.objects for part in parts])
            if objects.any():
                alarms = [part.detections for part in parts if part.detections is not None]
                both = np.logical_and.reduce(alarms) if len(alarms) == len(parts) else None
                yield Group(" x ".join(names), " x ".join(part.value for part in parts), objects, both)


def by_attribute(groups: Iterable[Group]) -> dict[str, list[Group]]:
    """Groups by their attribute, in the order given."""
    of: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        of[group.attribute].append(group)
    return dict(of)


def figures(group: Group, matched: Matched, thresholds: Floats) -> dict[str, float]:
    """Counts, rates and mean IoU of a group at the operating point (thresholds (C,) by class), each where defined."""
    inside = group.hits_and_alarms(matched)
    hits, alarms = inside & matched.hits(thresholds), inside & matched.false_alarms(thresholds)
    objects, found, false = int(group.objects.sum()), int(hits.sum()), int(alarms.sum())
    counted = {"objects": objects, "hits": found, "misses": objects - found, "false_alarms": false}
    result: dict[str, float] = counted | rates(found, false, objects)
    if found:
        result["mean_iou"] = float(matched.iou[hits].mean())
    if group.frames is not None:
        result |= {"frames": group.frames, "false_alarms_per_frame": false / group.frames}
    if group.detections is None:
        result = {name: value for name, value in result.items() if name not in OF_FALSE_ALARMS}
    return result


def assess_all(groups: Iterable[Group], evidence: Evidence) -> Groups:
    """Figures of every group, by attribute and value."""
    return {
        attribute: {group.value: assess(group, evidence) for group in of}
        for attribute, of in by_attribute(groups).items()
    }


def assess(group: Group, evidence: Evidence) -> Figures:
    """The figures of one group with 95 % intervals, or why they cannot be given.

    With fewer objects than the least support there is no figure; with too few clusters there is no interval.
    """
    objects = int(group.objects.sum())
    if objects < evidence.min_support:
        reason = f"{objects} of {evidence.min_support} objects"
        return {"verdict": NOT_ASSESSABLE, "reason": reason, "objects": objects, "needed": evidence.min_support}
    result: Figures = {**figures(group, evidence.matched, evidence.thresholds)}
    if group.detections is not None:
        result["AP50"] = _average_precision(group, evidence.at50)
    level = evidence.level(group)
    if level is None:
        last = evidence.levels[-1]
        clusters = int((evidence.sizes(group, last) > 0).sum())
        reason = f"{clusters} of {MIN_CLUSTERS} clusters ({last.unit})"
        return {"verdict": NOT_ASSESSABLE, "reason": reason, **result, "clusters": clusters, "unit": last.unit}
    clusters = int((evidence.sizes(group, level) > 0).sum())
    told: Figures = {"verdict": ASSESSABLE, **result, "clusters": clusters, "unit": level.unit}
    for name, (low, high) in _intervals(group, evidence, level, result).items():
        told |= {f"{name}_low": low, f"{name}_high": high}
    return told


def _intervals(
    group: Group, evidence: Evidence, level: Resampling, measured: Figures
) -> dict[str, tuple[float, float]]:
    """95 % interval of every measured figure that has one."""
    matched, at = evidence.matched, evidence.thresholds
    inside = group.hits_and_alarms(matched)
    hits = inside & matched.hits(at)
    sizes, found = evidence.sizes(group, level), level.sums(matched.frame[hits])
    alarms = level.sums(matched.frame[inside & matched.false_alarms(at)])
    iou = level.sums(matched.frame[hits], matched.iou[hits])
    n, hit, false, shared = level.totals(np.stack([sizes, found, alarms, iou], axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = {"recall": hit / n, "precision": hit / (hit + false), "mean_iou": shared / hit}
    bases = {"recall": sizes, "precision": found + alarms, "mean_iou": found, "AP50": sizes}
    if "AP50" in measured:
        drawn["AP50"] = _average_precisions(group, evidence.at50, level)
    correlation = overall_correlation(evidence, level)
    result = {}
    for name, replicates in drawn.items():
        clusters = bootstrap.effective(bases[name])
        error = bootstrap.spread(replicates, clusters)
        if name in measured and error is not None:
            size = float(bases[name].sum()) / bootstrap.design_effect(correlation, bases[name])
            result[name] = bootstrap.interval(float(measured[name]), error, clusters, size)
    return result


def overall_correlation(evidence: Evidence, level: Resampling) -> float:
    """Intra-cluster correlation of hits over the whole benchmark: one group's few clusters cannot tell it."""
    found = evidence.matched.found(evidence.thresholds)
    frame = evidence.matched.object_frame
    return bootstrap.correlation(level.sums(frame, found), level.sums(frame))


def _average_precision(group: Group, at50: Matched) -> float:
    """Mean over the classes that the group has objects of."""
    inside = group.hits_and_alarms(at50)
    labels, counts = np.unique(at50.object_label[group.objects], return_counts=True)
    of_class = [(inside & (at50.label == label), int(n)) for label, n in zip(labels, counts, strict=True)]
    return float(np.mean([coco_precision(at50.score[m], at50.object[m] >= 0, n).mean() for m, n in of_class]))


def _average_precisions(group: Group, at50: Matched, level: Resampling) -> Floats:
    """The same in every resample (R,): mean over the classes that it drew objects of, NaN for none."""
    inside = group.hits_and_alarms(at50)
    result = []
    for label in np.unique(at50.object_label[group.objects]):
        mine = np.flatnonzero(inside & (at50.label == label))
        mine = mine[np.argsort(-at50.score[mine], kind="stable")]
        objects = level.sums(at50.object_frame[group.objects & (at50.object_label == label)])
        result.append(bootstrap.average_precisions(level, at50.frame[mine], at50.object[mine] >= 0, objects))
    of_class = np.stack(result)
    drawn = np.isfinite(of_class)
    total = np.where(drawn, of_class, 0).sum(axis=0)
    return np.asarray(np.divide(total, drawn.sum(axis=0), out=np.full(len(total), np.nan), where=drawn.any(axis=0)))


def thirds(clips: Sequence[str], times: Sequence[float | None]) -> list[str | None]:
    """Which third of its clip's own span (first to last time given) each frame is in; None without a time.

    >>> thirds(["a", "a", "a", "b"], [10.0, 11.5, 13.0, None])
    ['1st third', '2nd third', '3rd third', None]
    """
    spans: dict[str, tuple[float, float]] = {}
    for clip, time in zip(clips, times, strict=True):
        if time is not None:
            low, high = spans.get(clip, (time, time))
            spans[clip] = min(low, time), max(high, time)
    return [None if time is None else _third(time, *spans[clip]) for clip, time in zip(clips, times, strict=True)]


def _third(time: float, low: float, high: float) -> str:
    share = (time - low) / (high - low) if high > low else 0.0
    return ("1st third", "2nd third", "3rd third")[min(int(3 * share), 2)]
