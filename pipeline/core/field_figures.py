"""What fieldtest.json says of a trial in events, and whether that is enough to meet a limit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.core.events import (
    Assessment,
    Evidence,
    Figures,
    Point,
    Scored,
    assess_false_alarms,
    assess_recall,
    by_group,
    figures,
)
from pipeline.core.params import Bounds

Values = dict[str, Any]
RECALL, FALSE_ALARMS = "event_recall", "false_alarms_per_hour"
INTERVALS = {  # the name in the file, and the figure and interval that it is
    RECALL: ("recall", "recall_interval"),
    "missed_share": ("missed_share", "missed_interval"),
    "precision": ("precision", "precision_interval"),
    FALSE_ALARMS: ("false_per_hour", "false_interval"),
}
GROUPS = ("camera", "class", "zone", "condition")  # parts of a trial
COUNTS = ("events", "found", "missed", "alarms", "true", "duplicates", "ignored", "hours")


def told(it: Figures) -> Values:
    """Figures by name, each with the ends of its exact 95 % interval as `_low` and `_high`; None: not assessable."""
    values: Values = {name: getattr(it, name) for name in COUNTS} | {"false_alarms": it.false}
    for name, (figure, interval) in INTERVALS.items():
        low, high = getattr(it, interval) or (None, None)
        values |= {name: getattr(it, figure), f"{name}_low": low, f"{name}_high": high}
    return values | {"time_to_detect_s": asdict(it.delay_s) if it.delay_s else None}


def overall(it: Scored) -> Values:
    """The whole trial, and its parts by camera, class, zone and condition; what has no name is `any`."""
    groups = {
        of: {name or "any": told(part) for name, part in parts.items()} for of, parts in by_group(it).items() if parts
    }
    return told(figures(it)) | groups


def curve(points: Sequence[Point]) -> list[Values]:
    """Missed share against false alarms an hour, by threshold, with their intervals."""
    rows = []
    for it in points:
        row: Values = {"threshold": it.threshold}
        for name, figure, interval in (
            ("missed_share", it.missed_share, it.missed_interval),
            (FALSE_ALARMS, it.false_per_hour, it.false_interval),
        ):
            low, high = interval or (None, None)
            row |= {name: figure, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return rows


def shortage(metric: str, asked: Bounds, part: Mapping[str, Any]) -> str:
    """Why a part of a trial is too little to judge a limit by; "" where it is enough, or no such rule is known.

    Args:
        metric: its dotted key within the part.
        asked: the limit.
        part: what `told` gave.
    """
    if part.get(metric.partition(".")[0], 0) is None:
        return "there is nothing to measure it by"
    found: Assessment | None = None
    if metric == RECALL and asked.min is not None:
        found = assess_recall(part["found"], part["events"], asked.min)
    if metric == FALSE_ALARMS and asked.max is not None:
        found = assess_false_alarms(part["false_alarms"], part["hours"], asked.max)
    return found.reason if found and found.result is Evidence.INSUFFICIENT else ""
