"""Parquet tables of the values in `core.types`: typed columns, same rows same bytes."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import DataError
from pipeline.core.types import Annotation, Assignment, Detections, Frame, LabelledFrame, Origin, Split
from pipeline.core.writing import whole

ATTRIBUTES = pa.map_(pa.string(), pa.string())
FRAMES = pa.schema(
    [
        *[(name, pa.string()) for name in ("frame_id", "camera", "clip")],
        ("index", pa.int64()),
        ("timestamp_s", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("source", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        *[(name, pa.string()) for name in ("reason", "sha256", "phash", "duplicate_of")],
        *[(n, pa.float64()) for n in ("luminance", "contrast", "sharpness", "under_exposed", "over_exposed")],
        ("attributes", ATTRIBUTES),
    ]
)
ANNOTATIONS = pa.schema(
    [
        ("frame_id", pa.string()),
        ("label", pa.string()),
        *[(name, pa.float64()) for name in ("x", "y", "width", "height")],
        ("ignore", pa.bool_()),
        ("track_id", pa.string()),
        ("attributes", ATTRIBUTES),
        ("origin", pa.string()),
        ("annotators", pa.list_(pa.string())),
        ("agreement", pa.float64()),
    ]
)
LABELLED = pa.schema(
    [
        ("frame_id", pa.string()),
        ("task", pa.string()),
        ("annotators", pa.list_(pa.string())),
        ("agreement_iou", pa.float64()),
        ("agreement_f1", pa.float64()),
    ]
)
SPLITS = pa.schema([(name, pa.string()) for name in ("frame_id", "split", "group")])
DETECTIONS = pa.schema(
    [
        ("frame_id", pa.string()),
        ("label", pa.int64()),
        ("score", pa.float32()),
        *[(name, pa.float32()) for name in ("x1", "y1", "x2", "y2")],
    ]
)


def write_table(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    """Write rows as Parquet, whole or not at all."""
    with whole(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), schema), temporary, compression="zstd")


def read_rows(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """Rows of a Parquet file.

    Raises:
        DataError: the file is missing, no Parquet, or has other columns.
    """
    try:
        table = pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run: dvc repro") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file: {error}") from None
    if table.schema.names != schema.names:
        raise DataError(f"{path}: expected columns {schema.names}, got {table.schema.names}; run: dvc repro")
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        if "attributes" in row:
            row["attributes"] = dict(row["attributes"] or ())
        if "annotators" in row:
            row["annotators"] = tuple(row["annotators"] or ())
    return rows


def _row(value: Frame | Annotation | LabelledFrame | Assignment) -> dict[str, Any]:
    row = {name: getattr(value, name) for name in value.__slots__}
    if "attributes" in row:
        row["attributes"] = sorted(row["attributes"].items())
    return row


def write_frames(path: Path, frames: Iterable[Frame]) -> None:
    """Write frames.parquet."""
    write_table(path, map(_row, frames), FRAMES)


def read_frames(path: Path) -> list[Frame]:
    """Read frames.parquet. Raises DataError as `read_rows`."""
    return [Frame(**row) for row in read_rows(path, FRAMES)]


def write_annotations(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write annotations.parquet."""
    write_table(path, map(_row, annotations), ANNOTATIONS)


def read_annotations(path: Path) -> list[Annotation]:
    """Read annotations.parquet. Raises DataError as `read_rows`."""
    return [Annotation(**{**row, "origin": Origin(row["origin"])}) for row in read_rows(path, ANNOTATIONS)]


def write_labelled(path: Path, frames: Iterable[LabelledFrame]) -> None:
    """Write labelled.parquet."""
    write_table(path, map(_row, frames), LABELLED)


def read_labelled(path: Path) -> list[LabelledFrame]:
    """Read labelled.parquet. Raises DataError as `read_rows`."""
    return [LabelledFrame(**row) for row in read_rows(path, LABELLED)]


def write_splits(path: Path, assignments: Iterable[Assignment]) -> None:
    """Write splits.parquet."""
    write_table(path, map(_row, assignments), SPLITS)


def read_splits(path: Path) -> list[Assignment]:
    """Read splits.parquet. Raises DataError as `read_rows`."""
    return [Assignment(**{**row, "split": Split(row["split"])}) for row in read_rows(path, SPLITS)]


def write_detections(path: Path, detections: dict[str, Detections]) -> None:
    """Write detections.parquet: one row a box, in the frames' order, best first."""
    rows = (
        dict(zip(DETECTIONS.names, (frame_id, int(label), float(score), *map(float, box)), strict=True))
        for frame_id, found in detections.items()
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
    )
    write_table(path, rows, DETECTIONS)


def read_detections(path: Path, frame_ids: Sequence[str]) -> dict[str, Detections]:
    """Read detections.parquet; frames without a row have no detections. Raises DataError as `read_rows`."""
    by_frame: dict[str, list[dict[str, Any]]] = {frame_id: [] for frame_id in frame_ids}
    for row in read_rows(path, DETECTIONS):
        by_frame.setdefault(row["frame_id"], []).append(row)
    return {
        frame_id: Detections(
            np.array([[r["x1"], r["y1"], r["x2"], r["y2"]] for r in rows], np.float32).reshape(-1, 4),
            np.array([r["score"] for r in rows], np.float32),
            np.array([r["label"] for r in rows], np.int64),
        )
        for frame_id, rows in by_frame.items()
    }
