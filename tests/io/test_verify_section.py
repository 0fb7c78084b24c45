from typing import Any

import pytest

from pipeline.io.documents import Figures
from pipeline.io.page import Chart
from pipeline.io.verify_section import verification

GOOD = {
    "engine": "onnxruntime", "precision": "int8", "AP": 0.569, "AP50": 0.88, "drop_AP": 0.001, "drop_AP_low": -0.012,
    "drop_AP_high": 0.015, "kept_AP": 0.998, "heads": {"boxes": 2.86, "scores": 0.03}, "verified": True, "reasons": [],
    "groups": {
        "class": {"person": {"objects": 74, "drop": 0.0, "reference": 0.8, "recall": 0.8}},
        "camera": {
            "lot": {"objects": 6, "drop": 0.5, "reference": 1.0, "recall": 0.5},
            "lobby": {"objects": 60, "drop": 0.03, "reference": 0.9, "recall": 0.87, "low": -0.01, "high": 0.07},
        },
    },
}  # fmt: skip
BAD = {"engine": "tensorrt", "precision": "int8", "verified": False, "reasons": ["could not be loaded"]}


def document(**artifacts: Any) -> Figures:
    values = {
        "artifacts": artifacts, "frames": 96, "objects": 82, "reference": {"AP": 0.57},
        "limits": {"min_support": 50, "max_recall_drop": 0.02},
    }  # fmt: skip
    return Figures(values, "reports/verify/verify.json", "verify")


def test_each_artifact_has_its_verdict_and_figures() -> None:
    section = verification(document(a=GOOD, b=BAD))
    verdicts = section.tables[0].rows
    assert [row[-1].text for row in verdicts] == ["verified", "refused: could not be loaded"]
    assert [row[-1].kind for row in verdicts] == ["good", "bad"]
    assert verdicts[0][4].text == "0.10 (-1.2 to +1.5)"
    assert verdicts[1][4].text == "-"
    assert ("Artifacts verified", "1 of 2") in section.facts


def test_groups_that_decide_come_before_those_too_few_to() -> None:
    rows = verification(document(a=GOOD)).tables[1].rows
    assert [row[0].text for row in rows] == ["camera: lobby", "camera: lot"]
    assert [row[-1].text for row in rows] == ["above 2 points", "does not decide: 6 of 50 objects"]
    assert rows[0][5].text == "3.00 (-1.0 to +7.0)"


@pytest.mark.parametrize("artifacts", [{"b": BAD}, {}], ids=["nothing measured", "no artifact"])
def test_where_nobody_loses_there_is_no_table_of_groups(artifacts: dict[str, Any]) -> None:
    assert len(verification(document(**artifacts)).tables) == 1


def test_losses_are_drawn_with_their_intervals() -> None:
    (chart,) = verification(document(a=GOOD, b=BAD)).pictures
    assert isinstance(chart, Chart)
    assert 'data-tip="a: 0.1 (-1.2 to 1.5), int8"' in chart.svg
    assert "refused, not measured" in chart.svg
    assert chart.alt == "AP points lost by each artifact: a +0.10"
