"""Metrics by group: for whom, where and when the detector is good.

A missed object belongs to every group that the object is in. A false alarm belongs to a group only where it has the
attribute itself: a camera, a time, a class, a height. It has no brightness and no occlusion, so for annotated
attributes there are recall and IoU alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.core.matching import Floats, Mask, Matched
from pipeline.core.metrics import coco_precision, rates
from pipeline.core.statistics import wilson

OF_FALSE_ALARMS = ("precision", "f1", "false_alarms")


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
    for value in sorted({v for v in values if v is not None}):
        inside = np.array([v == value for v in values], np.bool_)
        yield Group(attribute, value, inside[matched.object_frame], inside[matched.frame], int(inside.sum()))


def by_object(attribute: str, values: Sequence[str | None]) -> Iterator[Group]:
    """Groups of an annotated attribute, a value (None: has none) an object."""
    for value in sorted({v for v in values if v is not None}):
        yield Group(attribute, value, np.array([v == value for v in values], np.bool_), None)


def everything(matched: Matched, frames: int) -> Group:
    """All objects and all false alarms of so many frames."""
    every = np.ones_like(matched.object_label, np.bool_), np.ones_like(matched.label, np.bool_)
    return Group("all", "all", *every, frames)


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


def assess(
    group: Group, matched: Matched, at50: Matched, thresholds: Floats, min_support: int
) -> dict[str, str | float]:
    """The figures of one group, with how sure its recall is, or that it has too few objects to say.

    Args:
        group: which objects and detections.
        matched: at the IoU of the operating point.
        at50: the same detections and objects matched at IoU 0.5, for AP50.
        thresholds: (C,) operating threshold by class.
        min_support: with fewer objects the group is not assessable.
    """
    objects = int(group.objects.sum())
    if objects < min_support:
        return {"verdict": "not assessable", "objects": objects, "needed": min_support}
    result: dict[str, str | float] = {"verdict": "assessable", **figures(group, matched, thresholds)}
    result["recall_low"], result["recall_high"] = wilson(objects - int(result["misses"]), objects)
    if group.detections is not None:
        result["AP50"] = _average_precision(group, at50)
    return result


def _average_precision(group: Group, at50: Matched) -> float:
    """Mean over the classes that the group has objects of."""
    inside = group.hits_and_alarms(at50)
    labels, counts = np.unique(at50.object_label[group.objects], return_counts=True)
    of_class = [(inside & (at50.label == label), int(n)) for label, n in zip(labels, counts, strict=True)]
    return float(np.mean([coco_precision(at50.score[m], at50.object[m] >= 0, n).mean() for m, n in of_class]))


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
