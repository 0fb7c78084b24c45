"""For whom is it good, and under which conditions: the figures of all groups, their gaps, and the preconditions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core import comparisons, envelope, groups, scenes
from pipeline.core.bootstrap import levels
from pipeline.core.groups import Evidence, Group, Groups
from pipeline.core.matching import Floats, Matched
from pipeline.core.params import EvaluateParams
from pipeline.core.types import Frame, Truth


@dataclass(frozen=True, slots=True, eq=False)
class GroupReport:
    """What groups.json, comparisons.json and preconditions.json hold."""

    groups: Groups
    comparisons: dict[str, Any]
    preconditions: dict[str, Any]


def report_on(
    frames: Sequence[Frame],
    truths: Sequence[Truth],
    classes: Sequence[str],
    matches: tuple[Matched, Matched],
    thresholds: Floats,
    p: EvaluateParams,
) -> GroupReport:
    """Everything about the groups of a benchmark.

    Args:
        frames: of the benchmark.
        truths: what is truly in each.
        classes: of the detector.
        matches: at the IoU of a hit, and at IoU 0.5.
        thresholds: (C,) operating threshold by class.
        p: section `evaluate`.
    """
    drawn = levels(frames, p.block_s, p.resamples, p.seed)
    evidence = Evidence(*matches, thresholds, drawn, p.min_support)
    every = groups.every_group(frames, truths, matches[0], classes, p.height_bins)
    every += list(groups.slices(every, p.intersections))
    figures = groups.assess_all(every, evidence)
    values = scenes.measure(frames, truths, p.calibration)
    cut = scenes.truncated(frames, truths)
    return GroupReport(
        figures,
        compared(every, evidence, p),
        envelope.preconditions(values, cut, figures, evidence, p.conditions.model_dump(), p.recall_floor),
    )


def compared(every: Sequence[Group], evidence: Evidence, p: EvaluateParams) -> dict[str, Any]:
    """The content of comparisons.json."""
    there = {group.attribute for group in every}
    rows = comparisons.compare(every, evidence, p.stratify, p.max_gap)
    verdicts = (comparisons.SHOWN, comparisons.WITHIN, comparisons.NOT_ASSESSABLE)
    return {
        "max_gap": p.max_gap,
        "resamples": p.resamples,
        "stratify": [name for name in p.stratify if name in there],
        "without": [name for name in p.stratify if name not in there],  # strata that the benchmark does not have
        "counts": {verdict: sum(row.verdict == verdict for row in rows) for verdict in verdicts},
        "comparisons": list(comparisons.told(rows)),
    }
