"""May this iteration be promoted?

Reads the figures, groups and gaps of evaluate, the parity of the exported model with the trained one, what verify says
of each artifact, what the field test gave and, where there is one, the report of robustness. Writes the verdict to
--out, with a line for every limit of section `gate` and for every artifact: what was asked and measured, how sure that
is, what it rests on, and the file that says so. A refusal is a result, not a failure: the stage ends well either way.
Whether it is worse than the champion is for `register` to say, which knows that one.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.core.comparisons import ALPHA
from pipeline.core.field_figures import GROUPS, shortage
from pipeline.core.groups import ASSESSABLE
from pipeline.core.metrics import flatten
from pipeline.core.params import Bounds, Floor, GapParams, GateParams, Limit
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.verdict import Line, Measured, Result, Verdict, conclude, judge, meets
from pipeline.io.documents import Figures, Folder
from pipeline.io.files import write_json

PARITY = "export.parity"  # the line that every verdict has, whatever the limits ask
ROBUSTNESS = "robustness.json"


@dataclass(frozen=True, slots=True)
class Reports:
    """What the verdict rests on; each knows the file that it comes from."""

    metrics: Figures
    groups: Figures
    comparisons: Figures
    parity: Figures
    verified: Figures
    fieldtest: Figures
    robustness: Figures | None  # None: it was not run


def read_reports(evaluation: Folder, robustness: Folder, export: Folder, verify: Folder, fieldtest: Folder) -> Reports:
    """Read them all. Raises DataError where one is broken, or one that every iteration has is missing."""
    return Reports(
        metrics=evaluation.figures("metrics.json", "evaluate"),
        groups=evaluation.figures("groups.json", "evaluate"),
        comparisons=evaluation.figures("comparisons.json", "evaluate"),
        parity=export.figures("parity.json", "export"),
        verified=verify.figures("verify.json", "verify"),
        fieldtest=fieldtest.figures("fieldtest.json", "fieldtest"),
        robustness=robustness.figures(ROBUSTNESS, "robustness") if robustness.holds(ROBUSTNESS) else None,
    )


def verdict(reports: Reports, p: GateParams) -> Verdict:
    """The verdict with a line a limit."""
    lines = [
        parity_line(reports.parity),
        *artifact_lines(reports.verified),
        *(absolute_line(limit, reports.metrics, reports.groups) for limit in p.limits),
        *(line for floor in p.floors for line in floor_lines(floor, reports.groups)),
        *(gap_line(attribute, p.gaps, reports.comparisons) for attribute in p.gaps.of),
        *(robustness_line(limit, reports.robustness) for limit in p.robustness),
        *(fieldtest_line(limit, reports.fieldtest) for limit in p.fieldtest),
    ]
    return conclude(lines, strict=p.strict)


def parity_line(parity: Figures) -> Line:
    """Whether what ships gives what was measured."""
    passed = parity.get("passed") is True
    return Line(
        limit=PARITY,
        figure=_number(parity.get("max_abs_difference")),
        min=None,
        max=None,
        low=None,
        high=None,
        evidence=_counts(parity, "frames"),
        source=parity.origin,
        result=Result.HOLDS if passed else Result.FAILS,
        reason="" if passed else "the exported model does not give what the trained one gives",
    )


def artifact_lines(verified: Figures) -> Iterator[Line]:
    """A line for every artifact. A target of which nothing ships fails by its default artifact."""
    for target, it in verified["targets"].items():
        for name, artifact in verified["artifacts"].items():
            if name.partition("/")[0] == target:
                last = not it["verified"] and name == f"{target}/{it['default']}"
                yield _artifact(name, artifact, Result.FAILS if last else Result.WITHHELD, verified)


def _artifact(name: str, it: Figures, refused: Result, verified: Figures) -> Line:
    reasons = "; ".join(it["reasons"])
    return Line(
        limit=f"verify.{name}: AP lost",
        figure=_number(it.get("drop_AP")),
        min=None,
        max=verified["limits"]["max_ap_drop"][it["precision"]],
        low=_number(it.get("drop_AP_low")),
        high=_number(it.get("drop_AP_high")),
        evidence=_counts(verified, "objects", "frames"),
        source=verified.origin,
        result=refused if reasons else Result.HOLDS if it["verified"] is True else Result.NOT_ASSESSED,
        reason=reasons or it["not_assessed"],
    )


def absolute_line(limit: Limit, metrics: Figures, groups: Figures) -> Line:
    """A limit on a figure of metrics.json; a class has its interval from groups.json."""
    it = _figure_of(limit.metric, metrics)
    name, _, key = limit.metric.removeprefix("class.").rpartition(".")
    group = groups.get("class", {}).get(name) if limit.metric.startswith("class.") else None
    if group is None or it.figure is None:
        return judge(limit.metric, limit, it)
    short = group["verdict"] != ASSESSABLE and meets(it.figure, limit)
    thin = f"{it.figure:.4g} meets it, but rests on {group['reason']}" if short else ""
    source = f"{metrics.origin}, {groups.origin}"
    found = replace(it, source=source, interval=_interval(group, key), evidence=_evidence(group), thin=thin)
    return judge(limit.metric, limit, found)


def robustness_line(limit: Limit, robustness: Figures | None) -> Line:
    """A limit on a figure of robustness.json."""
    name = f"robustness.{limit.metric}"
    if robustness is None:
        return judge(name, limit, Measured(None, ROBUSTNESS, thin="robustness was not measured"))
    return judge(name, limit, _figure_of(limit.metric, robustness))


def fieldtest_line(limit: Limit, fieldtest: Figures) -> Line:
    """A limit on a figure of fieldtest.json, by its exact interval; too few hours or events are not assessed."""
    part, key = _part(fieldtest, limit.metric)
    if part is None or part["hours"] == 0:
        why = "no held-out footage of it was tried"
        return judge(f"fieldtest.{limit.metric}", limit, Measured(None, fieldtest.origin, thin=why))
    hours = "" if part["hours"] is None else f" in {part['hours'] * 60:.3g} minutes"  # a condition has none
    counts = f"{part['events']} events{hours}"
    thin = shortage(key, limit, part)
    found = Measured(_number(flatten(part).get(key)), fieldtest.origin, _interval(part, key), counts, thin)
    return judge(f"fieldtest.{limit.metric}", limit, found)


def _part(fieldtest: Figures, metric: str) -> tuple[dict[str, Any] | None, str]:
    """The part of the trial that a dotted key names, as `camera.lobby`, else the whole; and the key within it."""
    kind, _, rest = metric.partition(".")
    if kind not in GROUPS:
        return fieldtest, metric
    parts = fieldtest.get(kind, {})
    name = max((name for name in parts if rest.startswith(f"{name}.")), key=len, default=None)
    return (None, rest) if name is None else (parts[name], rest.removeprefix(f"{name}."))


def _figure_of(metric: str, report: Figures) -> Measured:
    """A figure by its dotted key, with the objects and frames nearest to it. Without an object it is not assessable."""
    flat = flatten(report)
    parts = metric.split(".")[:-1]
    scopes = [".".join([*parts[:n], ""]) if n else "" for n in range(len(parts), -1, -1)]
    near = next((scope for scope in scopes if f"{scope}objects" in flat), "")
    counts = {"objects": flat.get(f"{near}objects"), "frames": flat.get(f"{near}frames", flat.get("frames"))}
    figure = _number(flat.get(metric))
    thin = "the benchmark has no such object" if figure is None and counts["objects"] == 0 else ""
    return Measured(figure, report.origin, evidence=_counts(counts, "objects", "frames"), thin=thin)


def floor_lines(floor: Floor, groups: Figures) -> Iterator[Line]:
    """A line for every group of the attributes that a floor is for."""
    for attribute in floor.of:
        if attribute not in groups:
            missing = Measured(None, groups.origin, thin="the benchmark has no such attribute")
            yield judge(f"{attribute}: {floor.figure}", floor, missing)
        for value, group in groups.get(attribute, {}).items():
            yield judge(f"{attribute} {value}: {floor.figure}", floor, _group(group, floor.figure, groups.origin))


def _group(group: Mapping[str, Any], figure: str, origin: str) -> Measured:
    """What is known of a group. A figure without an interval says too little of it."""
    missed = figure == "miss_rate"
    key = "recall" if missed else figure
    value, interval = _number(group.get(key)), _interval(group, key)
    if missed:
        value = None if value is None else 1 - value
        interval = None if interval is None else (1 - interval[1], 1 - interval[0])
    thin = "" if group["verdict"] == ASSESSABLE else str(group["reason"])
    if not thin and interval is None:
        thin = "it has no such figure" if value is None else "it has no interval"
    return Measured(value, origin, interval, _evidence(group), thin)


def gap_line(attribute: str, p: GapParams, comparisons: Figures) -> Line:
    """The gap that decides about an attribute: one that fails before one not assessed, then the largest."""
    rows = [it for it in comparisons["comparisons"] if it["attribute"] == attribute]
    limit, asked = f"{attribute}: gap in recall", Bounds(max=p.max)
    if not rows:
        nothing = Measured(None, comparisons.origin, thin="the benchmark has no two groups of it")
        return judge(limit, asked, nothing)
    lines = [judge(limit, asked, _gap(row, p.max, comparisons.origin)) for row in rows]
    order = (Result.FAILS, Result.NOT_ASSESSED, Result.HOLDS)
    worst = min(lines, key=lambda it: (order.index(it.result), it.figure is None, -(it.figure or 0.0)))
    counts = Counter(it.result for it in lines)
    told = ", ".join(f"{counts[result]} {result}" for result in order if counts[result])
    return worst.model_copy(update={"evidence": f"{worst.evidence}; of its gaps {told}"})


def _gap(row: Mapping[str, Any], limit: float, origin: str) -> Measured:
    """The gap of one group to the best, at equal conditions where that could be measured.

    The best group is chosen after looking and there are many pairs: a gap beyond the limit counts where it is one after
    Holm's correction, else it may be chance.
    """
    gap = row["stratified"] or row["raw"]
    who = f"{row['objects']} objects of {row['value']}, by {row['unit']}"
    if gap is None:
        needs = {"objects": row["more_objects"], "clusters": row["more_clusters"]}
        lacking = " and ".join(f"{count} more {what}" for what, count in needs.items() if count)
        return Measured(None, origin, evidence=who, thin=f"{row['value']} needs {lacking}" if lacking else "no gap")
    chance = gap["gap"] > limit and row["p_holm"] >= ALPHA
    thin = f"{gap['gap']:.4g} for {row['value']}, which chance may give (p {row['p_holm']:.2g})" if chance else ""
    return Measured(gap["gap"], origin, (gap["low"], gap["high"]), f"{who}, against {row['reference']}", thin)


def _interval(group: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    low, high = _number(group.get(f"{key}_low")), _number(group.get(f"{key}_high"))
    return None if low is None or high is None else (low, high)


def _evidence(group: Mapping[str, Any]) -> str:
    clusters = f" in {group['clusters']} clusters ({group['unit']})" if "clusters" in group else ""
    return f"{group['objects']} objects{clusters}"


def _counts(counts: Mapping[str, Any], *names: str) -> str:
    return " in ".join(f"{counts[name]} {name}" for name in names if isinstance(counts.get(name), int))


def _number(value: object) -> float | None:
    """A figure that can be compared; anything else counts as not measured."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def told(it: Verdict) -> str:
    """The verdict, and each line that does not hold."""
    held = sum(line.result == Result.HOLDS for line in it.lines)
    head = f"{it.verdict}; {held} of {len(it.lines)} limits hold"
    conditions = [f"not assessed: {condition}" for condition in it.conditions]
    withheld = [f"withheld: {artifact}" for artifact in it.withheld]
    return "\n  ".join([head, *it.reasons, *conditions, *withheld])


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    names = ("evaluation", "robustness", "export", "verify", "fieldtest")
    args = stage_arguments(__doc__, *names, "out").parse_args(argv)
    p = GateParams.load("gate")
    folders = (Folder(getattr(args, name)) for name in names)
    reports = read_reports(*folders)
    it = verdict(reports, p)
    write_json(args.out, it.model_dump(mode="json"))
    summary("gate", told(it))


if __name__ == "__main__":
    run(main)
