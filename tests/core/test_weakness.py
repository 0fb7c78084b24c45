from typing import Any

import numpy as np
import pytest

from pipeline.core.types import Detections, Frame
from pipeline.core.weakness import Need, needs, needs_of, weakness

CLASSES = ("person", "vehicle")


def part(value: str, state: str, recall_low: float | None = None, **ends: float | None) -> dict[str, Any]:
    reason = "4 of 30 objects" if state == "not assessed" else ""
    return {
        "value": value,
        "state": state,
        "reason": reason,
        "recall_low": recall_low,
        "low": None,
        "high": None,
    } | ends


SHEET = {
    "recall_floor": 0.8,
    "conditions": [
        {"condition": "camera", "parts": [part("hall", "open", 0.6), part("yard", "not assessed")]},
        {"condition": "class", "parts": [part("person", "holds", 0.85), part("vehicle", "does not hold", 0.4)]},
        {
            "condition": "luminance",
            "parts": [
                part("below 40", "not assessed", low=0.0, high=40.0),
                part("40 and more", "holds", 0.9, low=40.0),
            ],
        },
        {"condition": "height", "parts": [part("below 50 px", "does not hold", 0.2, low=0.0, high=50.0)]},
        {"condition": "frame weather", "parts": [part("rain", "open", 0.4)]},
        {"condition": "object occluded", "parts": [part("yes", "open", 0.1)]},
    ],
}
NO_GAPS: dict[str, Any] = {"comparisons": []}
PASSED: dict[str, Any] = {"lines": []}


def line(limit: str, result: str) -> dict[str, str]:
    return {"limit": limit, "result": result, "reason": "0.3 is below 0.4"}


def by_name(**reports: Any) -> dict[str, float]:
    given = {"comparisons": NO_GAPS, "verdict": PASSED} | reports
    return {f"{it.condition} {it.value}": it.need for it in needs(SHEET, **given)}


def test_a_need_is_what_the_lower_bound_lacks() -> None:
    assert by_name() == pytest.approx(
        {
            "camera hall": 0.25,
            "camera yard": 0.5,
            "class person": 0.0,
            "class vehicle": 0.5,
            "luminance below 40": 0.5,
            "luminance 40 and more": 0.0,
            "height below 50 px": 0.75,
            "frame weather rain": 0.5,
            "object occluded yes": 0.875,
        }
    )


@pytest.mark.parametrize(
    ("limit", "result", "group", "need"),
    [
        pytest.param("camera hall: recall", "fails", "camera hall", 1.0, id="a-floor"),
        pytest.param("class.person.AP50", "fails", "class person", 1.0, id="a-limit-on-a-class"),
        pytest.param("camera hall: recall", "not assessed", "camera hall", 0.25, id="a-thin-line"),
        pytest.param("camera hallway: recall", "fails", "camera hall", 0.25, id="another-group"),
    ],
)
def test_what_fails_the_gate_counts_whole(limit: str, result: str, group: str, need: float) -> None:
    assert by_name(verdict={"lines": [line(limit, result)]})[group] == pytest.approx(need)


@pytest.mark.parametrize(
    ("verdict", "need"),
    [pytest.param("gap shown", 1.0, id="shown"), pytest.param("not assessable", 0.25, id="not-assessable")],
)
def test_a_gap_shown_counts_whole(verdict: str, need: float) -> None:
    row = {"attribute": "camera", "value": "hall", "verdict": verdict}
    assert by_name(comparisons={"comparisons": [row]})["camera hall"] == pytest.approx(need)


def met(*heights: int, label: int = 0, **changes: Any) -> list[str]:
    frame = Frame("f", "hall", "hall", 0, None, 100, 100, "x", luminance=80.0)
    for name, value in changes.items():
        frame = Frame(**{**{n: getattr(frame, n) for n in Frame.__slots__}, name: value})
    boxes = np.array([[0, 0, 9, height] for height in heights], np.float32).reshape(-1, 4)
    found = Detections(boxes, np.ones(len(boxes), np.float32), np.full(len(boxes), label))
    every = needs(SHEET, NO_GAPS, PASSED)
    return [f"{it.condition} {it.value}" for it in needs_of(frame, found, CLASSES, every)]


LIGHT = "luminance 40 and more"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(met(), ["camera hall", LIGHT], id="an-empty-frame"),
        pytest.param(met(luminance=39.9), ["camera hall", "luminance below 40"], id="dark"),
        pytest.param(met(luminance=40.0), ["camera hall", LIGHT], id="the-edge-belongs-above"),
        pytest.param(met(60), ["camera hall", "class person", LIGHT], id="a-tall-person"),
        pytest.param(
            met(60, 20, label=1), ["camera hall", "class vehicle", LIGHT, "height below 50 px"], id="one-small-vehicle"
        ),
        pytest.param(met(camera="shed"), [LIGHT], id="a-camera-that-the-benchmark-lacks"),
        pytest.param(
            met(attributes={"weather": "rain"}), ["camera hall", LIGHT, "frame weather rain"], id="weather"
        ),
    ],
)  # fmt: skip
def test_a_frame_meets_conditions_by_itself_and_by_its_boxes(names: list[str], expected: list[str]) -> None:
    assert names == expected


def test_weakness_is_the_mean_of_the_greatest_need_a_condition() -> None:
    some = [Need("camera", "hall", 0.2, ""), Need("height", "a", 0.1, ""), Need("height", "b", 0.8, "")]
    assert weakness(some) == pytest.approx(0.5)
    assert weakness([]) == 0.0
