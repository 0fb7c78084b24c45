"""Clips and stills that play anywhere: H.264 in MP4, JPEG; the same pictures give the same bytes."""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.writing import whole

TICKS = 90_000  # a second; the clock of MPEG, in which the usual frame rates are whole numbers
# x264's macroblock tree reads memory that no one wrote where a side is no multiple of 16: the same pictures would give
# other bytes from run to run.
H264 = {"preset": "veryfast", "crf": "23", "profile": "high", "x264-params": "mbtree=0"}
BT709, MPEG_RANGE = 1, 1  # code points of ITU-T H.273; players take an untagged clip for either of two colour spaces
# The index in front, so that a browser plays before it has all; no version of the writer in the header.
MP4 = {"movflags": "faststart", "fflags": "+bitexact"}

Image = NDArray[np.uint8]


def write_clip(path: Path, frames: Iterable[Image], fps: float) -> None:
    """Pictures as a clip of constant frame rate, written whole or not at all.

    H.264, yuv420p, BT.709, index in front; no time, no name in the header, one thread: the same pictures give the same
    bytes with the same libraries.

    Args:
        path: of the MP4 file.
        frames: (H, W, 3) uint8 RGB each; a size that differs from the first one's is scaled to it.
        fps: frames a second.

    Raises:
        DataError: no picture, one that is none, or a frame rate that is none.
    """
    if not (np.isfinite(fps) and 0 < fps <= 1000):
        raise DataError(f"{path}: a clip needs a frame rate above 0 and up to 1000, got {fps}")
    write_timed_clip(path, ((index / fps, frame) for index, frame in enumerate(frames)), fps)


def write_timed_clip(path: Path, frames: Iterable[tuple[float, Image]], fps: float) -> None:
    """As `write_clip`, each picture with its seconds; they count from the first one, and never step back.

    Args:
        path: of the MP4 file.
        frames: seconds and picture.
        fps: roughly; it says how long the last picture stands.

    Raises:
        DataError: no picture, or one that is none.
    """
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise DataError(f"{path}: a clip needs at least one picture")
    with whole(path) as temporary, av.open(str(temporary), "w", format="mp4", options=MP4) as container:
        stream = _stream(container, _checked(first[1], path), fps)
        for frame in _timed(itertools.chain([first], rest), stream, path, fps):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_still(path: Path, picture: Image, quality: int = 90) -> None:
    """A picture (H, W, 3) of RGB as JPEG, written whole or not at all."""
    with whole(path) as temporary:
        temporary.write_bytes(to_jpeg(picture, quality))


def to_jpeg(picture: Image, quality: int = 90) -> bytes:
    """A picture (H, W, 3) of uint8 RGB as JPEG bytes. Raises DataError where it is none."""
    done, data = cv2.imencode(".jpg", _checked(picture)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError(f"a picture of {picture.shape} cannot be JPEG; its sides go up to 65,535")
    return data.tobytes()


def from_jpeg(data: bytes) -> Image:
    """The picture (H, W, 3) of uint8 RGB of JPEG bytes that `to_jpeg` made."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"{len(data)} bytes are no JPEG")
    return np.ascontiguousarray(picture[..., ::-1], np.uint8)


def _stream(container: Any, picture: Image, fps: float) -> Any:
    height, width = picture.shape[:2]
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=H264)
    stream.width, stream.height = width + width % 2, height + height % 2  # 4:2:0 has one colour for two by two pixels
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    context.time_base = Fraction(1, TICKS)
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = MPEG_RANGE
    return stream


def _timed(frames: Iterable[tuple[float, Image]], stream: Any, path: Path, fps: float) -> Iterator[av.VideoFrame]:
    """Frames for the encoder, in its size, colours and ticks."""
    start, last = None, -1
    for seconds, picture in frames:
        start = seconds if start is None else start
        last = max(last + 1, round((seconds - start) * TICKS))
        frame = av.VideoFrame.from_ndarray(_fitted(_checked(picture, path), stream.width, stream.height), "rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        frame.pts, frame.time_base, frame.duration = last, Fraction(1, TICKS), round(TICKS / fps)
        yield frame


def _fitted(picture: Image, width: int, height: int) -> Image:
    """In the clip's size: an odd side is padded with its edge, any other size is scaled."""
    missing = height - picture.shape[0], width - picture.shape[1]
    if set(missing) <= {0, 1}:
        return np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge")
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _checked(picture: Image, path: Path | str = "a still") -> Image:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise DataError(f"{path}: expected pictures (H, W, 3) of uint8 RGB, got {picture.shape} of {picture.dtype}")
    return picture
