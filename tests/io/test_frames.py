from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.core.types import Annotation, Assignment, Frame, Split
from pipeline.io.frames import pictures, split_ids, truth_of
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import write_annotations, write_frames, write_splits

SPLITS = {"a": Split.TRAIN, "b": Split.VAL, "c": Split.BENCHMARK, "d": Split.VAL}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Four frames, each of one grey level: a 40, b 80, c 120, d 160."""
    frames = []
    with ShardWriter(tmp_path, 1 << 20) as shards:
        for i, name in enumerate(SPLITS, start=1):
            data = cv2.imencode(".png", np.full((8, 16, 3), 40 * i, np.uint8))[1].tobytes()
            place = shards.write(f"{name}.png", data)
            where = {"shard": place.shard, "offset": place.offset, "length": place.length}
            frames.append(Frame(name, "gate", "gate", i, float(i), 16, 8, "gate.mp4", **where))  # type: ignore[arg-type]
    write_frames(tmp_path / "frames.parquet", frames)
    write_splits(tmp_path / "splits.parquet", [Assignment(f, s, f) for f, s in SPLITS.items()])
    boxes = [Annotation("d", "person", 1, 2, 3, 4), Annotation("a", "person", 0, 0, 1, 1)]
    write_annotations(tmp_path / "annotations.parquet", boxes)
    return tmp_path


def test_only_the_splits_frames_in_the_tables_order(world: Path) -> None:
    assert split_ids(world, Split.VAL) == ["b", "d"]


def test_truth_of_a_split_has_its_empty_frames_too(world: Path) -> None:
    truth = truth_of(world, world, Split.VAL, ("person",))
    assert {name: t.boxes.tolist() for name, t in truth.items()} == {"b": [], "d": [[1, 2, 4, 6]]}


def test_pictures_come_in_the_order_asked_for(world: Path) -> None:
    levels = [(name, int(image.mean())) for name, image in pictures(world, ["d", "b"])]
    assert levels == [("d", 160), ("b", 80)]


def test_an_unknown_frame_is_a_clear_error(world: Path) -> None:
    with pytest.raises(DataError, match="holds no usable frame z"):
        list(pictures(world, ["z"]))
