"""What is told of a trial, and when it is too little for a limit. Intervals are those of published tables."""

from typing import Any

import pytest

from pipeline.core.events import Alarm, TruthEvent, operating_curve, score
from pipeline.core.field_figures import curve, overall, shortage
from pipeline.core.params import Bounds

EVENTS = [TruthEvent("hall", "person", 10, 20, "door", "night"), TruthEvent("lobby", "person", 10, 20)]
ALARMS = [
    Alarm("hall", "person", 10, 20, "door", 11.5, 0.9),
    Alarm("hall", "", 50, 60, "", 50, 0.0),
]
HOURS = {"hall": 1.0, "lobby": 1.0}
SCORED = score(EVENTS, ALARMS, HOURS, 1.0)
NOTHING = score([], [], {}, 1.0)


def test_figures_and_intervals_by_name() -> None:
    it = overall(SCORED)
    counts = {name: it[name] for name in ("events", "found", "missed", "alarms", "true", "duplicates", "false_alarms")}
    assert counts == {
        "events": 2, "found": 1, "missed": 1, "alarms": 2, "true": 1, "duplicates": 0, "false_alarms": 1
    }  # fmt: skip
    assert (it["event_recall"], it["missed_share"], it["precision"], it["hours"]) == (0.5, 0.5, 0.5, 2.0)
    for name in ("event_recall", "missed_share", "precision"):  # one of two, Clopper and Pearson (1934)
        assert (it[f"{name}_low"], it[f"{name}_high"]) == pytest.approx((0.0126, 0.9874), abs=1e-4)
    assert it["false_alarms_per_hour"] == 0.5
    ends = it["false_alarms_per_hour_low"], it["false_alarms_per_hour_high"]
    assert ends == pytest.approx((0.0253 / 2, 5.572 / 2), abs=1e-3)  # one in two hours, Garwood (1936)
    assert it["time_to_detect_s"] == {"median": 1.5, "p90": 1.5, "max": 1.5}


def test_the_parts_have_names() -> None:
    it = overall(SCORED)
    parts = {kind: set(it[kind]) for kind in ("camera", "class", "zone", "condition")}
    assert parts == {
        "camera": {"hall", "lobby"}, "class": {"person", "any"}, "zone": {"door", "any"}, "condition": {"night", "any"}
    }  # fmt: skip
    assert (it["camera"]["hall"]["found"], it["camera"]["lobby"]["found"]) == (1, 0)
    assert it["class"]["any"]["false_alarms"] == 1  # motion alone
    assert it["condition"]["night"]["hours"] is None


def test_of_nothing_nothing_is_told() -> None:
    it = overall(NOTHING)
    assert (it["hours"], it["events"], it["alarms"]) == (0, 0, 0)
    assert {"event_recall", "false_alarms_per_hour", "precision", "time_to_detect_s"} <= {
        name for name, value in it.items() if value is None
    }
    assert not {"camera", "class", "zone", "condition"} & it.keys()


def test_the_curve_has_a_row_a_threshold() -> None:
    points = operating_curve(EVENTS, {0.9: [], 0.5: ALARMS}, HOURS, 1.0)
    rows = curve(points)
    assert [(it["threshold"], it["missed_share"], it["false_alarms_per_hour"]) for it in rows] == [
        (0.5, 0.5, 0.5),
        (0.9, 1.0, 0.0),
    ]
    assert rows[1]["false_alarms_per_hour_high"] == pytest.approx(3.689 / 2, abs=1e-3)
    assert rows[1]["missed_share_low"] == pytest.approx(0.158, abs=1e-3)  # two of two


def test_a_curve_without_footage_is_empty_of_figures() -> None:
    (row,) = curve(operating_curve([], {0.5: []}, {}, 1.0))
    assert [value for name, value in row.items() if name != "threshold"] == [None] * 6


def part(**changes: Any) -> dict[str, Any]:
    return overall(NOTHING) | {"event_recall": 0.5, "false_alarms_per_hour": 0.0} | changes


@pytest.mark.parametrize(
    ("metric", "asked", "seen", "reason"),
    [
        # docs/events.md: 17 events, none missed, for a recall of 0.8; 0.37 hours without a false alarm for 10 an hour
        pytest.param("event_recall", {"min": 0.8}, {"found": 17, "events": 17}, "", id="recall holds"),
        pytest.param("event_recall", {"min": 0.8}, {"found": 16, "events": 16}, "at least 1 events more", id="lacking"),
        pytest.param("event_recall", {"min": 0.8}, {"found": 1, "events": 2}, "only show", id="two say nothing"),
        pytest.param("event_recall", {"min": 0.8}, {"found": 10, "events": 20}, "", id="recall fails"),
        pytest.param(
            "event_recall", {"min": 0.8}, {"event_recall": None, "found": 0, "events": 0}, "nothing to measure",
            id="no event"
        ),
        pytest.param("event_recall", {"max": 0.8}, {"found": 1, "events": 2}, "", id="no such rule"),
        pytest.param("false_alarms_per_hour", {"max": 10}, {"false_alarms": 0, "hours": 0.37}, "", id="rate holds"),
        pytest.param(
            "false_alarms_per_hour", {"max": 10}, {"false_alarms": 0, "hours": 0.05}, "0.319 h more", id="three minutes"
        ),
        pytest.param("false_alarms_per_hour", {"max": 10}, {"false_alarms": 9, "hours": 0.5}, "", id="rate fails"),
        pytest.param(
            "false_alarms_per_hour", {"max": 10}, {"false_alarms_per_hour": None, "hours": None}, "nothing to measure",
            id="of a condition"
        ),
        pytest.param("time_to_detect_s.p90", {"max": 2}, {}, "nothing to measure", id="nothing found"),
        pytest.param("time_to_detect_s.p90", {"max": 2}, {"time_to_detect_s": {"p90": 3.0}}, "", id="found late"),
        pytest.param("event_recal", {"min": 0.8}, {}, "", id="a slip of the pen is for others to tell"),
    ],
)  # fmt: skip
def test_what_is_too_little(metric: str, asked: dict[str, float], seen: dict[str, Any], reason: str) -> None:
    found = shortage(metric, Bounds(**asked), part(**seen))
    assert reason in found
    assert bool(reason) == bool(found)
