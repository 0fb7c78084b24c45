import json

import numpy as np
import pytest

from pipeline.core.types import Detections
from pipeline.io.formats.coco import from_coco
from pipeline.io.formats.prediction import Found, to_coco_results, to_json, to_mot

CLASSES = ("person", "vehicle")


def found(source: str, index: int | None, *rows: tuple[list[float], float, int]) -> Found:
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    scores, labels = np.array([row[1] for row in rows], np.float32), np.array([row[2] for row in rows], np.int64)
    seconds = None if index is None else index / 25
    return Found(source, index, seconds, (100, 80), Detections(boxes, scores, labels))


PICTURE = found("a/b.png", None, ([10, 20, 40.25, 60], 0.875, 1), ([0, 0, 5, 5], 0.5, 0))
CLIP = [found("c.mp4", 0), found("c.mp4", 50, ([1, 2, 4, 6], 0.25, 0))]


def test_json_names_the_model_and_each_picture() -> None:
    document = to_json([PICTURE, *CLIP], CLASSES, {"model": "nano"})
    assert document["model"] == "nano"
    assert document["classes"] == ["person", "vehicle"]
    assert document["pictures"][0] == {
        "source": "a/b.png", "width": 100, "height": 80,
        "detections": [
            {"label": "vehicle", "score": 0.875, "box": [10.0, 20.0, 30.25, 40.0]},
            {"label": "person", "score": 0.5, "box": [0.0, 0.0, 5.0, 5.0]},
        ],
    }  # fmt: skip
    assert document["pictures"][1]["detections"] == []
    assert (document["pictures"][2]["frame_index"], document["pictures"][2]["timestamp_s"]) == (50, 2.0)


def test_coco_is_read_back_as_it_was_written() -> None:
    document = to_coco_results([PICTURE, *CLIP], CLASSES)
    tasks = from_coco(json.loads(json.dumps(document)))
    assert [task.pictures[0] for task in tasks] == ["a/b.png", "c.mp4#0", "c.mp4#50"]
    first, second = tasks[0].versions[0].regions
    assert (first.label, second.label) == ("vehicle", "person")
    assert (first.x, first.y, first.width, first.height) == pytest.approx((0.1, 0.25, 0.3025, 0.5))
    assert tasks[1].versions[0].regions == ()
    assert [annotation["score"] for annotation in document["annotations"]] == [0.875, 0.5, 0.25]
    assert document["annotations"][0]["area"] == 1210.0


@pytest.mark.parametrize(
    ("sequence", "text"),
    [
        pytest.param(CLIP, "51,-1,1,2,3,4,0.25,1,-1,-1\n", id="clip"),
        pytest.param(
            [found("a.png", None), PICTURE],
            "2,-1,10,20,30.25,40,0.875,2,-1,-1\n2,-1,0,0,5,5,0.5,1,-1,-1\n",
            id="pictures",
        ),
        pytest.param([], "", id="nothing"),
        pytest.param(
            [found("c.mp4", 0, ([1000.5, 0, 12345.67, 4], 1.0, 0))], "1,-1,1000.5,0,11345.17,4,1,1,-1,-1\n", id="large"
        ),
    ],
)
def test_mot_counts_frames_from_one(sequence: list[Found], text: str) -> None:
    assert to_mot(sequence) == text
