"""Files of lines that rotate by size and hold whole lines only."""

import os
from pathlib import Path

from pipeline.core.errors import ConfigError, SightlineError


class LineFiles:
    """Lines into `<stem>-000001<suffix>`, `-000002` and so on in a folder.

    A file that exists is never added to, so a line that a crash cut off stays the last of its file. A line that does
    not fit (a full disk) is taken back before the error is raised.

    Args:
        folder: made if need be.
        stem: begin of the files' names.
        suffix: their end.
        max_bytes: a file that would grow beyond it is followed by the next.
        keep: so many files stay, the newest.

    Raises:
        ConfigError: a limit is no positive number.
        SightlineError: the folder cannot be made.
    """

    def __init__(self, folder: Path, stem: str, suffix: str, max_bytes: int = 64 << 20, keep: int = 10) -> None:
        if max_bytes < 1 or keep < 1:
            raise ConfigError(f"{folder}: max_bytes and keep must be at least 1, got {max_bytes} and {keep}")
        self._folder, self._stem, self._suffix = folder, stem, suffix
        self._max_bytes, self._keep = max_bytes, keep
        self._file: int | None = None
        self._size = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SightlineError(f"{folder} cannot be made: {error.strerror}") from None

    def write(self, line: str) -> None:
        """Write one line; line breaks in it become spaces.

        Raises:
            SightlineError: it cannot be written; the file still ends with a whole line.
        """
        data = " ".join(line.splitlines()).encode() + b"\n"
        try:
            self._write(data)
        except OSError as error:
            raise SightlineError(f"{self._folder}: cannot write metadata: {error.strerror}") from None

    def close(self) -> None:
        """Close the file; a later line begins the next."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def paths(self) -> list[Path]:
        """The files, oldest first."""
        return sorted(self._folder.glob(f"{self._stem}-[0-9][0-9][0-9][0-9][0-9][0-9]{self._suffix}"))

    def _write(self, data: bytes) -> None:
        if self._file is not None and self._size + len(data) > self._max_bytes:
            self.close()
        if self._file is None:
            self._file, self._size = self._next(), 0
        done = 0
        try:
            done = os.write(self._file, data)
        finally:
            if done < len(data):
                os.ftruncate(self._file, self._size)
        if done < len(data):
            raise OSError(None, "the disk is full")
        self._size += done

    def _next(self) -> int:
        paths = self.paths
        number = int(paths[-1].name[len(self._stem) + 1 :][:6]) + 1 if paths else 1
        for path in paths[: max(0, len(paths) + 1 - self._keep)]:
            path.unlink(missing_ok=True)
        path = self._folder / f"{self._stem}-{number:06}{self._suffix}"
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
