"""The preconditions sheet of a detector that is made to fail below a height, and its words."""

from typing import Any

import numpy as np
import pytest

from benchmarks import groups as simulation
from pipeline.core import envelope
from pipeline.core.envelope import FAILS, HOLDS, NOT_ASSESSED, OPEN, Part
from pipeline.core.groups import assess_all, by_object

EDGES = {
    "height": (50.0, 100.0, 200.0),
    "luminance": (40.0,),
    "contrast": (40.0,),
    "sharpness": (40.0,),
    "speed": (1.0,),
    "crowding": (1.0,),
}
PER = 300  # objects of each height
HEIGHTS = np.repeat([30.0, 70.0, 150.0, 250.0], (PER, PER, PER, 10))


@pytest.fixture
def sheet() -> dict[str, Any]:
    """Heights of 70 and 150 px are always found, 30 px in half of the cases; of 250 px there are ten."""
    rng = np.random.default_rng(0)
    n = len(HEIGHTS)
    found = (HEIGHTS > 50) | (rng.random(n) < 0.5)
    evidence = simulation.evidence(rng.integers(0, 40, n), found, 0, 400)
    groups = assess_all(by_object("object age", ["old" if h < 50 else "young" for h in HEIGHTS]), evidence)
    values = {name: np.full(n, np.nan) for name in envelope.TITLES} | {"height": HEIGHTS}
    values["pixels per metre"] = HEIGHTS
    return envelope.preconditions(values, HEIGHTS > 200, groups, evidence, EDGES, 0.9)


def line(sheet: dict[str, Any], name: str) -> dict[str, Any]:
    return next(it for it in sheet["conditions"] if it["condition"] == name)


def test_the_smallest_height_that_holds(sheet: dict[str, Any]) -> None:
    height = line(sheet, "height")
    assert sheet["smallest_height_px"] == 50
    assert [part["state"] for part in height["parts"]] == [FAILS, HOLDS, HOLDS, NOT_ASSESSED]
    assert [part["objects"] for part in height["parts"]] == [PER, PER, PER, 10]
    assert height["words"].startswith("Recall is at least 0.90: 50 to 200 px. Below it: below 50 px (0.")
    assert height["words"].endswith("Not assessed: 200 px and more (10 of 30 objects).")
    assert height["parts"][1]["recall_low"] >= 0.9


def test_what_has_no_evidence_is_not_assessed_and_says_why(sheet: dict[str, Any]) -> None:
    assert line(sheet, "speed")["words"] == "Not assessed: no object has a track id in two frames of a clip."
    assert line(sheet, "frame weather")["words"] == "Not assessed: no frame has the attribute."
    assert line(sheet, "luminance")["state"] == NOT_ASSESSED


def test_levels_of_iec_62676_4(sheet: dict[str, Any]) -> None:
    values = [part["value"] for part in line(sheet, "pixels per metre")["parts"]]
    assert values == [
        "below detection: below 25 px/m",
        "detection: 25 to 62.5 px/m",
        "observation: 62.5 to 125 px/m",
        "recognition: 125 to 250 px/m",
        "identification: 250 px/m and more",
    ]


def test_annotated_attributes_and_truncation_are_conditions(sheet: dict[str, Any]) -> None:
    age = line(sheet, "object age")
    assert (age["title"], [part["state"] for part in age["parts"]]) == ("Age (object)", [FAILS, HOLDS])
    assert age["words"].startswith("Recall is at least 0.90: young. Below it: old (0.")
    assert [part["objects"] for part in line(sheet, "truncation")["parts"]] == [10, 3 * PER]


def part(state: str, low: float) -> Part:
    return Part("", state, 0, low=low, high=low + 1)


@pytest.mark.parametrize(
    ("states", "smallest"),
    [
        pytest.param([FAILS, HOLDS, HOLDS], 1, id="down-to-where-it-fails"),
        pytest.param([HOLDS, OPEN, HOLDS], 2, id="no-gap-is-skipped"),
        pytest.param([HOLDS, NOT_ASSESSED, HOLDS], 2, id="not-even-an-unknown-one"),
        pytest.param([HOLDS, HOLDS, NOT_ASSESSED], 0, id="nothing-seen-above"),
        pytest.param([HOLDS, HOLDS, FAILS], None, id="tall-ones-fail"),
        pytest.param([NOT_ASSESSED, NOT_ASSESSED], None, id="nothing-seen"),
    ],
)
def test_the_smallest_height_has_no_doubt_above_it(states: list[str], smallest: float | None) -> None:
    assert envelope.smallest([part(state, low) for low, state in enumerate(states)]) == smallest
