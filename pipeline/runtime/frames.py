"""What a source of video gives: frames that are converted only when asked for, and the gaps between them."""

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.core.errors import DataError

ROWS = 4  # of the picture, that make one of the small picture
TICK = 1e-6  # of an interval: a frame this little before its tick counts as on it
# Formats whose first plane is 8-bit luma, a byte a pixel; the others are converted to grey first.
PLANAR = frozenset(
    {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv440p", "yuvj440p", "yuv444p", "yuvj444p", "yuv411p", "yuvj411p"}
    | {"yuv410p", "nv12", "nv16", "nv21", "nv24", "gray"}
)
CONVERTING = threading.Lock()  # PyAV changes a frame's tags for a moment: two threads must not convert one at a time


@dataclass(frozen=True, slots=True, eq=False)
class LazyFrame:
    """One decoded frame, in the decoder's own format until someone asks for pixels."""

    index: int  # in decoding order of the whole source, from 0
    timestamp_s: float  # seconds of the source's clock; never back
    picture: av.VideoFrame

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        width, height = self.picture.width, self.picture.height
        return (height, width) if self._turns() % 2 else (width, height)

    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB pixels, upright. Converted anew at each call.

        Raises:
            DataError: the format cannot be converted.
        """
        return self._upright(_converted(self.picture, "rgb24"))

    def luma(self, width: int) -> NDArray[np.uint8]:
        """Grey picture (h, w), upright, `width` pixels wide or as wide as the frame where that is less.

        Comes from the Y plane as it was coded, so without colour conversion, in the range that the camera uses.
        """
        plane = _plane(self.picture)
        wide, high = self.size
        width = min(width, wide)
        small = width, max(1, round(high * width / wide))
        return self._upright(_shrunk(plane, small[::-1] if self._turns() % 2 else small))

    def _turns(self) -> int:
        """Quarter turns counterclockwise that bring the picture upright, as the display matrix says."""
        return round(self.picture.rotation / 90) % 4

    def _upright(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(np.rot90(pixels, self._turns()), np.uint8)


@dataclass(frozen=True, slots=True)
class Gap:
    """A time of which a source gave no frames."""

    start_s: float  # of the source's clock: its last frame
    seconds: float | None  # to the next frame; None while it lasts
    reason: str


OnGap = Callable[[Gap], None]  # called in the thread that reads: when a gap begins, and when it ends


class Source(Protocol):
    """Frames of a camera, a file or a folder."""

    name: str  # what was opened; holds no credentials
    live: bool  # frames come when they come: who is slow must drop some

    def frames(self) -> Iterator[LazyFrame]:
        """The frames, once. Raises DataError where the source cannot be read, or not to its end."""

    def close(self) -> None:
        """End `frames` soon, from any thread."""


class Ticks:
    """Takes the first moment at or after each tick of a clock of `fps` ticks a second; every moment where it is 0."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._next = 0

    def due(self, seconds: float) -> bool:
        """Whether the moment is taken; moments come in order."""
        tick = math.floor(seconds * self._fps + TICK)
        if self._fps and tick < self._next:
            return False
        self._next = tick + 1
        return True


def _converted(picture: av.VideoFrame, name: str) -> NDArray[np.uint8]:
    try:
        with CONVERTING:
            kind = picture.width, picture.height, picture.format.name, name
            return np.asarray(_reformatter(*kind).reformat(picture, format=name, threads=1).to_ndarray(), np.uint8)
    except (av.FFmpegError, ValueError) as error:
        raise DataError(f"broken video: a frame of format {picture.format.name} cannot be converted: {error}") from None


@lru_cache(maxsize=16)
def _reformatter(*_: int | str) -> VideoReformatter:
    """One for all frames of a kind; a frame's own would start threads for every picture, in three times the time."""
    return VideoReformatter()


def _plane(picture: av.VideoFrame) -> NDArray[np.uint8]:
    """Luma (H, W): a view into the decoder's picture where the format has such a plane."""
    if picture.format.name not in PLANAR:
        return _converted(picture, "gray")
    plane: Any = picture.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: picture.height, : picture.width]


def _shrunk(plane: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Area means by the largest whole factor, then the small rest by interpolation: three times as fast as at once.

    Of a large picture four rows of each area are enough.
    """
    factor = min(plane.shape[1] // size[0], plane.shape[0] // size[1])
    if factor > 1:
        near = plane.shape[1] // factor, plane.shape[0] // factor
        skip = factor // ROWS if factor % ROWS == 0 else 1
        cut = plane[: near[1] * factor : skip, : near[0] * factor]  # whole factors are what makes it fast
        plane = np.asarray(cv2.resize(cut, near, interpolation=cv2.INTER_AREA), np.uint8)
    if (plane.shape[1], plane.shape[0]) == size:
        return plane
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.uint8)
