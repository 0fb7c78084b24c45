"""Causes, maps and calibration of a benchmark small enough to work out by hand."""

import json
from typing import Any

import numpy as np
import pytest

from pipeline.core import diagnosis
from pipeline.core.diagnosis import GRID, Diagnosis
from pipeline.core.matching import match_overlaps, overlaps
from pipeline.core.types import Detections, Frame, Truth

CLASSES = ("person", "vehicle")
AT = np.array([0.5, 0.5])
SIZE = (320, 180)  # a cell is 10 x 10 pixels
BOX, POOR, FAR = (0, 0, 40, 80), (0, 0, 40, 30), (200, 100, 210, 110)

Row = tuple[tuple[float, ...], float, int]


def frame(index: int, camera: str) -> Frame:
    return Frame(f"f{index}", camera, camera, index, index / 2, *SIZE, "x")


def found(*rows: Row) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int64),
    )


PERSON = Truth(np.array([BOX], np.float32), np.zeros(1, np.int64), np.zeros(1, np.bool_))
EMPTY = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))
FRAMES = (frame(0, "hall"), frame(1, "lot"), frame(2, "lot"))
FOUND = [
    found((BOX, 0.9, 0), (FAR, 0.2, 0)),  # a hit, and a box below the operating point
    found((POOR, 0.75, 0), (FAR, 0.7, 1)),
    found((FAR, 0.9, 1), (BOX, 0.6, 1)),
]


def diagnose(truths: list[Truth], detections: list[Detections], least: int = 1) -> Diagnosis:
    near = overlaps(truths, detections)
    meaning = np.minimum(near.score, np.float32(0.55))
    return diagnosis.diagnose(near, FRAMES[: len(truths)], CLASSES, AT, meaning, 0.5, least)


def test_false_alarms_by_cause_and_class() -> None:
    causes = diagnose([PERSON] * 3, FOUND).figures["false_alarms_by_cause"]
    none = {"background": 0, "other_class": 0, "duplicate": 0, "poor_box": 0}
    assert causes == {
        **none, "background": 2, "other_class": 1, "poor_box": 1,
        "class": {"person": none | {"poor_box": 1}, "vehicle": none | {"background": 2, "other_class": 1}},
    }  # fmt: skip


def test_maps_by_camera_the_worst_first() -> None:
    lot, hall = diagnose([PERSON] * 3, FOUND).maps
    assert (lot.camera, lot.frames, lot.alarms, lot.worst) == ("lot", 2, 4, 1)
    assert lot.cells.shape == GRID[::-1]
    assert lot.cells[10, 20] == 2  # FAR, in both frames
    assert lot.cells[0, 0] == 2  # POOR and the vehicle
    assert lot.cells[5, 0] == 1  # the vehicle alone
    assert (hall.camera, hall.alarms, int(hall.cells.sum())) == ("hall", 0, 0)


def test_calibration_is_of_the_operating_point() -> None:
    it = diagnose([PERSON] * 3, FOUND)
    person = it.figures["calibration"]["class"]["person"]
    assert person["detections"] == 2  # scores 0.9 with IoU 1 and 0.75 with IoU 3/8: a hit, and none
    assert person["LaECE0_before"] == pytest.approx((0.1 + 0.75 - 0.375) / 2)
    assert person["LaECE_before"] == pytest.approx((0.1 + 0.75) / 2)
    assert person["LaECE0_after"] == pytest.approx((1 + 0.375) / 2 - 0.55)  # both say 0.55
    assert it.figures["calibration"]["LaECE0_before"] == pytest.approx(
        (person["LaECE0_before"] + (0.9 + 0.7 + 0.6) / 3) / 2
    )
    before, after = it.reliability["person"]
    assert (before.count.tolist(), after.count.tolist()) == ([1, 1], [2])


def test_too_few_detections_say_nothing() -> None:
    it = diagnose([PERSON] * 3, FOUND, least=3)
    assert it.figures["calibration"]["class"]["person"] == {"detections": 2}
    assert list(it.reliability) == ["vehicle"]


@pytest.mark.parametrize("detections", [[found()], [found((BOX, 0.9, 0))]], ids=["nothing", "only-a-false-alarm"])
def test_without_an_object_no_average_precision_is_lost(detections: list[Detections]) -> None:
    figures = diagnose([EMPTY], detections).figures
    assert "dAP" not in figures["tide"]
    json.dumps(figures, allow_nan=False)


def fitted(objects: int, least: int) -> dict[str, Any]:
    truths, detections = [PERSON] * objects, [found((BOX, 0.5, 0), (FAR, 0.2, 0))] * objects
    near = overlaps(truths, detections)
    return diagnosis.meanings(near, match_overlaps(near, 0.5), CLASSES, 0.5, least)


def test_meanings_of_scores() -> None:
    document = json.loads(json.dumps(fitted(30, 30)))
    assert document["person"]["knots"] == [[pytest.approx(0.2), 0.0], [0.5, 1.0]]
    assert (document["person"]["objects"], document["person"]["detections"]) == (30, 60)
    assert document["vehicle"] == {
        "objects": 0, "detections": 0, "knots": [], "reason": "no detection; scores stay as they are",
    }  # fmt: skip
    person, vehicle = diagnosis.knots_of(document, CLASSES)
    assert (len(person), vehicle) == (2, ())


def test_too_few_objects_teach_no_meaning() -> None:
    it = fitted(29, 30)["person"]
    assert (it["knots"], it["reason"]) == ([], "not assessable: 29 objects, 30 needed; scores stay as they are")
