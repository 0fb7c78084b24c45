"""Training shards: decoded pictures as plain uint8 arrays, so that a picture is one `pread` and no decoding.

`training-00000.npy`, `training-00001.npy` ... hold (N, H, W, 3) uint8 RGB. `training.parquet` has a row a picture:
which frame and copy it is, where it lies, and its boxes. The table is written last: a folder without it is unfinished.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.io.tables import read_rows, write_table

TABLE = "training.parquet"
TRAINING = pa.schema(
    [
        ("frame_id", pa.string()),
        ("copy", pa.int32()),
        ("shard", pa.string()),
        ("row", pa.int32()),
        ("boxes", pa.list_(pa.float32())),
        ("labels", pa.list_(pa.int64())),
        ("ignore", pa.list_(pa.bool_())),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One decoded picture and its boxes. M = number of boxes."""

    frame_id: str
    copy: int  # 0 is the picture as it was taken, 1.. its augmented versions
    image: NDArray[np.uint8]  # (H, W, 3) RGB, letterboxed
    boxes: NDArray[np.float32]  # (M, 4) input-pixel xyxy
    labels: NDArray[np.int64]  # (M,) index into the classes
    ignore: NDArray[np.bool_]  # (M,) neither object nor background


class TrainingWriter:
    """Writes examples one by one; memory does not grow with the set, because shards are files mapped into memory."""

    def __init__(self, folder: Path, count: int, size: tuple[int, int], shard_frames: int) -> None:
        """Nothing is written yet.

        Args:
            folder: where shards and table go; must exist.
            count: examples that will be written.
            size: width and height of every picture, pixels.
            shard_frames: pictures a shard.
        """
        self._folder = folder
        self._count = count
        self._size = size
        self._shard_frames = shard_frames
        self._shard: NDArray[np.uint8] | None = None
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._shard = None
        if kind is None:
            self._finish()

    def write(self, example: Example) -> None:
        """Append one example."""
        number, row = divmod(len(self._rows), self._shard_frames)
        name = f"training-{number:05d}.npy"
        if row == 0 or self._shard is None:
            self._shard = self._new(name, min(self._shard_frames, self._count - len(self._rows)))
        self._shard[row] = example.image
        self._rows.append(
            {
                "frame_id": example.frame_id,
                "copy": example.copy,
                "shard": name,
                "row": row,
                "boxes": example.boxes.ravel(),
                "labels": example.labels,
                "ignore": example.ignore,
            }
        )

    def _new(self, name: str, count: int) -> NDArray[np.uint8]:
        create: Callable[..., NDArray[np.uint8]] = open_memmap
        shape = (count, self._size[1], self._size[0], 3)
        return create(self._folder / name, mode="w+", dtype=np.uint8, shape=shape)

    def _finish(self) -> None:
        if len(self._rows) != self._count:
            raise DataError(f"{self._folder}: {self._count} training pictures were announced, {len(self._rows)} came")
        write_table(self._folder / TABLE, self._rows, TRAINING)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """The training pictures, on disk, and their boxes. N = number of pictures; every list has N items."""

    frame_ids: list[str]
    copies: list[int]
    boxes: list[NDArray[np.float32]]  # (M, 4) input-pixel xyxy
    labels: list[NDArray[np.int64]]  # (M,) index into the classes
    ignore: list[NDArray[np.bool_]]  # (M,) neither object nor background
    _places: list[tuple["Shard", int]]  # shard, row

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open what `TrainingWriter` wrote.

        Raises:
            DataError: the table or a shard is missing, unreadable, or they do not fit together.
        """
        rows = read_rows(folder / TABLE, TRAINING)
        shards = {name: _open_shard(folder / name) for name in dict.fromkeys(row["shard"] for row in rows)}
        for row in rows:
            if row["row"] >= len(shards[row["shard"]]):
                raise DataError(f"{folder / row['shard']} is shorter than its table says; run: dvc repro -f augment")
        return cls(
            [row["frame_id"] for row in rows],
            [row["copy"] for row in rows],
            [np.array(row["boxes"], np.float32).reshape(-1, 4) for row in rows],
            [np.array(row["labels"], np.int64) for row in rows],
            [np.array(row["ignore"], np.bool_) for row in rows],
            [(shards[row["shard"]], row["row"]) for row in rows],
        )

    def __len__(self) -> int:
        return len(self.frame_ids)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """The (H, W, 3) uint8 RGB picture, read-only."""
        shard, row = self._places[index]
        return shard.picture(row)


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A shard's open file: what replaces it on disk meanwhile does not change what a training reads.

    Pictures are read, not mapped: mapped ones count as memory of the process until it has all of the set in it.
    """

    file: FileIO
    start: int  # byte at which the first picture begins
    shape: tuple[int, ...]  # (N, H, W, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __del__(self) -> None:
        self.file.close()

    def picture(self, row: int) -> NDArray[np.uint8]:
        """The (H, W, 3) picture of a row, read-only.

        Raises:
            DataError: the file ends before it.
        """
        length = math.prod(self.shape[1:])
        data = os.pread(self.file.fileno(), length, self.start + row * length)
        if len(data) < length:
            raise DataError(f"{self.file.name} was cut off after it was opened; run: dvc repro -f augment")
        return np.frombuffer(data, np.uint8).reshape(self.shape[1:])


def _open_shard(path: Path) -> Shard:
    try:
        shard: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run: dvc repro augment") from None
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is no training shard: {error}; run: dvc repro -f augment") from None
    if not isinstance(shard, np.memmap) or not _holds_pictures(shard):
        raise DataError(f"{path} is no training shard: expected (N, H, W, 3) uint8; run: dvc repro -f augment")
    return Shard(FileIO(path), shard.offset, shard.shape)


def _holds_pictures(shard: NDArray[Any]) -> bool:
    rows = shard.dtype == np.uint8 and shard.ndim == 4 and shard.shape[3] == 3
    return rows and shard.flags.c_contiguous
