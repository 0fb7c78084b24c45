"""Videos for the tests, made on the spot."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SIZE = (96, 64)  # width, height
MILLISECOND = Fraction(1, 1000)


def picture(seed: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def write_video(
    path: Path,
    times_ms: Sequence[int],
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """A video of noise, a key frame every 10 frames, shown at the given times."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = MILLISECOND if codec == "libx264" else Fraction(1, 10)
        stream.codec_context.gop_size = 10
        for n, time in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(picture(n, size), format="rgb24")
            frame.time_base, frame.pts = MILLISECOND, time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def steady(count: int) -> list[int]:
    """Times of a steady ten frames a second."""
    return [100 * n for n in range(count)]


def cut(path: Path, share: float = 0.5) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def write_sound(path: Path) -> Path:
    """Sound and no picture."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return path
