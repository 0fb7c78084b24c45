import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.session import DYNAMIC, SINGLE, OnnxSession, Session

ROOT = Path(__file__).parents[2]
WriteExport = Callable[..., Path]


def grey(value: int, width: int = 32, height: int = 32) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def test_detections_come_back_in_the_pixels_of_the_picture(write_export: WriteExport, tmp_path: Path) -> None:
    session: Session = OnnxSession(write_export(tmp_path))
    found = session.detect(grey(204, width=64, height=32))  # at half size, 8 rows of bars above it
    bright = (204 * 16 + 114 * 16) / 32 / 255
    assert found.labels.tolist() == [0, 1]
    assert found.scores == pytest.approx([bright, 1 - bright], abs=1e-6)
    assert found.boxes.tolist() == [[16, 0, 48, 32]] * 2


@pytest.mark.parametrize("file", [DYNAMIC, SINGLE])
@pytest.mark.parametrize("threads", [0, 1])
def test_a_batch_gives_what_each_picture_gives(
    write_export: WriteExport, tmp_path: Path, file: str, threads: int
) -> None:
    session = OnnxSession(write_export(tmp_path), file, threads)
    images = [grey(255), grey(10), grey(100, width=80, height=20)]
    for image, found in zip(images, session.detect_batch(images), strict=True):
        alone = session.detect(image)
        assert np.array_equal(found.boxes, alone.boxes)
        assert np.array_equal(found.scores, alone.scores)
        assert np.array_equal(found.labels, alone.labels)


def test_only_what_reaches_the_score_floor_is_given(write_export: WriteExport, tmp_path: Path) -> None:
    assert OnnxSession(write_export(tmp_path)).detect(grey(255)).labels.tolist() == [0]


def test_scores_are_read_as_the_contract_says(write_export: WriteExport, tmp_path: Path) -> None:
    session: Session = OnnxSession(write_export(tmp_path, confidence={"vehicle": [[0.0, 0.0], [1.0, 0.5]]}))
    scores = np.array([0.8, 0.8], np.float32)
    assert session.calibrated(scores, np.array([0, 1])).tolist() == pytest.approx([0.8, 0.4])


def test_no_picture_no_detections(write_export: WriteExport, tmp_path: Path) -> None:
    assert OnnxSession(write_export(tmp_path)).detect_batch([]) == []


def test_a_model_that_was_changed_is_refused(write_export: WriteExport, tmp_path: Path) -> None:
    path = write_export(tmp_path) / DYNAMIC
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match="SHA-256 differs"):
        OnnxSession(tmp_path).detect(grey(0))
    assert len(OnnxSession(tmp_path, SINGLE).detect(grey(0))) == 1  # the other file is as it was


def test_a_model_that_is_gone_or_not_named_is_refused(write_export: WriteExport, tmp_path: Path) -> None:
    (write_export(tmp_path) / DYNAMIC).unlink()
    with pytest.raises(DataError, match="does not exist, though its contract names it"):
        OnnxSession(tmp_path).detect(grey(0))
    with pytest.raises(DataError, match=r"names no file '\.\./model.onnx'"):
        OnnxSession(tmp_path, "../model.onnx").detect(grey(0))


def test_bytes_that_are_no_model_are_refused(write_export: WriteExport, tmp_path: Path) -> None:
    write_export(tmp_path, files={DYNAMIC: hashlib.sha256(b"no model").hexdigest()})
    (tmp_path / DYNAMIC).write_bytes(b"no model")
    with pytest.raises(DataError, match="no model that ONNX Runtime can load"):
        OnnxSession(tmp_path).detect(grey(0))


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        pytest.param("input", {"width": 64}, "the contract says input", id="size"),
        pytest.param("input", {"name": "picture"}, "the contract says input", id="input name"),
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
    (tmp_path / "contract.json").write_text(json.dumps(document | {part: document[part] | change}))
    with pytest.raises(DataError, match=message):
        OnnxSession(tmp_path).detect(grey(0))


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
        OnnxSession(write_export(tmp_path)).detect(image)


def test_the_edge_carries_no_training_framework(write_export: WriteExport, tmp_path: Path) -> None:
    write_export(tmp_path)
    code = (
        "import sys, numpy, pathlib\n"
        "from pipeline.runtime.session import OnnxSession\n"
        "session = OnnxSession(pathlib.Path(sys.argv[1]))\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "session.detect(numpy.zeros((8, 8, 3), numpy.uint8))\n"
        "print(sorted({'torch', 'mlflow', 'pyarrow', 'yaml'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
