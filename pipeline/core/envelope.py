"""Under which conditions was the detector measured, and in which does it hold?

Recall by what makes an object hard to see (`core.scenes`) and by every annotated attribute. A condition holds where the
lower bound of recall reaches the floor. What nothing was measured of is "not assessed": it is never assumed.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from pipeline.core.groups import ASSESSABLE, Evidence, Figures, Group, Groups, assess
from pipeline.core.matching import Floats, Mask

ASSESSED, NOT_ASSESSED = "assessed", "not assessed"
HOLDS, FAILS, OPEN = "holds", "does not hold", "open"  # open: the interval has the floor inside
PIXELS_PER_METRE = "pixels per metre"
DORI = (25.0, 62.5, 125.0, 250.0)  # pixels per metre, IEC 62676-4
DORI_LEVELS = ("below detection", "detection", "observation", "recognition", "identification")
TITLES = {  # condition -> what it is, and its unit
    "height": ("Box height", "px"),
    PIXELS_PER_METRE: ("Pixels per metre (IEC 62676-4)", "px/m"),
    "luminance": ("Mean luminance of the frame, 0 to 255", ""),
    "contrast": ("Contrast of the frame: standard deviation of luma", ""),
    "sharpness": ("Sharpness of the frame: variance of the Laplacian", ""),
    "speed": ("Speed in the picture", "px a frame"),
    "crowding": ("Crowding: other boxes within double the box", ""),
}
MISSING = {  # why a condition has no value
    PIXELS_PER_METRE: "evaluate.calibration names no camera of the benchmark",
    "speed": "no object has a track id in two frames of a clip",
}
TRUNCATION = "truncation"
EXPECTED = ("frame weather", "frame time_of_day", "object occluded")  # asked of every benchmark, there or not
LISTED = ("class", "camera")  # attributes of groups that are conditions of use; those of frames and objects are too


@dataclass(frozen=True, slots=True)
class Part:
    """One range or value of a condition, and the evidence for it."""

    value: str
    state: str
    objects: int
    reason: str = ""  # why it is not assessed
    recall: float | None = None
    recall_low: float | None = None
    recall_high: float | None = None
    clusters: int | None = None
    unit: str | None = None  # what a cluster is
    low: float | None = None  # of a range
    high: float | None = None  # None: no upper end


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of the preconditions sheet."""

    condition: str
    title: str
    state: str
    words: str
    parts: tuple[Part, ...] = field(default=())


def preconditions(
    values: Mapping[str, Floats],
    truncated: Mask,
    groups: Groups,
    evidence: Evidence,
    edges: Mapping[str, Sequence[float]],
    floor: float,
) -> dict[str, Any]:
    """The content of preconditions.json.

    Args:
        values: condition -> (G,) its value for each object, NaN where it is not known.
        truncated: (G,) objects at the border of their frame.
        groups: figures of all groups.
        evidence: what figures rest on.
        edges: condition -> where its ranges meet; below the first and above the last are ranges too.
        floor: the recall that is asked for.
    """
    lines = [_ordered(name, values[name], evidence, {**edges, PIXELS_PER_METRE: DORI}[name], floor) for name in TITLES]
    cut = {"at the frame's border": truncated, "inside the frame": ~truncated}
    of_cut = {name: assess(Group(TRUNCATION, name, mask, None), evidence) for name, mask in cut.items()}
    lines.append(_unordered(TRUNCATION, of_cut, floor))
    listed = [name for name in groups if name in LISTED or name.startswith(("frame ", "object "))]
    lines += [_unordered(name, groups[name], floor) for name in listed if " x " not in name]
    lines += [
        Condition(name, _title(name), NOT_ASSESSED, f"Not assessed: no {name.split()[0]} has the attribute.")
        for name in EXPECTED
        if name not in groups
    ]
    return {
        "recall_floor": floor,
        "confidence": 0.95,
        "smallest_height_px": smallest(lines[0].parts),
        "conditions": [asdict(line) for line in lines],
    }


def smallest(parts: Sequence[Part]) -> float | None:
    """The lower end of the ranges that hold without a break down from the highest one assessed; None where it fails."""
    assessed = list(reversed(parts))
    while assessed and assessed[0].state == NOT_ASSESSED:
        assessed.pop(0)
    low = None
    for part in assessed:
        if part.state != HOLDS:
            break
        low = part.low
    return low


