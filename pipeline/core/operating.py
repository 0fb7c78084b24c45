"""The operating threshold of each class: from F-beta, or from a budget of false alarms, on validation data."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.matching import Floats, Mask, Matched
from pipeline.core.metrics import Curve, curve
from pipeline.core.params import OperatingParams
from pipeline.core.types import Frame

NO_CHOICE = 0.5  # the threshold where the validation split cannot choose one


def choose(
    matched: Matched, frames: Sequence[Frame], classes: Sequence[str], p: OperatingParams
) -> tuple[dict[str, float], dict[str, Any]]:
    """The threshold of each class, and what it was chosen on.

    Raises:
        DataError: the rule asks for hours, and the frames have no times.
    """
    hours = footage_hours(frames)
    if p.rule == "false_alarms_per_hour" and hours is None:
        raise DataError(
            "evaluate.operating.rule: false_alarms_per_hour needs frames with times on the validation split; "
            "use false_alarms_per_frame"
        )
    threshold: dict[str, float] = {}
    evidence: dict[str, dict[str, Any]] = {}
    for label, name in enumerate(classes):
        threshold[name], evidence[name] = _choose(matched, label, len(frames), hours, p)
    return threshold, {"frames": len(frames), "hours": hours, "rule": p.model_dump(), "class": evidence}


def _choose(
    matched: Matched, label: int, frames: int, hours: float | None, p: OperatingParams
) -> tuple[float, dict[str, Any]]:
    scores, hits = hits_of(matched, label)
    objects = int((matched.object_label == label).sum())
    if not objects or (p.rule == "f_beta" and not hits.any()) or not len(scores):
        why = "no detection hits an object" if objects else "no object of this class"
        return NO_CHOICE, {"objects": objects, "reason": f"{why}: no choice"}
    points = curve(scores, hits, objects)
    false = np.sort(scores[~hits])
    alarms = len(false) - np.searchsorted(false, points.score, side="left")  # at or above each score
    place, reason = _place(points, alarms, frames, hours, p)
    chosen = {
        "objects": objects,
        "recall": float(points.recall[place]),
        "precision": float(points.precision[place]),
        "f_beta": float(f_beta(points, p.beta)[place]),
        "false_alarms": int(alarms[place]),
        "false_alarms_per_frame": int(alarms[place]) / frames,
    }
    chosen |= {"false_alarms_per_hour": int(alarms[place]) / hours} if hours else {}
    return float(points.score[place]), chosen | ({"reason": reason} if reason else {})


def _place(
    points: Curve, alarms: NDArray[np.int64], frames: int, hours: float | None, p: OperatingParams
) -> tuple[int, str]:
    """Which point of the curve is chosen, and what is wrong with it."""
    if p.rule == "f_beta":
        return int(np.argmax(f_beta(points, p.beta))), ""
    allowed = p.budget * (frames if p.rule == "false_alarms_per_frame" else hours or 0.0)
    within = int((alarms <= allowed).sum())  # alarms only grow as the threshold falls
    return (within - 1, "") if within else (0, "the budget cannot be met: the best score alone exceeds it")


def hits_of(matched: Matched, label: int) -> tuple[NDArray[np.float32], Mask]:
    """Scores of one class's detections that are not ignored, and whether each found an object."""
    mine = (matched.label == label) & ~matched.ignored
    return matched.score[mine], matched.object[mine] >= 0


def f_beta(points: Curve, beta: float) -> Floats:
    """F-beta at every point (K,): recall counts `beta` times as much as precision (van Rijsbergen 1979)."""
    weight = beta**2
    under = weight * points.precision + points.recall
    over = (1 + weight) * points.precision * points.recall
    return np.divide(over, under, out=np.zeros_like(under), where=under > 0)


def footage_hours(frames: Sequence[Frame]) -> float | None:
    """The time that frames stand for, each until the next of its clip (the median distance); None without times."""
    clips: dict[str, list[float]] = defaultdict(list)
    for frame in frames:
        if frame.timestamp_s is None:
            return None
        clips[frame.clip].append(frame.timestamp_s)
    seconds = [len(times) * float(np.median(np.diff(sorted(times)))) for times in clips.values() if len(times) > 1]
    return sum(seconds) / 3600 or None
