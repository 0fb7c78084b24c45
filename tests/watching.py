"""Frames, sources and detectors that tests of `watch` share, with answers that can be worked out by hand."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.core.types import Detections
from pipeline.runtime.alarms import Event
from pipeline.runtime.frames import LazyFrame
from pipeline.runtime.watching import Detector, Observation

SIZE = (160, 96)  # width and height of the frames
SQUARE = 24  # pixels, of what moves
CLASSES = ("person", "vehicle")
LIMIT_S = 20.0  # for what takes milliseconds: past it a test has failed

Image = NDArray[np.uint8]


def picture(left: int | None, size: tuple[int, int] = SIZE) -> Image:
    """A grey ground with texture, and a white square from `left` on."""
    width, height = size
    ground = np.tile(np.arange(width) // 8 % 2 * 40 + 80, (height, 1)).astype(np.uint8)
    if left is not None:
        ground[20 : 20 + SQUARE, max(0, left) : left + SQUARE] = 250
    return np.repeat(ground[..., None], 3, axis=2)


def frame(index: int, timestamp_s: float, pixels: Image | None = None) -> LazyFrame:
    """A frame as a decoder gives it."""
    rgb = picture(None) if pixels is None else pixels
    return LazyFrame(index, timestamp_s, av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p"))


def frames(lefts: Iterable[int | None], fps: float = 10.0) -> list[LazyFrame]:
    """A frame for each place of the square."""
    return [frame(i, i / fps, picture(left)) for i, left in enumerate(lefts)]


def seen(it: LazyFrame) -> Detections:
    """The white square as a person with score 0.9; what a perfect detector would find."""
    high = it.rgb()[20 + SQUARE // 2, :, 0] > 200
    if not high.any():
        return Detections.empty()
    left, right = np.flatnonzero(high)[[0, -1]]
    box = np.array([[left, 20, right + 1, 20 + SQUARE]], np.float32)
    return Detections(box, np.array([0.9], np.float32), np.zeros(1, np.int64))


DETECTOR = Detector(seen, CLASSES, {"person": 0.5, "vehicle": 0.5})


class Listed:
    """A source of given frames; `wait` is called before each."""

    def __init__(
        self,
        given: Sequence[LazyFrame],
        *,
        live: bool = False,
        wait: Callable[[LazyFrame], object] = lambda _: None,
        error: Exception | None = None,
    ) -> None:
        self.name = "listed"
        self.live = live
        self.closed = threading.Event()
        self._given, self._wait, self._error = given, wait, error

    def frames(self) -> Iterator[LazyFrame]:
        for it in self._given:
            self._wait(it)
            if self.closed.is_set():
                return
            yield it
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.closed.set()


class Collected:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[Observation] = []
        self.closed = False

    def emit(self, it: Observation) -> None:
        self.taken.append(it)

    def close(self) -> None:
        self.closed = True

    def events(self) -> list[Event]:
        return [event for it in self.taken for event in it.events]


def write_clip(path: Path, lefts: Iterable[int | None], fps: int = 10, size: tuple[int, int] = SIZE) -> Path:
    """A clip with the square at these places, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for left in lefts:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(left, size), "rgb24")))
        container.mux(stream.encode())
    return path
