"""Thresholds worked out by hand."""

from typing import Any

import numpy as np
import pytest

from pipeline.core import operating
from pipeline.core.errors import DataError
from pipeline.core.matching import Matched, match_frames
from pipeline.core.metrics import curve
from pipeline.core.params import OperatingParams
from pipeline.core.types import Detections, Frame, Truth

BOX, FAR = (0, 0, 20, 40), (100, 0, 120, 40)


def rule(name: str = "f_beta", beta: float = 1.0, budget: float = 0.5) -> OperatingParams:
    return OperatingParams.parse("evaluate.operating", {"rule": name, "beta": beta, "budget": budget})


def frames(count: int, gap_s: float | None = 0.5, clip: str = "hall") -> list[Frame]:
    times = [None if gap_s is None else i * gap_s for i in range(count)]
    return [Frame(f"{clip}{i}", clip, clip, i, t, 200, 100, "x") for i, t in enumerate(times)]


def matched(*rows: tuple[float, bool]) -> Matched:
    """A frame a detection: its score, and whether it finds the frame's object or nothing."""
    truth = Truth(np.array([BOX], np.float32), np.zeros(1, np.int64), np.zeros(1, np.bool_))
    found = [
        Detections(np.array([BOX if hit else FAR], np.float32), np.array([score], np.float32), np.zeros(1, np.int64))
        for score, hit in rows
    ]
    return match_frames([truth] * len(rows), found, 0.5)


def chosen(it: Matched, p: OperatingParams, gap_s: float | None = 0.5) -> tuple[float, dict[str, Any]]:
    threshold, evidence = operating.choose(it, frames(len(it.frame), gap_s), ["person"], p)
    return threshold["person"], evidence["class"]["person"]


@pytest.mark.parametrize(
    ("hits", "objects", "beta", "best"),
    [
        pytest.param([True, True, False], 2, 1.0, (0.8, 1.0), id="before-the-false-alarm"),
        pytest.param([True, False, True], 2, 1.0, (0.7, 0.8), id="past-the-false-alarm"),
        pytest.param([True, False, False, True], 2, 1.0, (0.9, 2 / 3), id="equal-takes-the-higher-score"),
        pytest.param([True, False, False, True], 2, 2.0, (0.6, 5 * 0.5 / (4 * 0.5 + 1)), id="recall-counts-more"),
        pytest.param([True, False, True], 2, 0.5, (0.9, 1.25 * 0.5 / (0.25 + 0.5)), id="precision-counts-more"),
        pytest.param([False, False], 2, 1.0, (0.9, 0.0), id="nothing-found"),
    ],
)
def test_f_beta(hits: list[bool], objects: int, beta: float, best: tuple[float, float]) -> None:
    points = curve(np.array([0.9, 0.8, 0.7, 0.6][: len(hits)]), np.array(hits), objects)
    values = operating.f_beta(points, beta)
    place = int(np.argmax(values))
    assert (points.score[place], values[place]) == pytest.approx(best)


BUDGET = [(0.9, True), (0.8, False), (0.7, True), (0.6, False), (0.5, True), (0.4, False)]  # six frames, 2.5 s and 0.5


@pytest.mark.parametrize(
    ("name", "budget", "threshold", "alarms"),
    [
        pytest.param("false_alarms_per_frame", 0.34, 0.5, 2, id="two-of-six-frames"),
        pytest.param("false_alarms_per_frame", 1 / 3, 0.5, 2, id="exactly-the-budget"),
        pytest.param("false_alarms_per_frame", 0.3, 0.7, 1, id="one-of-six-frames"),
        pytest.param("false_alarms_per_frame", 0.1, 0.9, 0, id="none"),
        pytest.param("false_alarms_per_frame", 9.0, 0.4, 3, id="all"),
        pytest.param("false_alarms_per_hour", 2400.0, 0.5, 2, id="two-in-three-seconds"),
        pytest.param("false_alarms_per_hour", 2399.0, 0.7, 1, id="one-in-three-seconds"),
    ],
)
def test_the_lowest_threshold_within_the_budget(name: str, budget: float, threshold: float, alarms: int) -> None:
    at, evidence = chosen(matched(*BUDGET), rule(name, budget=budget))
    assert at == pytest.approx(threshold)
    assert evidence["false_alarms"] == alarms
    assert evidence["false_alarms_per_frame"] == pytest.approx(alarms / 6)
    assert evidence["false_alarms_per_hour"] == pytest.approx(alarms * 1200)
    assert "reason" not in evidence


