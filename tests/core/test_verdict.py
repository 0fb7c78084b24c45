"""The one rule of the gate: a figure may fail a limit, only its interval may meet it, what is thin is named."""

import pytest

from pipeline.core.params import Bounds
from pipeline.core.verdict import Line, Measured, Promotion, Result, Verdict, conclude, judge

FLOOR, CEILING = Bounds(min=0.8), Bounds(max=0.2)


def measured(figure: float | None, low: float | None = None, high: float | None = None, thin: str = "") -> Measured:
    interval = None if low is None or high is None else (low, high)
    return Measured(figure, "evaluate/groups.json", interval, "74 objects", thin)


@pytest.mark.parametrize(
    ("asked", "it", "result", "reason"),
    [
        pytest.param(FLOOR, measured(0.9), Result.HOLDS, "", id="no interval: the figure decides"),
        pytest.param(FLOOR, measured(0.8), Result.HOLDS, "", id="exactly"),
        pytest.param(FLOOR, measured(0.7), Result.FAILS, "0.7 is below 0.8", id="below"),
        pytest.param(FLOOR, measured(0.9, 0.81, 0.95), Result.HOLDS, "", id="the whole interval"),
        pytest.param(
            FLOOR,
            measured(0.9, 0.75, 0.95),
            Result.NOT_ASSESSED,
            "0.9 meets it, but its interval goes on to 0.75",
            id="a point value does not pass",
        ),
        pytest.param(FLOOR, measured(0.7, 0.6, 0.85), Result.FAILS, "0.7 is below 0.8", id="nor does an upper bound"),
        pytest.param(CEILING, measured(0.1, 0.05, 0.15), Result.HOLDS, "", id="below a ceiling"),
        pytest.param(CEILING, measured(0.3, 0.1, 0.5), Result.FAILS, "0.3 is above 0.2", id="above a ceiling"),
        pytest.param(
            CEILING,
            measured(0.1, 0.05, 0.25),
            Result.NOT_ASSESSED,
            "0.1 meets it, but its interval goes on to 0.25",
            id="an upper bound above a ceiling",
        ),
        pytest.param(Bounds(min=0.5, max=0.55), measured(0.6), Result.FAILS, "0.6 is above 0.55", id="both bounds"),
        pytest.param(FLOOR, measured(None), Result.FAILS, "not measured", id="missing"),
        pytest.param(FLOOR, measured(None, thin="4 of 30"), Result.NOT_ASSESSED, "4 of 30", id="too few to measure"),
        pytest.param(FLOOR, measured(0.9, thin="4 of 30"), Result.NOT_ASSESSED, "4 of 30", id="too few to pass"),
        pytest.param(Bounds(min=-0.01), measured(0.49 - 0.5), Result.HOLDS, "", id="a rounding is no loss"),
    ],
)
def test_each_limit(asked: Bounds, it: Measured, result: Result, reason: str) -> None:
    line = judge("recall", asked, it)
    assert (line.result, line.reason) == (result, reason)


def test_a_line_says_figure_limit_interval_evidence_and_source() -> None:
    assert judge("recall", FLOOR, measured(0.9, 0.75, 0.95)).model_dump(mode="json") == {
        "limit": "recall", "figure": 0.9, "min": 0.8, "max": None, "low": 0.75, "high": 0.95, "evidence": "74 objects",
        "source": "evaluate/groups.json", "result": "not assessed",
        "reason": "0.9 meets it, but its interval goes on to 0.75",
    }  # fmt: skip


def line(name: str, result: Result) -> Line:
    told = {Result.HOLDS: measured(0.9), Result.FAILS: measured(0.1), Result.NOT_ASSESSED: measured(None, thin="few")}
    return judge(name, FLOOR, told[result])


H, F, N = Result.HOLDS, Result.FAILS, Result.NOT_ASSESSED


@pytest.mark.parametrize(
    ("results", "strict", "verdict", "reasons", "conditions"),
    [
        pytest.param([], False, Promotion.PROMOTE, (), (), id="nothing asked"),
        pytest.param([H, H], False, Promotion.PROMOTE, (), (), id="all hold"),
        pytest.param([H, H], True, Promotion.PROMOTE, (), (), id="strict, all hold"),
        pytest.param([H, N], False, Promotion.CONDITIONS, (), ("1: few",), id="one is too thin"),
        pytest.param([H, N], True, Promotion.REFUSE, ("1: few",), (), id="strict, one is too thin"),
        pytest.param([F, H], False, Promotion.REFUSE, ("0: 0.1 is below 0.8",), (), id="one fails"),
        pytest.param(
            [F, N], False, Promotion.REFUSE, ("0: 0.1 is below 0.8",), ("1: few",), id="one fails, one is too thin"
        ),
        pytest.param([N, F], True, Promotion.REFUSE, ("1: 0.1 is below 0.8", "0: few"), (), id="strict, both"),
    ],
)
def test_three_verdicts(
    results: list[Result],
    strict: bool,  # noqa: FBT001
    verdict: Promotion,
    reasons: tuple[str, ...],
    conditions: tuple[str, ...],
) -> None:
    it = conclude([line(str(i), result) for i, result in enumerate(results)], strict=strict)
    assert (it.verdict, it.reasons, it.conditions) == (verdict, reasons, conditions)
    assert Verdict.model_validate_json(it.model_dump_json()) == it
