"""The verdict as a reader sees it, worst lines first, each with its evidence; the ledger's gains on equal ground."""

from typing import Any

import pytest

from pipeline.io.documents import Figures
from pipeline.io.gate_section import conditions, headline, ledger, reasons, with_conditions
from pipeline.io.page import Cell, Chart, Section

LINE = {
    "limit": "camera hall: recall", "figure": 0.9, "min": 0.8, "max": None, "low": 0.85, "high": 0.95,
    "evidence": "90 objects", "source": "evaluate/groups.json", "result": "holds", "reason": "",
}  # fmt: skip
FAILED = LINE | {
    "limit": "AP",
    "figure": 0.4,
    "low": None,
    "high": None,
    "result": "fails",
    "reason": "0.4 is below 0.8",
}
THIN = LINE | {"limit": "camera lobby: recall", "figure": None, "low": None, "high": None, "result": "not assessed",
               "reason": "8 of 30 objects"}  # fmt: skip
AGAINST = LINE | {"limit": "AP against the champion", "figure": 0.01, "min": -0.05, "low": -0.02, "high": 0.04}


def gate(*lines: dict[str, Any], strict: bool = False) -> Figures:
    return Figures({"lines": list(lines), "strict": strict}, "reports/gate.json", "gate")


def register(verdict: str, told: list[str], comparison: dict[str, Any] | None = None) -> Figures:
    refused = verdict == "refuse"
    values: dict[str, Any] = {"verdict": verdict, "comparison": comparison}
    values |= {"reasons": told if refused else [], "conditions": [] if refused else told}
    return Figures(values, "reports/register.json", "register")


@pytest.mark.parametrize(
    ("lines", "decision", "told"),
    [
        pytest.param([LINE], register("promote", []), (True, False, "May be promoted: 1 of 1 limits hold"), id="all"),
        pytest.param(
            [LINE, THIN],
            register("promote with conditions", ["few"]),
            (True, True, "May be promoted with conditions: 1 of 2 limits hold, 1 not assessed"),
            id="conditions",
        ),
        pytest.param(
            [LINE],
            register("refuse", ["worse"], AGAINST | {"result": "fails"}),
            (False, False, "May not be promoted: 1 of 2 limits hold"),
            id="worse than the champion",
        ),
    ],
)
def test_the_verdict_comes_first(lines: list[dict[str, Any]], decision: Figures, told: tuple[bool, bool, str]) -> None:
    assert headline(gate(*lines), decision) == told
    assert list(reasons(decision)) == [*decision["reasons"], *decision["conditions"]]


def test_every_line_can_be_followed_to_its_evidence() -> None:
    section = conditions(gate(LINE, THIN, FAILED), register("refuse", ["AP"], AGAINST))
    (table,) = section.tables
    assert table.source == "reports/gate.json, reports/register.json"
    assert [row[0].text for row in table.rows] == [
        "AP", "camera lobby: recall", "camera hall: recall", "AP against the champion",
    ]  # fmt: skip
    assert table.rows[0][3] == Cell("0.4 is below 0.8", "bad")
    assert table.rows[1][2:4] == (Cell("-", "number"), Cell("not assessed: 8 of 30 objects", "quiet"))
    assert [cell.text for cell in table.rows[2]] == [
        "camera hall: recall", "at least 0.8", "0.900 (0.850 to 0.950)", "holds", "90 objects, in evaluate/groups.json",
    ]  # fmt: skip
    assert table.rows[3][2].text == "0.010 (-0.020 to 0.040)"


@pytest.mark.parametrize(("strict", "word"), [(False, "becomes a condition of"), (True, "refuses")])
def test_what_becomes_of_thin_evidence_is_said(strict: bool, word: str) -> None:  # noqa: FBT001
    assert word in conditions(gate(THIN, strict=strict), register("promote", [])).notes[1]


def test_conditions_stand_in_the_preconditions() -> None:
    sheet = Section("preconditions", "Preconditions", "?")
    assert with_conditions(sheet, gate(LINE), register("promote", [])) == sheet
    (table,) = with_conditions(sheet, gate(LINE, THIN), register("promote with conditions", ["few"])).tables
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["camera lobby: recall", "at least 0.8", "8 of 30 objects"]
    ]


ROW = {
    "version": 1, "date": "2025-11-20", "frames": 100, "frames_added": 100, "labels": 60, "labels_added": 60,
    "benchmark": "b1", "AP": 0.5, "AP50": 0.8, "worst_group": "camera lobby", "worst_recall": 0.7, "robustness": 0.68,
    "verdict": "promote", "minutes": 7.25,
}  # fmt: skip


def test_the_ledger_says_what_each_round_bought() -> None:
    rows = [
        ROW,
        ROW | {"version": 2, "AP": 0.53},
        ROW | {"version": 3, "benchmark": "b2", "minutes": None},
        ROW | {"version": 4, "benchmark": "b2", "AP": None, "date": None, "minutes": None, "worst_recall": None},
    ]
    (table,) = ledger(Figures({"iterations": rows}, "reports/ledger.json", "register")).tables
    shown = [[cell.text for cell in row] for row in table.rows]
    assert shown[0] == [
        "1", "2025-11-20", "100", "60", "0.500", "-", "0.800", "camera lobby: recall 0.700", "0.680", "promote", "7.2",
    ]  # fmt: skip
    assert [row[5] for row in shown] == ["-", "+0.030", "another benchmark", "-"]
    assert [row[1] for row in shown[2:]] == ["2025-11-20", "this one"]
    assert [row[10] for row in shown[2:]] == ["-", "this one"]
    assert shown[3][7] == "-"


def test_without_an_iteration_the_ledger_is_empty() -> None:
    assert ledger(Figures({"iterations": []}, "reports/ledger.json", "register")).tables[0].rows == ()


def test_rounds_on_one_benchmark_are_drawn() -> None:
    rows = [ROW, ROW | {"version": 2, "AP": 0.53}, ROW | {"version": 3, "benchmark": "b2"}, ROW | {"AP": None}]
    (chart,) = ledger(Figures({"iterations": rows}, "reports/ledger.json", "register")).pictures
    assert isinstance(chart, Chart)
    assert chart.legend == ("benchmark b1", "benchmark b2")
    assert chart.alt == "AP by iteration. benchmark b1: 0.500, 0.530; benchmark b2: 0.500"


@pytest.mark.parametrize("rows", [[ROW], [ROW, ROW | {"benchmark": "b2"}], []], ids=["one", "two benchmarks", "none"])
def test_rounds_that_cannot_be_compared_are_not_drawn(rows: list[dict[str, Any]]) -> None:
    assert ledger(Figures({"iterations": rows}, "reports/ledger.json", "register")).pictures == ()