@pytest.mark.parametrize(("budget", "threshold", "alarms"), [(0.5, 0.5, 2), (0.25, 0.9, 0)])
def test_equal_scores_stand_or_fall_together(budget: float, threshold: float, alarms: int) -> None:
    it = matched((0.9, True), (0.5, True), (0.5, False), (0.5, False))
    at, evidence = chosen(it, rule("false_alarms_per_frame", budget=budget))
    assert at == pytest.approx(threshold)
    assert evidence["false_alarms"] == alarms


def test_a_budget_that_cannot_be_met_is_said() -> None:
    at, evidence = chosen(matched((0.9, False), (0.8, True)), rule("false_alarms_per_frame", budget=0.1))
    assert at == pytest.approx(0.9)
    assert evidence["reason"] == "the budget cannot be met: the best score alone exceeds it"


def test_what_a_threshold_gave_is_its_evidence() -> None:
    it = matched(*BUDGET)
    threshold, evidence = operating.choose(it, frames(6), ["person", "vehicle"], rule())
    assert threshold["vehicle"] == operating.NO_CHOICE
    assert evidence["class"]["vehicle"] == {"objects": 0, "reason": "no object of this class: no choice"}
    assert (evidence["frames"], evidence["hours"]) == (6, pytest.approx(3 / 3600))
    assert evidence["rule"] == {"rule": "f_beta", "beta": 1.0, "budget": 0.5}
    assert threshold["person"] == pytest.approx(0.5)
    person = evidence["class"]["person"]
    assert (person["recall"], person["precision"], person["f_beta"]) == pytest.approx((3 / 6, 3 / 5, 6 / 11))


def test_the_chosen_threshold_keeps_its_own_detection() -> None:
    at, _ = chosen(matched(*((0.1 + i / 97, True) for i in range(80))), rule())
    assert np.float32(0.1) >= at


@pytest.mark.parametrize("name", ["false_alarms_per_frame", "false_alarms_per_hour"])
def test_a_class_without_a_detection_has_no_choice(name: str) -> None:
    empty = match_frames([Truth(np.array([BOX], np.float32), np.zeros(1, np.int64), np.zeros(1, np.bool_))],
                         [Detections.empty()], 0.5)  # fmt: skip
    threshold, _ = operating.choose(empty, [*frames(1), *frames(2, clip="lot")], ["person"], rule(name))
    assert threshold["person"] == operating.NO_CHOICE


def test_hours_need_times() -> None:
    with pytest.raises(DataError, match="use false_alarms_per_frame"):
        chosen(matched(*BUDGET), rule("false_alarms_per_hour"), gap_s=None)
    assert "false_alarms_per_hour" not in chosen(matched(*BUDGET), rule(), gap_s=None)[1]


@pytest.mark.parametrize(
    ("of", "seconds"),
    [
        pytest.param(frames(10), 5.0, id="one-clip"),
        pytest.param(frames(10) + frames(4, 2.0, "lot"), 13.0, id="two-clips"),
        pytest.param(frames(10)[:3] + frames(10)[6:], 3.5, id="a-hole-is-no-footage"),
        pytest.param(list(reversed(frames(10))), 5.0, id="in-any-order"),
    ],
)
def test_footage(of: list[Frame], seconds: float) -> None:
    assert operating.footage_hours(of) == pytest.approx(seconds / 3600)


@pytest.mark.parametrize("of", [frames(3, None), frames(1), []], ids=["no-times", "one-frame", "no-frame"])
def test_no_footage(of: list[Frame]) -> None:
    assert operating.footage_hours(of) is None
