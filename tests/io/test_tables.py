from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError
from pipeline.core.types import Annotation, Assignment, Detections, Frame, LabelledFrame, Origin, Split
from pipeline.io import tables

FRAMES = [
    Frame(
        "a1", "gate", "gate/1", 0, 0.5, 640, 480, "gate/1.mp4", "shard-00000.tar", 512, 9, attributes={"sky": "grey"}
    ),
    Frame("b2", "gate", "images", 1, None, 0, 0, "ü.jpg", reason="truncated: cut", duplicate_of="a1", luminance=12.5),
]
ANNOTATIONS = [
    Annotation(
        "a1", "person", 1.5, 2.0, 3.0, 4.0, annotators=("1", "2"), agreement=0.9, attributes={"b": "2", "a": "1"}
    ),
    Annotation("a1", "car", 0.0, 0.0, 1.0, 1.0, ignore=True, track_id="7", origin=Origin.IMPORT),
]
LABELLED = [LabelledFrame("a1", "17", ("1", "2"), 0.8, 1.0), LabelledFrame("b2", "18")]
SPLITS = [Assignment("a1", Split.TRAIN, "gate"), Assignment("b2", Split.GAP, "gate")]

Writer = Callable[[Path, Any], None]
Reader = Callable[[Path], Any]


@pytest.mark.parametrize(
    ("write", "read", "rows"),
    [
        pytest.param(tables.write_frames, tables.read_frames, FRAMES, id="frames"),
        pytest.param(tables.write_annotations, tables.read_annotations, ANNOTATIONS, id="annotations"),
        pytest.param(tables.write_labelled, tables.read_labelled, LABELLED, id="labelled"),
        pytest.param(tables.write_splits, tables.read_splits, SPLITS, id="splits"),
    ],
)
@pytest.mark.parametrize("count", [0, 2])
def test_rows_come_back_and_their_bytes_are_the_same(
    tmp_path: Path, write: Writer, read: Reader, rows: list[Any], count: int
) -> None:
    write(tmp_path / "a.parquet", rows[:count])
    write(tmp_path / "b.parquet", iter(rows[:count]))
    assert read(tmp_path / "a.parquet") == rows[:count]
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_the_order_of_attributes_does_not_change_the_bytes(tmp_path: Path) -> None:
    for name, attributes in (("a", {"x": "1", "y": "2"}), ("b", {"y": "2", "x": "1"})):
        tables.write_annotations(tmp_path / name, [Annotation("f", "c", 0, 0, 1, 1, attributes=attributes)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_detections_come_back_with_frames_that_have_none(tmp_path: Path) -> None:
    boxes = np.array([[0.5, 1, 2, 3], [4, 5, 6, 7.25]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.1], np.float32), np.array([1, 0], np.int64))
    tables.write_detections(tmp_path / "d.parquet", {"a": found, "b": Detections.empty()})
    read = tables.read_detections(tmp_path / "d.parquet", ["a", "b"])
    assert list(read) == ["a", "b"]
    assert np.array_equal(read["a"].boxes, boxes)
    assert np.array_equal(read["a"].scores, found.scores)
    assert np.array_equal(read["a"].labels, found.labels)
    assert len(read["b"]) == 0


def other_columns(path: Path) -> None:
    pq.write_table(pa.table({"frame_id": ["a"]}), path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda _: None, "does not exist; run: dvc repro", id="missing"),
        pytest.param(lambda path: path.write_bytes(b"PAR1 and no more"), "is no readable Parquet file", id="broken"),
        pytest.param(lambda path: path.write_bytes(b""), "is no readable Parquet file", id="empty"),
        pytest.param(other_columns, "expected columns", id="other columns"),
    ],
)
def test_tables_that_cannot_be_read_are_clear_errors(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        tables.read_frames(tmp_path / "a.parquet")
