"""pycocotools behind our values: published figures come out, undefined ones stay out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.types import Detections, Truth
from pipeline.io import coco_eval

REFERENCES = Path(__file__).parents[1] / "data" / "metric_references"


def read(folder: str, name: str) -> Any:
    return json.loads((REFERENCES / folder / name).read_text())


def truth(*boxes: tuple[float, float, float, float], ignore: tuple[bool, ...] = ()) -> Truth:
    return Truth(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.zeros(len(boxes), np.int64),
        np.array(ignore or [False] * len(boxes), np.bool_),
    )


def found(*rows: tuple[float, float, float, float, float]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4], np.zeros(len(rows), np.int64))


@pytest.mark.parametrize("folder", ["cocoapi_val2014_100", "review_coco_sample"])
def test_published_figures_are_reproduced(folder: str) -> None:
    expected = read(folder, "expected.json")
    evaluation = coco_eval.evaluate(read(folder, "ground_truth.json"), read(folder, "detections.json"))
    published = {
        name.replace("small", "_small").replace("medium", "_medium").replace("large", "_large"): value
        for name, value in expected["metrics"].items()
    }
    assert coco_eval.summary(evaluation) == pytest.approx(published, abs=expected["tolerance"])


def test_the_same_figures_come_from_our_own_values() -> None:
    """Truth and Detections hold what the MIT sample holds: box areas, no crowds."""
    document = read("review_coco_sample", "ground_truth.json")
    images = [image["id"] for image in document["images"]]
    classes = [category["id"] for category in document["categories"]]

    def rows(name: str) -> dict[int, list[dict[str, Any]]]:
        every = document["annotations"] if name == "truth" else read("review_coco_sample", "detections.json")
        return {i: [row for row in every if row["image_id"] == i] for i in images}

    def boxes(group: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        xywh = np.array([row["bbox"] for row in group], np.float64).reshape(-1, 4)
        return np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]).astype(np.float32)

    def labels(group: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array([classes.index(row["category_id"]) for row in group], np.int64)

    truths = [Truth(boxes(g), labels(g), np.zeros(len(g), np.bool_)) for g in rows("truth").values()]
    detections = [
        Detections(boxes(g), np.array([row["score"] for row in g], np.float32), labels(g))
        for g in rows("found").values()
    ]
    figures, by_class = coco_eval.coco_scores(truths, detections, [str(c) for c in classes])
    assert figures["AP50"] == pytest.approx(0.696973, abs=1e-6)
    assert figures["AR100"] == pytest.approx(0.595353, abs=1e-4)  # float32 boxes
    assert np.mean([c["AP50"] for c in by_class.values()]) == pytest.approx(figures["AP50"])


def test_it_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    coco_eval.coco_scores([truth((0, 0, 9, 9))], [found((0, 0, 9, 9, 0.9))], ["person"])
    assert capsys.readouterr() == ("", "")


def test_a_perfect_detector_of_one_small_object() -> None:
    figures, by_class = coco_eval.coco_scores([truth((0, 0, 9, 9))], [found((0, 0, 9, 9, 0.9))], ["person", "vehicle"])
    small = [name for name in coco_eval.NAMES if not name.endswith(("medium", "large"))]
    assert figures == pytest.approx(dict.fromkeys(small, 1.0))
    assert by_class.keys() == {"person"}
    assert by_class["person"] == pytest.approx({"AP": 1.0, "AP50": 1.0})


@pytest.mark.parametrize(
    ("truths", "ap50"),
    [
        pytest.param([truth((0, 0, 9, 9)), truth()], 0.5, id="false-alarm-first"),
        pytest.param([truth((0, 0, 9, 9)), truth((40, 40, 90, 90), ignore=(True,))], 1.0, id="inside-ignore-region"),
    ],
)
def test_a_detection_in_an_ignore_region_is_no_false_alarm(truths: list[Truth], ap50: float) -> None:
    detections = [found((0, 0, 9, 9, 0.5)), found((50, 50, 60, 60, 0.9))]
    assert coco_eval.coco_scores(truths, detections, ["person"])[0]["AP50"] == pytest.approx(ap50)


def test_without_an_object_nothing_is_defined() -> None:
    assert coco_eval.coco_scores([truth()], [found((0, 0, 9, 9, 0.5))], ["person"]) == ({}, {})


def test_without_a_detection_ap_is_zero() -> None:
    figures, _ = coco_eval.coco_scores([truth((0, 0, 9, 9))], [Detections.empty()], ["person"])
    assert figures["AP"] == figures["AR100"] == 0.0
