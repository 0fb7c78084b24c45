import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.session import open_session
from tests.exports import artifact, brightness_graph

WriteExport = Callable[..., Path]


def grey(value: int, width: int = 32, height: int = 32) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def test_detections_come_back_in_the_pixels_of_the_picture(write_export: WriteExport, tmp_path: Path) -> None:
    session = open_session(write_export(tmp_path))
    found = session.detect(grey(204, width=64, height=32))  # at half size, 8 rows of bars above it
    bright = (204 * 16 + 114 * 16) / 32 / 255
    assert found.labels.tolist() == [0, 1]
    assert found.scores == pytest.approx([bright, 1 - bright], abs=1e-6)
    assert found.boxes.tolist() == [[16, 0, 48, 32]] * 2


@pytest.mark.parametrize("artifact", ["fp32", "fp32-b1"])
@pytest.mark.parametrize("threads", [0, 1])
def test_a_batch_gives_what_each_picture_gives(
    write_export: WriteExport, tmp_path: Path, artifact: str, threads: int
) -> None:
    session = open_session(write_export(tmp_path), artifact, threads)
    images = [grey(255), grey(10), grey(100, width=80, height=20)]
    for image, found in zip(images, session.detect_batch(images), strict=True):
        alone = session.detect(image)
        assert np.array_equal(found.boxes, alone.boxes)
        assert np.array_equal(found.scores, alone.scores)
        assert np.array_equal(found.labels, alone.labels)


def test_only_what_reaches_the_score_floor_is_given(write_export: WriteExport, tmp_path: Path) -> None:
    assert open_session(write_export(tmp_path)).detect(grey(255)).labels.tolist() == [0]


def test_scores_are_read_as_the_contract_says(write_export: WriteExport, tmp_path: Path) -> None:
    session = open_session(write_export(tmp_path, confidence={"vehicle": [[0.0, 0.0], [1.0, 0.5]]}))
    scores = np.array([0.8, 0.8], np.float32)
    assert session.calibrated(scores, np.array([0, 1])).tolist() == pytest.approx([0.8, 0.4])


def test_no_picture_no_detections(write_export: WriteExport, tmp_path: Path) -> None:
    assert open_session(write_export(tmp_path)).detect_batch([]) == []


def test_the_contract_says_what_runs_by_default(write_export: WriteExport, tmp_path: Path) -> None:
    write_export(tmp_path, default="fp32-b1")
    assert open_session(tmp_path).artifact == "fp32-b1"
    assert open_session(tmp_path, "fp32").artifact == "fp32"


def test_a_fixed_batch_is_filled_up(write_export: WriteExport, tmp_path: Path) -> None:
    document = json.loads((write_export(tmp_path) / "contract.json").read_text())
    (tmp_path / "model.onnx").write_bytes(brightness_graph(2).SerializeToString())
    document["artifacts"]["fp32"] = artifact(tmp_path / "model.onnx", batch=2)
    (tmp_path / "contract.json").write_text(json.dumps(document))
    images = [grey(255), grey(255), grey(204)]
    found = open_session(tmp_path).detect_batch(images)
    assert [it.scores.tolist() for it in found] == [[1.0], [1.0], pytest.approx([0.8, 0.2], abs=1e-6)]


def test_threads_share_a_session(write_export: WriteExport, tmp_path: Path) -> None:
    session = open_session(write_export(tmp_path), streams=2)
    seen: dict[int, set[float]] = {255: set(), 204: set()}

    def look(value: int) -> None:
        for _ in range(50):
            seen[value].add(round(float(session.detect(grey(value)).scores[0]), 6))

    workers = [threading.Thread(target=look, args=(value,)) for value in seen]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == {255: {1.0}, 204: {0.8}}


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        pytest.param("input", {"width": 64}, "the contract says input", id="size"),
        pytest.param("input", {"name": "picture"}, "the contract says input", id="input name"),
        pytest.param("artifacts", {"fp32": {"batch": 1}}, "the contract says input", id="batch"),
        pytest.param("output", {"boxes": "corners"}, r"outputs missing: \['corners'\]", id="output name"),
        pytest.param(
            "output", {"boxes": "scores", "scores": "boxes"}, "1 pictures of 2 classes gave", id="outputs swapped"
        ),
    ],
)
def test_a_contract_that_does_not_fit_its_model(
    write_export: WriteExport, tmp_path: Path, part: str, change: dict[str, Any], message: str
) -> None:
    document = json.loads((write_export(tmp_path) / "contract.json").read_text())
    if part == "artifacts":
        change = {name: document[part][name] | values for name, values in change.items()}
    (tmp_path / "contract.json").write_text(json.dumps(document | {part: document[part] | change}))
    with pytest.raises(DataError, match=message):
        open_session(tmp_path).detect(grey(0))


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((32, 32, 3), np.float32), id="float"),
        pytest.param(np.zeros((32, 32), np.uint8), id="one channel"),
        pytest.param(np.zeros((32, 32, 4), np.uint8), id="alpha"),
        pytest.param(np.zeros((0, 32, 3), np.uint8), id="empty"),
    ],
)
def test_what_is_no_picture(write_export: WriteExport, tmp_path: Path, image: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="expected a picture"):
        open_session(write_export(tmp_path)).detect(image)
