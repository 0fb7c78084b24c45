import numpy as np
import pytest

from pipeline.core.types import Detections, Frame
from pipeline.io.formats.label_studio import from_label_studio
from pipeline.io.formats.pre_annotation import file_name, frame_data, key_of, prediction

FRAME = Frame("f0", "gate", "gate/1", 7, 0.5, 200, 100, "gate/1.mp4", attributes={"weather": "rain"})


def test_a_task_leads_back_to_its_frame() -> None:
    assert frame_data(FRAME, video=True) == {
        "frame_id": "f0",
        "camera": "gate",
        "clip": "gate/1",
        "frame_index": 7,
        "timestamp_s": 0.5,
        "source": "gate/1/frame_000007.jpg",
        "frame_weather": "rain",
    }
    assert file_name(FRAME, video=True) == "f0.jpg"


def test_a_picture_of_a_folder_has_no_place_in_time() -> None:
    frame = Frame("f1", "gate", "gate", 7, None, 200, 100, "gate/X.PNG")
    assert frame_data(frame, video=False) == {
        "frame_id": "f1",
        "camera": "gate",
        "clip": "gate",
        "source": "gate/X.PNG",
    }
    assert file_name(frame, video=False) == "f1.png"


@pytest.mark.parametrize(
    ("data", "key"),
    [
        pytest.param({"frame_id": "f", "clip": "c"}, "f", id="frame"),
        pytest.param({"video": "v.mp4", "clip": "c"}, "c", id="clip"),
        pytest.param({"image": "x.jpg", "clip": "c"}, "", id="somebody-elses"),
    ],
)
def test_what_a_task_shows(data: dict[str, str], key: str) -> None:
    assert key_of(data) == key


def test_an_accepted_prediction_is_read_back_as_it_was() -> None:
    boxes = np.array([[20, 10, 60, 60], [0.5, 0.25, 199.5, 99.75]], np.float32)
    found = Detections(boxes, np.array([0.75, 0.5], np.float32), np.array([1, 0], np.int64))
    made = prediction(found, ["person", "vehicle"], (200, 100), "m")
    assert (made["model_version"], made["score"]) == ("m", 0.625)
    assert [region["score"] for region in made["result"]] == [0.75, 0.5]
    task = {"id": 1, "data": {}, "annotations": [{"id": 1, "completed_by": 1, "result": made["result"]}]}
    regions = from_label_studio([task])[0].versions[0].regions
    assert [region.label for region in regions] == ["vehicle", "person"]
    back = [(r.x * 200, r.y * 100, (r.x + r.width) * 200, (r.y + r.height) * 100) for r in regions]
    assert np.array(back) == pytest.approx(boxes)


def test_nothing_found_is_said_too() -> None:
    assert prediction(Detections.empty(), ["person"], (10, 10), "m") == {
        "model_version": "m",
        "score": 0.0,
        "result": [],
    }
