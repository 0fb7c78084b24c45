"""Tar shards: any tar tool lists them, and a frame is one pread at the offset that its row names."""

import io
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pipeline.core.errors import DataError
from pipeline.core.types import Frame


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a member lie."""

    shard: str  # file name
    offset: int  # bytes from the start of the file
    length: int  # bytes


class ShardWriter:
    """Writes members to `shard-00000.tar`, `shard-00001.tar` ...; headers carry no time and no owner."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._count = 0
        self._tar: tarfile.TarFile | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, name: str, data: bytes) -> Place:
        """Append one member and say where its bytes are."""
        tar = self._open()
        header = tarfile.TarInfo(name)
        header.size = len(data)
        start = tar.offset + len(header.tobuf(tarfile.USTAR_FORMAT))
        tar.addfile(header, io.BytesIO(data))
        return Place(f"shard-{self._count - 1:05d}.tar", start, len(data))

    def _open(self) -> tarfile.TarFile:
        if self._tar is not None and self._tar.offset >= self._max_bytes:
            self._close()
        if self._tar is None:
            path = self._folder / f"shard-{self._count:05d}.tar"
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by _close
            self._count += 1
        return self._tar

    def _close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None


@dataclass
class ShardReader:
    """Reads frames' bytes; one open file a shard, safe to share between threads."""

    folder: Path
    _files: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._files.values():
            os.close(handle)
        self._files.clear()

    def read(self, frame: Frame) -> bytes:
        """The stored bytes of a frame.

        Raises:
            DataError: the frame has no bytes, or its shard is missing or too short.
        """
        if not frame.shard:
            raise DataError(f"frame {frame.frame_id} ({frame.source}) was quarantined: {frame.reason}")
        data = os.pread(self._handle(frame.shard), frame.length, frame.offset)
        if len(data) != frame.length:
            raise DataError(f"{self.folder / frame.shard} is shorter than its table says; run: dvc repro -f ingest")
        return data

    def _handle(self, shard: str) -> int:
        if shard not in self._files:
            try:
                self._files[shard] = os.open(self.folder / shard, os.O_RDONLY)
            except FileNotFoundError:
                raise DataError(f"{self.folder / shard} is missing; run: dvc repro ingest") from None
        return self._files[shard]


def by_id(frames: list[Frame]) -> dict[str, Frame]:
    """Usable frames by id."""
    return {frame.frame_id: frame for frame in frames if frame.usable}
