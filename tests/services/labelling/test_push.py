from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError, SightlineError
from pipeline.core.types import Detections, Frame
from pipeline.services.labelling.push import Proposer, clip_items, push, spread


class OneBox:
    """Finds the left half of every picture, with two scores."""

    def detect_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [
            Detections(
                np.array([[0, 0, image.shape[1] / 2, image.shape[0]]] * 2, np.float32),
                np.array([0.75, 0.25], np.float32),
                np.zeros(2, np.int64),
            )
            for image in images
        ]


def proposer(*classes: str, version: str = "half-1") -> Proposer:
    return Proposer(OneBox(), classes, dict.fromkeys(classes, 0.5), version)


def frame(camera: str, index: int) -> Frame:
    return Frame(f"{camera}{index}", camera, camera, index, float(index), 10, 10, f"{camera}.mp4")


def test_every_frame_is_pushed_once(site: Any) -> None:
    assert push(site.server, site.p, site.items[:2]) == (2, 0)
    assert push(site.server, site.p, site.items) == (1, 2)
    assert push(site.server, site.p, site.items) == (0, 3)
    data = [task["data"] for task in site.tasks()]
    assert [d["frame_id"] for d in data] == [item.key for item in site.items]
    assert [(d["camera"], d["source"]) for d in data] == [(f.camera, f.source) for f in site.frames]


def test_the_budget_counts_new_tasks(site: Any) -> None:
    assert push(site.server, site.p, site.items, budget=1) == (1, 0)
    assert push(site.server, site.p, site.items, budget=1) == (1, 1)


def test_predictions_hold_the_boxes_above_the_threshold(site: Any) -> None:
    push(site.server, site.p, site.items, proposer("person"))
    found = site.predictions()
    assert len(found) == len(site.items)
    for prediction in found:
        assert (prediction["model_version"], prediction["score"]) == ("half-1", 0.75)
        (region,) = prediction["result"]
        assert region["value"]["rectanglelabels"] == ["person"]
        assert [region["value"][side] for side in ("x", "y", "width", "height")] == [0, 0, 50, 100]
    assert site.server.project(site.p.project)["model_version"] == "half-1"


def test_the_latest_models_boxes_are_the_ones_that_are_drawn(site: Any) -> None:
    for count, version in enumerate(("half-1", "half-2"), 1):
        push(site.server, site.p, site.items[:count], proposer("person", version=version))
        assert site.server.project(site.p.project)["model_version"] == version


def test_a_prediction_that_would_never_be_drawn_is_not_sent(site: Any) -> None:
    with pytest.raises(DataError, match=r"does not fit project .*'dog'.*sightline labels setup"):
        push(site.server, site.p, site.items, proposer("dog"))
    assert site.tasks() == []


def test_a_missing_project_names_the_way(site: Any) -> None:
    with pytest.raises(SightlineError, match=r"has no project 'nowhere'; run: sightline labels setup"):
        push(site.server, site.p.model_copy(update={"project": "nowhere"}), site.items)


def test_clips_are_pushed_with_their_frame_rate(make_site: Any) -> None:
    site = make_site("labelling.template=video")
    clips = Path(__file__).parents[3] / "data" / "demo" / "clips"
    frames = [
        Frame("1", "hall", "hall", 7, 0.5, 10, 10, "hall.mp4"),
        Frame("2", "hall", "hall", 9, 0.6, 9, 9, "hall.mp4"),
    ]
    items = clip_items(frames, clips, lambda path: float(len(path.name)))
    assert push(site.server, site.p, items) == (1, 0)
    assert push(site.server, site.p, items) == (0, 1)
    (task,) = site.tasks()
    assert task["data"].pop("video").endswith("-hall.mp4")
    assert task["data"] == {"clip": "hall", "camera": "hall", "source": "hall.mp4", "fps": 8.0}


@pytest.mark.parametrize(
    ("budget", "cameras"),
    [
        pytest.param(1, {"a": 1}, id="one"),
        pytest.param(4, {"a": 2, "b": 2}, id="even"),
        pytest.param(7, {"a": 5, "b": 2}, id="a-camera-runs-out"),
        pytest.param(99, {"a": 8, "b": 2}, id="all"),
    ],
)
def test_a_budget_is_spread_over_cameras(budget: int, cameras: dict[str, int]) -> None:
    frames = [frame("a", i) for i in range(8)] + [frame("b", i) for i in range(2)]
    assert Counter(f.camera for f in spread(frames, budget)) == cameras


def test_a_budget_is_spread_over_time() -> None:
    taken = [f.index for f in spread([frame("a", i) for i in range(8)], 8)]
    assert taken == [0, 4, 2, 6, 1, 5, 3, 7]  # van der Corput's sequence in base 2, times 8
