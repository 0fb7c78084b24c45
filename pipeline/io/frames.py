"""Frames and truth of one split: what train, evaluate and export read."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.types import Annotation, Frame, Split, Truth
from pipeline.io.images import decode
from pipeline.io.shards import ShardReader, by_id
from pipeline.io.tables import read_annotations, read_frames, read_splits


def split_ids(splits: Path, split: Split) -> list[str]:
    """Ids of the frames of one split, in the table's order. `splits` is the split stage's folder."""
    return [a.frame_id for a in read_splits(splits / "splits.parquet") if a.split is split]


def truth_of(annotations: Path, splits: Path, split: Split, classes: tuple[str, ...]) -> dict[str, Truth]:
    """What is truly in each frame of one split, by frame id, in the split's order."""
    boxes: dict[str, list[Annotation]] = {frame_id: [] for frame_id in split_ids(splits, split)}
    for annotation in read_annotations(annotations / "annotations.parquet"):
        if annotation.frame_id in boxes:
            boxes[annotation.frame_id].append(annotation)
    return {frame_id: Truth.of(found, classes) for frame_id, found in boxes.items()}


def labelled(
    frames: Path, annotations: Path, splits: Path, split: Split, classes: tuple[str, ...]
) -> tuple[tuple[Frame, ...], tuple[Truth, ...]]:
    """The frames of one split, and what is truly in each. Raises DataError where a frame is not there."""
    truths = truth_of(annotations, splits, split, classes)
    known = by_id(read_frames(frames / "frames.parquet"))
    return tuple(find(known, frame_id, frames) for frame_id in truths), tuple(truths.values())


def pictures(frames: Path, frame_ids: Sequence[str]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Decoded frames, (H, W, 3) uint8 RGB upright, one at a time in the order asked for.

    Raises:
        DataError: a frame is not in `frames`, or its bytes are broken.
    """
    known = by_id(read_frames(frames / "frames.parquet"))
    with ShardReader(frames) as reader:
        for frame_id in frame_ids:
            yield frame_id, decode(reader.read(find(known, frame_id, frames)))


def find(known: dict[str, Frame], frame_id: str, frames: Path) -> Frame:
    """The frame with this id. Raises DataError where there is none."""
    if frame_id not in known:
        raise DataError(f"{frames} holds no usable frame {frame_id}; run: dvc repro")
    return known[frame_id]
