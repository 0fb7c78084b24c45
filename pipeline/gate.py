"""May this iteration be promoted?

Reads the figures of evaluate and the parity of the exported model with the trained one. Writes the verdict to --out,
with a line for every limit of section `gate`. A refusal is a result, not a failure: the stage ends well either way.
"""

import math
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.metrics import flatten
from pipeline.core.params import GateParams, Limit
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.io.files import read_json, write_json

PARITY = "export.parity"  # the line that every verdict has, whatever the limits ask


def judge(metrics: dict[str, Any], parity: dict[str, Any], p: GateParams) -> dict[str, Any]:
    """The verdict, its lines and the reasons of a refusal.

    Args:
        metrics: nested figures of metrics.json.
        parity: parity.json of the exported model.
        p: limits.
    """
    flat = flatten(metrics)
    lines = [_parity_line(parity), *(_limit_line(flat.get(limit.metric), limit) for limit in p.limits)]
    reasons = [f"{line['metric']}: {line['reason']}" for line in lines if not line["passed"]]
    return {"verdict": "refuse" if reasons else "promote", "lines": lines, "reasons": reasons}


def _parity_line(parity: dict[str, Any]) -> dict[str, Any]:
    passed = parity.get("passed") is True
    reason = "" if passed else "the exported model does not give what the trained one gives"
    return _line(PARITY, _number(parity.get("max_abs_difference")), None, passed=passed, reason=reason)


def _limit_line(value: object, limit: Limit) -> dict[str, Any]:
    figure = _number(value)
    if figure is None:
        reason = "not measured"
    elif limit.min is not None and not figure >= limit.min:
        reason = f"{figure:.4g} is below {limit.min:g}"
    elif limit.max is not None and not figure <= limit.max:
        reason = f"{figure:.4g} is above {limit.max:g}"
    else:
        reason = ""
    return _line(limit.metric, figure, limit, passed=not reason, reason=reason)


def _line(metric: str, figure: float | None, limit: Limit | None, *, passed: bool, reason: str) -> dict[str, Any]:
    bounds = {"min": limit.min if limit else None, "max": limit.max if limit else None}
    return {"metric": metric, "figure": figure, **bounds, "passed": passed, "reason": reason}


def _number(value: object) -> float | None:
    """A figure that can be compared; anything else counts as not measured."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises DataError where the file is missing or holds something else."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(value).__name__}; run: dvc repro")
    return value


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    args = stage_arguments(__doc__, "metrics", "export", "out").parse_args(argv)
    p = GateParams.load("gate")
    verdict = judge(read_object(args.metrics), read_object(args.export / "parity.json"), p)
    write_json(args.out, verdict)
    passed = sum(line["passed"] for line in verdict["lines"])
    text = f"{verdict['verdict']}; {passed} of {len(verdict['lines'])} conditions hold"
    summary("gate", "\n  ".join([text, *verdict["reasons"]]))


if __name__ == "__main__":
    run(main)