def _title(name: str) -> str:
    kind, _, attribute = name.partition(" ")
    words = (attribute or kind).replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}" + (f" ({kind})" if attribute else "")


def _ordered(name: str, values: Floats, evidence: Evidence, edges: Sequence[float], floor: float) -> Condition:
    title, unit = TITLES[name]
    if not np.isfinite(values).any():
        why = MISSING.get(name, "the benchmark has no object")
        return Condition(name, title, NOT_ASSESSED, f"Not assessed: {why}.")
    parts = tuple(_ranges(name, unit, values, evidence, edges, floor))
    return Condition(name, title, _state(parts), _words(list(_runs(parts, unit)), parts, floor), parts)


def _ranges(
    name: str, unit: str, values: Floats, evidence: Evidence, edges: Sequence[float], floor: float
) -> Iterator[Part]:
    for i, (low, high) in enumerate(pairwise([-math.inf, *edges, math.inf])):
        inside = (values >= low) & (values < high)
        told = _range_words(max(low, 0.0), high, unit)
        value = f"{DORI_LEVELS[i]}: {told}" if name == PIXELS_PER_METRE else told
        figures = assess(Group(name, value, np.asarray(inside), None), evidence)
        end = None if math.isinf(high) else high
        yield _part(value, figures, floor, (max(low, 0.0), end))


def _range_words(low: float, high: float, unit: str) -> str:
    end = f" {unit}" if unit else ""
    if math.isinf(high):
        return f"{low:g}{end} and more"
    return f"below {high:g}{end}" if low <= 0 else f"{low:g} to {high:g}{end}"


def _part(value: str, it: Figures, floor: float, ends: tuple[float | None, float | None] = (None, None)) -> Part:
    objects = int(it["objects"])
    if it["verdict"] != ASSESSABLE or "recall_low" not in it:
        return Part(value, NOT_ASSESSED, objects, str(it.get("reason", "no interval")), low=ends[0], high=ends[1])
    low, high = float(it["recall_low"]), float(it["recall_high"])
    return Part(
        value=value,
        state=HOLDS if low >= floor else FAILS if high < floor else OPEN,
        objects=objects,
        recall=float(it["recall"]),
        recall_low=low,
        recall_high=high,
        clusters=int(it["clusters"]),
        unit=str(it["unit"]),
        low=ends[0],
        high=ends[1],
    )


def _unordered(name: str, values: Mapping[str, Figures], floor: float) -> Condition:
    parts = tuple(_part(value, figures, floor) for value, figures in values.items())
    return Condition(
        name, _title(name), _state(parts), _words([p.value for p in parts if p.state == HOLDS], parts, floor), parts
    )


def _state(parts: Iterable[Part]) -> str:
    return ASSESSED if any(part.state != NOT_ASSESSED for part in parts) else NOT_ASSESSED


def _runs(parts: Sequence[Part], unit: str) -> Iterator[str]:
    """Neighbouring ranges that hold, as one range each."""
    for state, run in groupby(parts, key=lambda part: part.state):
        if state == HOLDS:
            held = list(run)
            last = held[-1].high
            yield _range_words(held[0].low or 0.0, math.inf if last is None else last, unit)


def _words(held: Sequence[str], parts: Sequence[Part], floor: float) -> str:
    """What was found, in plain words."""
    if _state(parts) == NOT_ASSESSED:
        seen = sum(part.objects for part in parts)
        return f"Not assessed: too little was seen ({seen} objects in all)."
    told = [
        f"Recall is at least {floor:.2f}: {', '.join(held)}." if held else f"Recall of {floor:.2f} is shown nowhere."
    ]
    failed = [f"{part.value} ({part.recall:.2f})" for part in parts if part.state == FAILS]
    unsure = [f"{part.value} ({part.recall_low:.2f} to {part.recall_high:.2f})" for part in parts if part.state == OPEN]
    unseen = [f"{part.value} ({part.reason})" for part in parts if part.state == NOT_ASSESSED]
    told += [f"Below it: {', '.join(failed)}."] if failed else []
    told += [f"Cannot be told yet: {', '.join(unsure)}."] if unsure else []
    told += [f"Not assessed: {', '.join(unseen)}."] if unseen else []
    return " ".join(told)
