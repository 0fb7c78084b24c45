"""Cameras over RTSP for the tests: what they show says which frame it is."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

SERVER = Path(__file__).parent / "rtsp_server.py"
PYTHON = "/usr/bin/python3"  # the system's: GStreamer's bindings come as packages of Debian, not of Python
WANTED = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-rtsp"
RATE, GOP = 25, 5  # frames a second; a key frame every so many
SIZE = (128, 96)  # width, height
BITS = 10
DARK, LIGHT = 40, 220


@cache
def lacking() -> str:
    """What keeps RTSP servers from running here; "" where nothing does."""
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer as _;"
    code += "Gst.init(None); names = 'appsrc h264parse rtph264pay rtpbin'; "
    code += "raise SystemExit(not all(map(Gst.ElementFactory.find, names.split())))"
    try:
        missing = subprocess.run([PYTHON, "-c", code], check=False, capture_output=True).returncode
    except FileNotFoundError:
        missing = 1
    return f"needs an RTSP server: apt-get install {WANTED}" if missing else ""


needs_rtsp = pytest.mark.skipif(bool(lacking()), reason=lacking() or "an RTSP server runs here")


def numbered(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """An RGB picture that shows its number in bits, as bars."""
    picture = np.full((size[1], size[0], 3), DARK, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            picture[:, bit * size[0] // BITS : (bit + 1) * size[0] // BITS] = LIGHT
    return picture


def number_of(luma: NDArray[np.uint8]) -> int:
    """The number that a grey picture shows."""
    bars = np.array_split(luma, BITS, axis=1)
    return sum(1 << bit for bit, bar in enumerate(bars) if np.median(bar) > (DARK + LIGHT) / 2)


def write_stream(
    path: Path, sizes: Sequence[tuple[int, int]] = (SIZE,), count: int = 1000, gop: int = GOP, damaged: int = -1
) -> Path:
    """`count` numbered frames of H.264 for the server, in equal parts of each size; one of them may be damaged."""
    units: list[bytes] = []
    for part, size in enumerate(sizes):
        encoder: Any = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
        encoder.time_base, encoder.framerate, encoder.gop_size = Fraction(1, RATE), RATE, gop
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
        numbers = range(part * count // len(sizes), (part + 1) * count // len(sizes))
        frames = [av.VideoFrame.from_ndarray(numbered(n, size), format="rgb24") for n in numbers]
        units += [bytes(packet) for frame in [*frames, None] for packet in encoder.encode(frame)]
    if damaged >= 0:
        units[damaged] = units[damaged][:10] + bytes(byte ^ 0x55 for byte in units[damaged][10:])
    path.write_bytes(b"".join(len(unit).to_bytes(4, "big") + unit for unit in units))
    return path


class Camera:
    """A camera that can be cut off, frozen, and come back under the same address. `zero` is when frame 0 was shown."""

    def __init__(
        self, stream: Path, user: str = "", certificate: Path | None = None, gop: int = GOP, port: int = 0
    ) -> None:
        self.zero = time.time()
        self.port = port  # 0: one that is free
        self._more = (str(stream), str(RATE), str(gop), str(self.zero), user, str(certificate or ""))
        self._server: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._server = subprocess.Popen(
            [PYTHON, str(SERVER), str(self.port), *self._more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        self.port = int(self._server.stdout.readline())

    def kill(self) -> None:
        """Cut it off at once, as a pulled plug."""
        assert self._server is not None
        with self._server as server:
            server.kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It keeps its connections and says nothing."""
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._server.pid, signal.SIGCONT)

    def address(self, user: str = "", scheme: str = "rtsp") -> str:
        return f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{self.port}/live"


@contextmanager
def camera(stream: Path, user: str = "", certificate: Path | None = None, gop: int = GOP) -> Iterator[Camera]:
    """A camera that runs, and is gone afterwards."""
    it = Camera(stream, user, certificate, gop)
    it.start()
    try:
        yield it
    finally:
        it.kill()
