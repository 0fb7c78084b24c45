"""The engine against pycocotools and published figures; what is not defined stays out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hotcoco import COCO

from pipeline.core.types import Detections, Truth
from pipeline.io import coco_eval
from tests import pycoco

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
    document, detections = read(folder, "ground_truth.json"), read(folder, "detections.json")
    truth = COCO(document)
    evaluation = coco_eval.evaluate(truth, truth.load_res(detections))
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


def of(rows: list[tuple[float, ...]]) -> tuple[Truth, Detections]:
    """One frame of rows (x1, y1, x2, y2, class, score, kind): 0 an object, 1 an ignore region, 2 a detection."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    true, said = table[table[:, 6] < 2], table[table[:, 6] == 2]
    return (
        Truth(true[:, :4].astype(np.float32), true[:, 4].astype(np.int64), true[:, 6] == 1),
        Detections(said[:, :4].astype(np.float32), said[:, 5].astype(np.float32), said[:, 4].astype(np.int64)),
    )


def crowded(seed: int) -> list[tuple[Truth, Detections]]:
    """Objects of every size, a quarter of them ignore regions; detections near them and at random; tied scores."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(60):
        m, n = int(rng.integers(0, 12)), int(rng.integers(0, 160 if rng.random() < 0.1 else 25))
        corners, sides = rng.random((m, 2)) * 200, np.exp(rng.uniform(1, 5.5, (m, 2)))
        truth = np.hstack([corners, corners + sides])
        near = truth[rng.integers(0, m, n)] if m else np.tile([5.0, 5, 60, 90], (n, 1))
        boxes = near + rng.normal(0, 4, (n, 4))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        frames.append(
            (
                Truth(truth.astype(np.float32), rng.integers(0, 3, m), rng.random(m) < 0.25),
                Detections(
                    boxes.astype(np.float32), (rng.integers(1, 30, n) / 30).astype(np.float32), rng.integers(0, 3, n)
                ),
            )
        )
    return frames


HERE = (0.0, 0.0, 40.0, 40.0, 0.0)  # box and class
SQUARE = (0.0, 0.0, 100.0, 100.0, 0.0)
HIT = ((0.0, 0), (0.9, 2))  # score and kind of an object, and of the detection that finds it
ADVERSARIAL = {
    "tied-scores": [of([(*HERE, 0, 0), (*HERE, 0.5, 2), (0, 0, 40, 30, 0, 0.5, 2), (90, 0, 99, 9, 0, 0.5, 2)])],
    "tied-scores-across-frames": [of([(*HERE, 0, 0), (90, 0, 99, 9, 0, 0.5, 2)]), of([(*HERE, 0, 0), (*HERE, 0.5, 2)])],
    "duplicates": [of([(*HERE, 0, 0), *[(*HERE, 0.9, 2)] * 5])],
    "equal-objects": [of([(*HERE, 0, 0)] * 3 + [(*HERE, 0.9, 2), (0, 0, 40, 39, 0, 0.8, 2)])],
    "inside-a-region": [of([(*HERE, 0, 0), (0, 0, 200, 200, 0, 0, 1), (50, 50, 99, 99, 0, 0.9, 2), (*HERE, 0.5, 2)])],
    "half-in-a-region": [of([(*HERE, 0, 0), (0, 0, 100, 100, 0, 0, 1), (50, 0, 150, 50, 0, 0.9, 2)])],
    "region-of-another-class": [of([(*HERE, 0, 0), (0, 0, 200, 200, 1, 0, 1), (50, 50, 99, 99, 0, 0.9, 2)])],
    "only-regions": [of([(0, 0, 200, 200, 0, 0, 1), (50, 50, 99, 99, 0, 0.9, 2)])],
    "empty-frames": [of([]), of([(*HERE, 0, 0), (*HERE, 0.9, 2)]), of([(*HERE, 0.8, 2)]), of([])],
    "no-detections": [of([(*HERE, 0, 0)])],
    "no-truths": [of([(*HERE, 0.9, 2)])],
    "nothing": [of([])],
    "more-than-100": [of([*[(90, 0, 99, 9, 0, 0.9, 2)] * 130, (*HERE, 0, 0), (*HERE, 0.5, 2)])],
    "more-than-100-hits": [of([(i * 50, 0, i * 50 + 40, 40, 0, s, k) for i in range(120) for s, k in HIT])],
    "area-boundaries": [
        of([(0, 0, side, side, 0, s, k) for s, k in HIT]) for side in (31.99, 32, 32.01, 95.99, 96, 96.01)
    ],
    "iou-at-the-thresholds": [of([(*SQUARE, 0, 0), (0, 0, 100, side, 0, 0.9, 2)]) for side in range(45, 101, 5)],
    "all-scores-zero": [of([(*HERE, 0, 0), (*HERE, 0.0, 2), (90, 0, 99, 9, 0, 0.0, 2)])],
    "without-area": [of([(*HERE, 0, 0), (5, 5, 5, 5, 0, 0.9, 2), (*HERE, 0.5, 2)])],
    "swapped-classes": [of([(*HERE, 0, 0), (*SQUARE, 0.9, 2), (*HERE[:4], 1, 0.9, 2), (50, 0, 99, 40, 1, 0, 0)])],
    **{f"random-{seed}": crowded(seed) for seed in range(8)},
}  # fmt: skip


@pytest.mark.parametrize("frames", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_every_figure_is_pycocotools_figure(frames: list[tuple[Truth, Detections]]) -> None:
    """Stats and every point of every precision-recall curve, of all sizes and limits of detections."""
    classes = ["person", "vehicle", "bicycle"]
    truths, found = [t for t, _ in frames], [f for _, f in frames]
    ours = coco_eval.evaluate(*coco_eval.tables(truths, found, classes))
    theirs = pycoco.evaluate(pycoco.dataset(truths, classes), pycoco.results(found))
    assert np.asarray(ours.stats) == pytest.approx(theirs.stats, abs=1e-9)
    assert ours.eval is not None
    for name in ("precision", "recall", "scores"):
        assert np.abs(np.asarray(ours.eval[name]) - theirs.eval[name]).max() <= 1e-9


def test_it_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    coco_eval.coco_scores([truth((0, 0, 9, 9))], [found((0, 0, 9, 9, 0.9))], ["person"])
    assert capfd.readouterr() == ("", "")


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
