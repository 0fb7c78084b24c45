import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.types import Detections
from pipeline.runtime import golden, session
from pipeline.runtime.golden import GOLDEN, TOLERANCES, Tolerance, check_golden, decode, differences, read_golden
from pipeline.runtime.preprocess import Placement, letterbox
from pipeline.runtime.session import open_session
from tests.colours import pictures, write_model

LEAST = np.array([0.5, 0.25])
BOX = [10.0, 10.0, 20.0, 30.0]


def detections(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, labels = zip(*rows, strict=True) if rows else ([], [], [])
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = write_model(tmp_path / "model")
    golden.write_golden(folder, pictures())
    return folder


def wrong(folder: Path, made: Path) -> list[str]:
    return check_golden(open_session(folder), read_golden(made / GOLDEN))[1]


def test_the_machine_that_made_them_agrees_with_itself(made: Path) -> None:
    boxes, told = check_golden(open_session(made), read_golden(made / GOLDEN))
    assert boxes > 3
    assert told == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"mean": 117.0}, id="another mean"),
        pytest.param({"swap": True}, id="red and blue exchanged in the graph"),
        pytest.param({"seed": 1}, id="another model"),
    ],
)
def test_another_graph_is_noticed_even_where_its_contract_names_its_hash(
    made: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    assert any("best candidates" in words for words in wrong(write_model(tmp_path / "other", **changes), made))


def corner(image: NDArray[np.uint8], target: tuple[int, int]) -> tuple[NDArray[np.uint8], Placement]:
    canvas, placement = letterbox(image, target)
    return np.roll(canvas, (-placement.top, -placement.left), (0, 1)), Placement(placement.scale, 0, 0)


def black_bars(image: NDArray[np.uint8], target: tuple[int, int]) -> tuple[NDArray[np.uint8], Placement]:
    canvas, placement = letterbox(image, target)
    black = canvas.copy()
    black[: placement.top] = 0
    black[len(black) - placement.top :] = 0
    return black, placement


def stretched(image: NDArray[np.uint8], target: tuple[int, int]) -> tuple[NDArray[np.uint8], Placement]:
    return np.asarray(cv2.resize(image, target), np.uint8), letterbox(image, target)[1]


def swapped(image: NDArray[np.uint8], target: tuple[int, int]) -> tuple[NDArray[np.uint8], Placement]:
    canvas, placement = letterbox(image, target)
    return np.ascontiguousarray(canvas[..., ::-1]), placement


@pytest.mark.parametrize("way", [corner, black_bars, stretched, swapped])
def test_a_runtime_that_prepares_pictures_otherwise_is_noticed(
    made: Path, monkeypatch: pytest.MonkeyPatch, way: object
) -> None:
    monkeypatch.setattr(session, "letterbox", way)
    monkeypatch.setattr(golden, "letterbox", way)
    assert wrong(made, made)


@pytest.mark.parametrize(
    ("found", "count"),
    [
        pytest.param(detections((BOX, 0.9, 0)), 0, id="the same"),
        pytest.param(detections((BOX, 0.87, 0)), 0, id="score within the tolerance"),
        pytest.param(detections((BOX, 0.80, 0)), 2, id="score outside it: one missing, one too many"),
        pytest.param(detections((BOX, 0.9, 1)), 2, id="another class"),
        # 10 x 20 pixels moved by one: 180 shared of 220, IoU 0.818
        pytest.param(detections(([11.0, 10, 21, 30], 0.9, 0)), 2, id="moved by a pixel"),
        pytest.param(detections(), 1, id="missing"),
        pytest.param(detections((BOX, 0.9, 0), ([50.0, 50, 60, 60], 0.6, 0)), 1, id="one more"),
        pytest.param(detections((BOX, 0.9, 0), ([50.0, 50, 60, 60], 0.52, 0)), 0, id="one more, hardly at the least"),
    ],
)
def test_boxes_are_compared_both_ways(found: Detections, count: int) -> None:
    tolerance = Tolerance(iou=0.9, score=0.05, mean_iou=0, mean_score=1)
    assert len(differences(detections((BOX, 0.9, 0)), found, LEAST, tolerance)) == count


def test_the_same_pictures_give_the_same_bytes(made: Path, tmp_path: Path) -> None:
    again = write_model(tmp_path / "again")
    golden.write_golden(again, pictures())
    assert (again / GOLDEN).read_bytes() == (made / GOLDEN).read_bytes()


def test_pictures_keep_every_pixel(made: Path) -> None:
    kept = [decode(data) for data in read_golden(made / GOLDEN).pictures]
    assert all(np.array_equal(a, b) for a, b in zip(kept, pictures(), strict=True))


def test_an_artifact_of_which_nothing_is_expected_is_not_passed_over(made: Path, tmp_path: Path) -> None:
    pictures_alone = golden.Golden(read_golden(made / GOLDEN).pictures, {})
    with pytest.raises(DataError, match="expects nothing of 'fp32'"):
        check_golden(open_session(made), pictures_alone)


def unfolding() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("picture/000.npy", bytes(1 << 20))
    return out.getvalue()


def pickled() -> bytes:
    out = io.BytesIO()
    np.savez(out, np.array([{"a": 1}], object))
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"PK\x03\x04 no zip", id="no zip"),
        pytest.param(unfolding(), id="compressed"),
        pytest.param(pickled(), id="pickled objects"),
    ],
)
def test_what_is_no_golden_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / GOLDEN).write_bytes(data)
    with pytest.raises(DataError, match="holds no golden pictures"):
        read_golden(tmp_path / GOLDEN)


def test_a_missing_file_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro export"):
        read_golden(tmp_path / GOLDEN)


@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="no picture"):
        decode(data)


def test_a_lower_precision_never_has_the_tighter_tolerance() -> None:
    fp32 = TOLERANCES["fp32"]
    assert all(it.iou <= fp32.iou and it.mean_score >= fp32.mean_score for it in TOLERANCES.values())
