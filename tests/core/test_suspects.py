"""Labels to look at again, with where they are."""

import json

import numpy as np

from pipeline.core.suspects import issue_report, suspects
from pipeline.core.types import Detections, Frame, Sample, Split, Truth

CLASSES = ("person", "vehicle")
AT = {"person": 0.5, "vehicle": 0.5}
BOX, FAR = [0, 0, 20, 40], [100, 0, 120, 40]


def frame(index: int, camera: str = "hall", frame_id: str = "") -> Frame:
    return Frame(frame_id or f"f{index}", camera, camera, index, index / 2, 200, 100, "x")


def truth(*rows: tuple[list[int], int], ignore: bool = False) -> Truth:
    boxes = np.array([r[0] for r in rows], np.float32).reshape(-1, 4)
    return Truth(boxes, np.array([r[1] for r in rows], np.int64), np.full(len(rows), ignore))


def found(*rows: tuple[list[int], float, int]) -> Detections:
    boxes = np.array([r[0] for r in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([r[1] for r in rows], np.float32), np.array([r[2] for r in rows], np.int64))


def sample(*rows: tuple[Truth, Detections]) -> Sample:
    return Sample(
        tuple(frame(i) for i in range(len(rows))), tuple(r[0] for r in rows), tuple(r[1] for r in rows), CLASSES
    )


PERSON = truth((BOX, 0))
BENCHMARK = sample(
    (PERSON, found((BOX, 0.9, 0), (FAR, 0.8, 0))),  # a hit and a false alarm
    (PERSON, found((BOX, 0.3, 0))),  # found below the operating point
    (PERSON, found((BOX, 0.9, 1))),  # taken for a vehicle
    (truth((FAR, 0), ignore=True), found((FAR, 0.9, 0))),  # inside an ignore region
)
VAL_FRAME = frame(9, "lot", "v9")
SAMPLES = {
    Split.BENCHMARK: BENCHMARK,
    Split.VAL: Sample((VAL_FRAME,), (truth((BOX, 0)),), (found(([0, 0, 20, 20], 0.75, 0)),), CLASSES),
}


def test_labels_of_both_splits_are_looked_at_and_what_is_listed_says_where() -> None:
    """The vehicle where people say person, the false alarm, and the loose box; the ignore region is no issue."""
    report = issue_report(suspects(SAMPLES, AT, 0.5), SAMPLES, 3)
    assert report["frames"] == {"benchmark": 4, "val": 1}
    assert report["objects"] == 4
    assert report["counts"] == {"missing_label": 1, "wrong_class": 1, "loose_box": 1}
    assert [(i["kind"], i["suspicion"], i["frame_id"]) for i in report["issues"]] == [
        ("wrong_class", 0.9, "f2"),
        ("missing_label", 0.8, "f0"),
        ("loose_box", 0.375, "v9"),
    ]
    swapped, missing, loose = report["issues"]
    assert (missing["human"], missing["iou"], missing["box"]) == (None, None, [100, 0, 20, 40])
    assert (swapped["label"], swapped["human"]) == ("vehicle", {"label": "person", "box": [0, 0, 20, 40]})
    assert loose == {
        "frame_id": "v9", "split": "val", "camera": "lot", "clip": "lot", "index": 9, "kind": "loose_box",
        "suspicion": 0.375, "label": "person", "score": 0.75, "box": [0, 0, 20, 20],
        "human": {"label": "person", "box": [0, 0, 20, 40]}, "iou": 0.5,
    }  # fmt: skip
    json.dumps(report, allow_nan=False)


def test_the_list_is_cut_and_the_counts_are_not() -> None:
    report = issue_report(suspects(SAMPLES, AT, 0.5), SAMPLES, 1)
    assert [issue["kind"] for issue in report["issues"]] == ["wrong_class"]
    assert sum(report["counts"].values()) == 3


def test_people_and_model_without_a_quarrel() -> None:
    assert suspects({Split.BENCHMARK: sample((PERSON, found((BOX, 0.9, 0))))}, AT, 0.5) == []
