"""One door to every source of video: a file, a folder of pictures or clips, a camera over RTSP."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.core.params import SamplingParams, UsableParams
from pipeline.runtime.frames import Gap, LazyFrame, OnGap, Source
from pipeline.runtime.rtsp import RtspSource, public
from pipeline.runtime.video import SUFFIXES, read_lazily

# FFmpeg's readers of one picture; the general one would take a name like frame_%03d.jpg for a pattern.
PICTURES = {
    ".bmp": "bmp_pipe",
    ".jpeg": "jpeg_pipe",
    ".jpg": "jpeg_pipe",
    ".png": "png_pipe",
    ".tif": "tiff_pipe",
    ".tiff": "tiff_pipe",
    ".webp": "webp_pipe",
}
CAMERAS = ("rtsp", "rtsps")
LIMITS = UsableParams(min_side=16, max_side=16384, max_megapixels=100.0, min_luminance=0.0, min_sharpness=0.0)
STEP_S = 0.04  # between two files of which the first had one frame only


def open_source(
    text: str, *, fps: float = 0, paced: bool = False, loop: bool = False, on_gap: OnGap = lambda _: None
) -> Source:
    """A source of frames; nothing is read before its `frames` are asked for.

    Args:
        text: a file, a folder of pictures and clips, or an address of rtsp:// or rtsps://.
        fps: at most so many frames a second; 0 for all. Of files that have more, the others are not even decoded
            where no frame builds on them. Pictures of a folder count as so many a second, or as one.
        paced: of files: as fast as a camera would give them, not as fast as they can be read.
        loop: of files: again from the start, for ever; time and numbers go on.
        on_gap: told of every time without frames.

    Raises:
        DataError: no such file, or a folder without video, or an address of another kind.
    """
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in CAMERAS:
        return RtspSource(text, fps, LIMITS, on_gap)
    if scheme:
        raise DataError(f"{public(text)} cannot be watched; give rtsp://, rtsps://, a file or a folder")
    return FileSource(text, _files(Path(text)), fps, paced=paced, loop=loop, on_gap=on_gap)


class FileSource:
    """Frames of files, one file behind the other on one clock.

    Attributes:
        name: what was opened.
        live: never: a file waits for who reads it.
    """

    live = False

    def __init__(self, name: str, files: Sequence[Path], fps: float, *, paced: bool, loop: bool, on_gap: OnGap) -> None:
        self.name = name
        self._files = files
        self._fps = fps
        self._paced = paced
        self._loop = loop
        self._on_gap = on_gap
        self._closing = threading.Event()
        self._broken: dict[Path, str] = {}
        self._index = 0  # of the first frame of the file that is read
        self._start = 0.0  # timestamp of that frame

    def frames(self) -> Iterator[LazyFrame]:
        """The frames of all files.

        Raises:
            DataError: once all good frames are out: a file cannot be read, or not to its end.
        """
        began = time.monotonic()
        for frame in self._all():
            if self._paced:
                self._closing.wait(max(0.0, began + frame.timestamp_s - time.monotonic()))
            if self._closing.is_set():
                return
            yield frame
        if self._broken:
            path, reason = next(iter(self._broken.items()))
            count = f"{len(self._broken)} of {len(self._files)} files are broken: " if len(self._files) > 1 else ""
            raise DataError(f"{count}{path}: {reason}")

    def close(self) -> None:
        """End `frames` at its next frame."""
        self._closing.set()

    def _all(self) -> Iterator[LazyFrame]:
        while True:
            before = self._index
            for path in self._files:
                yield from self._placed(path)
            if not self._loop or self._index == before:  # a loop without a frame would never end
                return

    def _placed(self, path: Path) -> Iterator[LazyFrame]:
        """Frames of one file, on the clock of the whole."""
        step, last = 1 / (self._fps or 1.0) if _is_picture(path) else STEP_S, None
        try:
            for it in self._read(path):
                step = (last and it.timestamp_s - last.timestamp_s) or step
                last = it
                yield LazyFrame(self._index + it.index, self._start + it.timestamp_s, it.picture)
        except (DataError, OSError) as problem:
            self._broken[path] = str(problem)
        if last:
            self._index += last.index + 1
            self._start += last.timestamp_s + step
        if path in self._broken:
            self._on_gap(Gap(self._start, 0.0, f"{path}: {self._broken[path]}"))

    def _read(self, path: Path) -> Iterator[LazyFrame]:
        fps = 0 if _is_picture(path) else self._fps
        sampling = SamplingParams(mode="fps" if fps else "all", fps=fps or 1.0, jpeg_quality=95)
        return read_lazily(path, sampling, LIMITS, PICTURES.get(path.suffix.lower()), sparing=True)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES


def _files(path: Path) -> list[Path]:
    """The file, or what a folder holds below it that may be video, in order of names."""
    if not path.exists():
        raise DataError(f"{path} does not exist; give a video, a folder of videos or pictures, or rtsp://...")
    if not path.is_dir():
        return [path]
    found = sorted(it for it in path.rglob("*") if it.is_file() and it.suffix.lower() in {*PICTURES, *SUFFIXES})
    if not found:
        known = ", ".join(sorted({*PICTURES, *SUFFIXES}))
        raise DataError(f"{path} holds no video and no picture; known are {known}")
    return found
