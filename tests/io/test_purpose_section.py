"""The first thing that a reader is told: what it is for, what is asked, and the figures that matter most."""

from typing import Any

from pipeline.io.documents import Figures
from pipeline.io.purpose_section import headlines, purpose

LINE = {"limit": "AP50", "min": 0.8, "max": None}
CARD = Figures({"classes": ["person", "vehicle"]}, "model.json", "train")
INGEST = Figures({"cameras": {"lobby": {}, "hall": {}}}, "ingest.json", "ingest")
SHEET = Figures({"recall_floor": 0.9}, "preconditions.json", "evaluate")
METRICS = {"objects": 412, "frames": 308, "AP50": 0.913, "recall": 0.9}
LEDGER = {"worst_recall": 0.81, "worst_group": "camera lobby"}
VERIFIED = {"artifacts": {"cpu/fp32": {"verified": True}, "cpu/int8": {"verified": False}}}


def gate(*limits: dict[str, Any]) -> Figures:
    return Figures({"strict": True, "lines": [LINE | it for it in limits]}, "gate.json", "gate")


def register(comparison: dict[str, Any] | None = None) -> Figures:
    return Figures({"comparison": comparison}, "register.json", "register")


def test_what_is_asked_is_told_once_with_all_that_it_is_asked_of() -> None:
    limits: tuple[dict[str, Any], ...] = (
        {}, {"limit": "class.person.AP50"}, {"limit": "camera lobby: recall", "min": 0.4},
        {"limit": "camera hall: recall", "min": 0.4}, {"limit": "export.parity", "min": None},
        {"limit": "verify.cpu/int8: AP lost", "min": None, "max": 0.02},
    )  # fmt: skip
    (table,) = purpose(gate(*limits), register(), CARD, INGEST, SHEET).tables
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["AP50", "at least 0.8", "the whole benchmark, class.person"],
        ["recall", "at least 0.4", "camera lobby, camera hall"],
        ["parity", "equal outputs", "export"],
        ["AP lost", "at most 0.02", "verify.cpu/int8"],
    ]
    assert table.source == "gate.json"


def test_the_champion_is_a_condition_as_well() -> None:
    against = LINE | {"limit": "AP against the champion", "min": -0.05}
    (table,) = purpose(gate(), register(against), CARD, INGEST, SHEET).tables
    assert [cell.text for cell in table.rows[0]] == ["AP against the champion", "at least -0.05", "the whole benchmark"]
    assert table.source == "gate.json, register.json"


def test_its_purpose_names_its_sources() -> None:
    section = purpose(gate(), register(), CARD, INGEST, SHEET)
    assert dict(section.facts) == {
        "To detect": "person, vehicle",
        "Cameras": "lobby, hall",
        "Recall asked of a condition": "0.9",
        "What cannot be assessed": "refuses the promotion",
    }
    assert section.source == "model.json, ingest.json, preconditions.json, gate.json"


def told(metrics: dict[str, Any], rows: list[dict[str, Any]], left: dict[str, Any]) -> dict[str, str]:
    found = headlines(
        Figures(metrics, "metrics.json", "evaluate"),
        Figures({"iterations": rows}, "ledger.json", "register"),
        Figures({"rPC": left}, "robustness.json", "robustness"),
        Figures(VERIFIED, "verify.json", "verify"),
    )
    assert all(it.source and it.note and it.section for it in found)
    return {it.title: it.value for it in found}


def test_headlines_tell_what_was_measured() -> None:
    assert told(METRICS, [LEDGER | {"worst_recall": 0.1}, LEDGER], {"all": {"AP": 0.505}}) == {
        "AP50": "0.913",
        "Recall at the operating point": "0.900",
        "Lowest recall of a group": "0.810",
        "Left in bad conditions": "50%",
        "Artifacts verified": "1 of 2",
    }


def test_headlines_leave_out_what_was_not() -> None:
    nothing = {"objects": 0, "frames": 3}
    assert told(nothing, [LEDGER | {"worst_recall": None}], {}) == {"Artifacts verified": "1 of 2"}
    assert told(nothing, [], {"all": {}}) == {"Artifacts verified": "1 of 2"}
