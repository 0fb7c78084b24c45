"""May an iteration be promoted? One rule for every limit, and what follows from all of them.

- A limit *fails* where the figure itself does not meet it.
- It *holds* where the whole 95 % interval meets it, or the figure alone where it has no interval.
- Else the evidence is too thin: it is *not assessed*. So a figure may fail a limit, but never pass it by luck, and
  what was never measured never passes.
- An artifact that fails is *withheld*: it does not ship, and refuses nothing while another of its target ships.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from pipeline.core.params import Bounds

ROUNDING = 1e-9  # 0.5 - 0.49 is more than 0.01 in binary


class Result(StrEnum):
    """What became of one limit."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_ASSESSED = "not assessed"
    WITHHELD = "withheld"  # an artifact that does not ship, where another of its target does


class Promotion(StrEnum):
    """What becomes of the iteration."""

    PROMOTE = "promote"
    CONDITIONS = "promote with conditions"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure, how sure it is, and where it comes from."""

    figure: float | None
    source: str  # file, and the folder that it lies in
    interval: tuple[float, float] | None = None  # at 95 %
    evidence: str = ""  # how much it rests on
    thin: str = ""  # why it is too little for any judgement


class Line(BaseModel):
    """One line of a verdict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: str  # what is limited
    figure: float | None
    min: float | None
    max: float | None
    low: float | None  # 95 % interval
    high: float | None
    evidence: str
    source: str
    result: Result
    reason: str  # of all that does not hold


class Verdict(BaseModel):
    """gate.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verdict: Promotion
    strict: bool
    lines: tuple[Line, ...]
    reasons: tuple[str, ...]  # of a refusal
    conditions: tuple[str, ...]  # limits that the evidence is too thin to assess
    withheld: tuple[str, ...]  # artifacts that do not ship


def meets(value: float, asked: Bounds) -> bool:
    """Whether a value lies within bounds, give or take a rounding.

    >>> meets(0.79, Bounds(min=0.8)), meets(0.5 - 0.49, Bounds(max=0.01))
    (False, True)
    """
    low = -math.inf if asked.min is None else asked.min
    high = math.inf if asked.max is None else asked.max
    return low - ROUNDING <= value <= high + ROUNDING


def judge(limit: str, asked: Bounds, it: Measured) -> Line:
    """The line of one limit."""
    result, reason = _judged(asked, it)
    low, high = it.interval or (None, None)
    return Line(
        limit=limit,
        figure=it.figure,
        min=asked.min,
        max=asked.max,
        low=low,
        high=high,
        evidence=it.evidence,
        source=it.source,
        result=result,
        reason=reason,
    )


def _judged(asked: Bounds, it: Measured) -> tuple[Result, str]:
    if it.thin:
        return Result.NOT_ASSESSED, it.thin
    if it.figure is None:
        return Result.FAILS, "not measured"
    if not meets(it.figure, asked):
        return Result.FAILS, _beyond(it.figure, asked)
    outside = [bound for bound in it.interval or () if not meets(bound, asked)]
    if outside:
        return Result.NOT_ASSESSED, f"{it.figure:.4g} meets it, but its interval goes on to {outside[0]:.4g}"
    return Result.HOLDS, ""


def _beyond(value: float, asked: Bounds) -> str:
    if asked.min is not None and value < asked.min:
        return f"{value:.4g} is below {asked.min:g}"
    return f"{value:.4g} is above {asked.max:g}"


def conclude(lines: Sequence[Line], *, strict: bool) -> Verdict:
    """The verdict over all lines; a strict one refuses what cannot be assessed."""
    told = {result: tuple(f"{it.limit}: {it.reason}" for it in lines if it.result == result) for result in Result}
    failed, thin = told[Result.FAILS], told[Result.NOT_ASSESSED]
    if failed or (strict and thin):
        return Verdict(
            verdict=Promotion.REFUSE,
            strict=strict,
            lines=tuple(lines),
            reasons=(*failed, *(thin if strict else ())),
            conditions=() if strict else thin,
            withheld=told[Result.WITHHELD],
        )
    return Verdict(
        verdict=Promotion.CONDITIONS if thin else Promotion.PROMOTE,
        strict=strict,
        lines=tuple(lines),
        reasons=(),
        conditions=thin,
        withheld=told[Result.WITHHELD],
    )
