"""Which conditions is a frame in, and how much does the detector still have to prove there?

The need of a condition is what its lower bound of recall lacks of the recall asked for, as a share: 0 where the
condition holds. What was not assessed counts half, because nothing is known. A group with a gap shown, or one that
fails a limit of the gate, counts whole.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.core.types import Detections, Frame

UNKNOWN = 0.5
OF_FRAMES = ("luminance", "contrast", "sharpness")
HOLDS, NOT_ASSESSED, GAP_SHOWN, FAILS = "holds", "not assessed", "gap shown", "fails"


@dataclass(frozen=True, slots=True)
class Need:
    """One range or value of a condition, what the detector lacks there, and why in words."""

    condition: str
    value: str
    need: float  # 0..1
    words: str
    low: float = 0.0  # of a range
    high: float = float("inf")


def needs(preconditions: Mapping[str, Any], comparisons: Mapping[str, Any], verdict: Mapping[str, Any]) -> list[Need]:
    """The needs of every part of every condition, in the order of the sheet.

    Args:
        preconditions: content of preconditions.json.
        comparisons: content of comparisons.json.
        verdict: content of gate.json.
    """
    floor = preconditions["recall_floor"]
    gaps = {(it["attribute"], it["value"]) for it in comparisons["comparisons"] if it["verdict"] == GAP_SHOWN}
    failed = [line for line in verdict["lines"] if line["result"] == FAILS]
    return [
        _need(line["condition"], part, floor, _complaint(line["condition"], part["value"], gaps, failed))
        for line in preconditions["conditions"]
        for part in line["parts"]
    ]


def _complaint(
    condition: str, value: str, gaps: Collection[tuple[str, str]], failed: Sequence[Mapping[str, Any]]
) -> str:
    """What is held against a group, "" where nothing is."""
    own = (f"{condition} {value}:", f"{condition}.{value}.")  # as the gate names groups, and figures of classes
    reasons = [f"fails {line['limit']}: {line['reason']}" for line in failed if line["limit"].startswith(own)]
    return reasons[0] if reasons else "worse than the best group" if (condition, value) in gaps else ""


def _need(condition: str, part: Mapping[str, Any], floor: float, complaint: str) -> Need:
    low, high = part["low"], part["high"]
    ends = (0.0 if low is None else low, float("inf") if high is None else high)
    if complaint:
        return Need(condition, part["value"], 1.0, complaint, *ends)
    if part["state"] == NOT_ASSESSED:
        return Need(condition, part["value"], UNKNOWN, f"not assessed: {part['reason']}", *ends)
    if part["state"] == HOLDS:
        return Need(condition, part["value"], 0.0, "holds", *ends)
    lacking = min(max((floor - part["recall_low"]) / floor, 0.0), 1.0)
    return Need(condition, part["value"], lacking, f"recall of {part['recall_low']:.2f} at least", *ends)


def needs_of(frame: Frame, found: Detections, classes: Sequence[str], every: Sequence[Need]) -> list[Need]:
    """Those that a frame meets: by its camera, light and attributes, and by class and height of its boxes."""
    names = {classes[label] for label in found.labels}
    heights = found.boxes[:, 3].astype(np.float64) - found.boxes[:, 1]
    return list(_met(frame, names, heights.tolist(), every))


def _met(frame: Frame, names: set[str], heights: list[float], every: Sequence[Need]) -> Iterator[Need]:
    for it in every:
        kind, _, attribute = it.condition.partition(" ")
        within = {
            "camera": frame.camera == it.value,
            "class": it.value in names,
            "frame": frame.attributes.get(attribute) == it.value,
            "height": any(it.low <= height < it.high for height in heights),
        }
        if it.condition in OF_FRAMES:
            within[kind] = it.low <= getattr(frame, it.condition) < it.high
        if within.get(kind, False):
            yield it


def weakness(met: Sequence[Need]) -> float:
    """Mean need over the conditions that a frame meets, of each the greatest; 0 where it meets none."""
    greatest: dict[str, float] = {}
    for it in met:
        greatest[it.condition] = max(it.need, greatest.get(it.condition, 0.0))
    return sum(greatest.values()) / len(greatest) if greatest else 0.0
