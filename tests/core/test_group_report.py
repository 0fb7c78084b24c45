"""All about groups from frames, truths and detections, as evaluate asks for it."""

import json
from pathlib import Path

import numpy as np
import yaml

from pipeline.core.group_report import GroupReport, report_on
from pipeline.core.matching import match_frames
from pipeline.core.params import EvaluateParams
from pipeline.core.types import Detections, Frame, Truth

SECTION = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))["evaluate"]
P = EvaluateParams.parse("evaluate", SECTION | {"resamples": 200})
BOX = np.array([[10, 10, 40, 80]], np.float32)


def report() -> GroupReport:
    """Two hundred frames of twenty clips with a person each; by night two in five are missed."""
    frames = [
        Frame(f"{i:03}", f"c{i % 4}", f"clip{i // 4 % 5}", i, i / 2, 200, 100, "x", attributes={"time_of_day": when})
        for i, when in enumerate((["day"] * 20 + ["night"] * 20) * 5)
    ]
    truths = [Truth(BOX, np.zeros(1, np.int64), np.zeros(1, np.bool_), ({"age": "adult"},))] * 200
    hit = Detections(BOX, np.array([0.9], np.float32), np.zeros(1, np.int64))
    found = [Detections.empty() if i // 20 % 2 and i % 5 in {0, 2} else hit for i in range(200)]
    matched = match_frames(truths, found, 0.5)
    return report_on(frames, truths, ("person",), (matched, matched), np.array([0.5]), P)


def test_groups_gaps_and_preconditions_of_a_benchmark() -> None:
    told = report()
    assert list(told.groups) == [
        "class",
        "camera",
        "time",
        "height",
        "frame time_of_day",
        "object age",
        "camera x class",
    ]
    assert told.groups["class"]["person"]["unit"] == "camera x clip"
    assert told.groups["frame time_of_day"]["night"]["recall"] == 0.6
    night = next(it for it in told.comparisons["comparisons"] if it["attribute"] == "frame time_of_day")
    assert (night["value"], night["reference"], night["verdict"]) == ("night", "day", "gap shown")
    assert told.comparisons["stratify"] == ["height"]
    assert told.comparisons["without"] == ["object occluded", "object brightness"]
    assert told.comparisons["counts"]["gap shown"] >= 1
    assert told.preconditions["recall_floor"] == P.recall_floor


def test_it_is_json_and_the_same_each_time() -> None:
    first, second = (
        json.dumps([it.groups, it.comparisons, it.preconditions], allow_nan=False) for it in (report(), report())
    )
    assert first == second
