"""Rows from what stages left; how they come back from MLflow is in test_register."""

from typing import Any

import pytest

from pipeline.services.ledger import Row, facts, table, without_clock, worst_group

ROW = Row(
    version=3, date="2025-11-21", frames=1965, frames_added=400, labels=346, labels_added=-2, benchmark="b" * 64,
    AP=0.5704, AP50=0.871, worst_group="camera lobby", worst_recall=0.81, robustness=None,
    verdict="promote with conditions", minutes=7.25,
)  # fmt: skip
LOW, HIGH = {"verdict": "assessable", "recall": 0.6}, {"verdict": "assessable", "recall": 0.9}


@pytest.mark.parametrize(
    ("groups", "worst"),
    [
        pytest.param({"camera": {"hall": HIGH, "lobby": LOW}}, ("camera lobby", 0.6), id="lowest recall"),
        pytest.param({"height": {"0-48 px": LOW}, "camera": {"hall": HIGH}}, ("camera hall", 0.9), id="not by height"),
        pytest.param({"camera x class": {"hall x person": LOW}}, None, id="nor by class, in a slice"),
        pytest.param(
            {"camera": {"hall": LOW | {"verdict": "not assessable"}, "lobby": HIGH}},
            ("camera lobby", 0.9),
            id="too few",
        ),
        pytest.param({"camera": {"hall": {"verdict": "not assessable"}}}, None, id="none assessable"),
    ],
)
def test_the_worst_assessable_group(groups: dict[str, Any], worst: tuple[str, float] | None) -> None:
    assert worst_group(groups) == worst


def test_what_was_added_is_what_the_iteration_before_did_not_have() -> None:
    ingest, annotate = {"usable": 2000}, {"boxes": {"person": 300, "vehicle": 60}}
    figures, tags = facts(ingest, annotate, {"camera": {"hall": HIGH}}, ROW)
    assert figures == {
        "iteration/frames": 2000, "iteration/frames_added": 35, "iteration/labels": 360, "iteration/labels_added": 14,
        "iteration/worst_recall": 0.9,
    }  # fmt: skip
    assert tags == {"sightline.worst_group": "camera hall"}
    assert facts(ingest, annotate, {}, None)[0]["iteration/frames_added"] == 2000


def test_a_file_has_the_clock_of_earlier_iterations_only() -> None:
    first, last = without_clock([ROW, ROW.model_copy(update={"version": 4})])
    assert (first["date"], first["minutes"]) == ("2025-11-21", 7.25)
    assert (last["version"], last["date"], last["minutes"]) == (4, None, None)
    assert without_clock([]) == []


def test_the_table_at_the_terminal() -> None:
    assert table([ROW.model_copy(update={"verdict": "promote"})]).splitlines() == [
        "version  date        frames  labels  AP     AP50   worst group   recall  rPC  verdict  minutes",
        "3        2025-11-21  +400    -2      0.570  0.871  camera lobby  0.810   -    promote  7.2",
    ]
