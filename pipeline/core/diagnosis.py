"""Where a detector fails: which errors cost what, what raises false alarms and where, what its scores say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core import calibration, tide
from pipeline.core.calibration import Knots, Reliability
from pipeline.core.matching import Floats, Indices, Mask, Matched, Overlaps, match_overlaps
from pipeline.core.types import Frame

PAPER_IOU = 0.5  # of a hit in TIDE
GRID = (32, 18)  # columns and rows of a camera's map
CHART_BINS = 10  # of the reliability chart: wide enough to hold detections


@dataclass(frozen=True, slots=True, eq=False)
class AlarmMap:
    """Where one camera's false alarms are."""

    camera: str
    frames: int
    alarms: int
    cells: NDArray[np.int64]  # (rows, columns) of `GRID`: false alarms that touch the cell
    worst: int  # position of the frame with the most of them


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """What the report shows of a detector's failures."""

    figures: dict[str, Any]  # for metrics.json; what is not defined is left out
    maps: tuple[AlarmMap, ...]  # most false alarms first
    reliability: dict[str, tuple[Reliability, Reliability]]  # by class, before and after calibration


def diagnose(
    near: Overlaps,
    frames: Sequence[Frame],
    classes: Sequence[str],
    thresholds: Floats,
    meaning: NDArray[np.float32],
    match_iou: float,
    min_support: int,
) -> Diagnosis:
    """The diagnosis of one split.

    Args:
        near: what overlaps in its frames.
        frames: the frames, in the order of `near`.
        classes: names.
        thresholds: (C,) operating threshold by class.
        meaning: (D,) calibrated scores.
        match_iou: least IoU of a hit at the operating point.
        min_support: with fewer detections at the operating point, calibration of a class is not assessable.
    """
    paper = match_overlaps(near, PAPER_IOU)
    lost = tide.tide(paper, tide.errors(near, paper, PAPER_IOU), len(classes))
    matched = match_overlaps(near, match_iou)
    alarms = matched.false_alarms(thresholds)
    cause = tide.causes(tide.errors(near, matched, match_iou), alarms)
    said, curves = _calibration(near, classes, thresholds, meaning, match_iou, min_support)
    by_class = {name: _counted(cause[near.label[alarms] == k]) for k, name in enumerate(classes)}
    figures = {
        "tide": {"dAP": lost.gain, "count": lost.count} if len(matched.object_label) else {"count": lost.count},
        "false_alarms_by_cause": {**_counted(cause), "class": by_class},
        "calibration": said,
    }
    return Diagnosis(figures, _maps(near, alarms, frames), curves)


def _counted(causes: Indices) -> dict[str, int]:
    return {cause.name.lower(): int((causes == cause).sum()) for cause in tide.Cause}


def _maps(near: Overlaps, alarms: Mask, frames: Sequence[Frame]) -> tuple[AlarmMap, ...]:
    place, boxes = near.frame[alarms], near.boxes[alarms]
    counts = np.bincount(place, minlength=len(frames))
    maps = []
    for camera in sorted({frame.camera for frame in frames}):
        mine = [i for i, frame in enumerate(frames) if frame.camera == camera]
        cells = [tide.heat(boxes[place == i], (frames[i].width, frames[i].height), GRID) for i in mine if counts[i]]
        total = np.sum([np.zeros(GRID[::-1], np.int64), *cells], axis=0)
        worst = mine[int(np.argmax(counts[mine]))]
        maps.append(AlarmMap(camera, len(mine), int(counts[mine].sum()), total, worst))
    return tuple(sorted(maps, key=lambda it: -it.alarms))


def _calibration(
    near: Overlaps,
    classes: Sequence[str],
    thresholds: Floats,
    meaning: NDArray[np.float32],
    match_iou: float,
    min_support: int,
) -> tuple[dict[str, Any], dict[str, tuple[Reliability, Reliability]]]:
    """LaECE of each class at the operating point and their mean; and what the scores of each class mean, in bins."""
    figures: dict[str, dict[str, float]] = {}
    curves: dict[str, tuple[Reliability, Reliability]] = {}
    for k, name in enumerate(classes):
        figures[name] = {"detections": 0}
        for error, least in (("LaECE", match_iou), ("LaECE0", 0.0)):
            graded = calibration.grade(near, least, match_iou)
            mine = (graded.label == k) & (graded.score >= thresholds[k])
            figures[name]["detections"] = int(mine.sum())
            if mine.sum() < min_support:
                continue
            gain = graded.gain[mine]
            pair = graded.score[mine], meaning[graded.kept][mine]
            for when, scores in zip(("before", "after"), pair, strict=True):
                figures[name][f"{error}_{when}"] = calibration.laece(scores, gain)
            if error == "LaECE0":
                before, after = (calibration.reliability(scores, gain, CHART_BINS) for scores in pair)
                curves[name] = before, after
    keys = [f"{error}_{when}" for error in ("LaECE", "LaECE0") for when in ("before", "after")]
    told = [figures[name] for name in curves]
    mean = {key: float(np.mean([it[key] for it in told])) for key in keys if told}
    return {**mean, "class": figures}, curves


def meanings(
    near: Overlaps, matched: Matched, classes: Sequence[str], match_iou: float, min_support: int
) -> dict[str, dict[str, Any]]:
    """What the scores of each class mean, fitted on these frames; a class with too few objects is not fitted."""
    graded = calibration.grade(near, 0.0, match_iou)
    document: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(classes):
        mine, objects = graded.label == k, int((matched.object_label == k).sum())
        evidence = {"objects": objects, "detections": int(mine.sum())}
        if objects < min_support or not mine.any():
            why = f"not assessable: {objects} objects, {min_support} needed" if mine.any() else "no detection"
            document[name] = {**evidence, "knots": [], "reason": f"{why}; scores stay as they are"}
        else:
            document[name] = {**evidence, "knots": calibration.fit(graded.score[mine], graded.gain[mine])}
    return document


def knots_of(document: dict[str, dict[str, Any]], classes: Sequence[str]) -> list[Knots]:
    """The knots of each class, from what `meanings` gave."""
    return [tuple((x, y) for x, y in document[name]["knots"]) for name in classes]
