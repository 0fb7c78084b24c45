import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Self

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime import rtsp
from pipeline.runtime.frames import Gap, LazyFrame
from pipeline.runtime.rtsp import Clock, public
from pipeline.runtime.sources import open_source
from tests.cameras import RATE, SIZE, Camera, camera, needs_rtsp, number_of, write_stream

LIMIT_S = 20.0  # for what takes a second or two
SECRET = "ann:s3cret"  # noqa: S105 - of a camera that a test makes


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stream(tmp_path_factory.mktemp("stream") / "stream")


class Viewer:
    """Reads a camera in a thread of its own, as a watch does, and keeps what it saw."""

    def __init__(self, address: str) -> None:
        self.gaps: list[Gap] = []
        self.frames: list[tuple[float, int]] = []  # timestamp, number shown
        self.sizes: set[tuple[int, int]] = set()
        self.problem: Exception | None = None
        self._source = open_source(address, on_gap=self.gaps.append)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for frame in self._source.frames():
                self.frames.append((frame.timestamp_s, number_of(frame.luma(SIZE[0]))))
                self.sizes.add(frame.size)
        except DataError as problem:
            self.problem = problem

    def until(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT_S
        while not what():
            assert time.monotonic() < end, f"after {LIMIT_S} s: {len(self.frames)} frames, {self.gaps}, {self.problem}"
            time.sleep(0.01)

    def until_more(self, count: int = 10) -> None:
        """Until it has seen some more frames."""
        goal = len(self.frames) + count
        self.until(lambda: len(self.frames) >= goal)


def lost(frames: list[tuple[float, int]]) -> list[tuple[int, int]]:
    """Numbers before and after every place where frames are missing."""
    return [(a, b) for (_, a), (_, b) in pairwise(frames) if b != a + 1]


@needs_rtsp
def test_a_camera_gives_every_frame_on_its_clock(stream: Path) -> None:
    with camera(stream) as cam, Viewer(cam.address()) as viewer:
        viewer.until_more(60)
    assert lost(viewer.frames) == []
    assert viewer.sizes == {SIZE}
    assert viewer.gaps == []
    # From one frame to the next as the camera took them; from the first to the last the start is set right.
    steps = [b - a for (a, _), (b, _) in pairwise(viewer.frames)]
    assert min(steps) > 0.89 / RATE
    assert max(steps) < 1.01 / RATE


@needs_rtsp
def test_a_camera_that_is_cut_off_comes_back_and_loses_nothing_but_that_time(stream: Path) -> None:
    with camera(stream) as cam, Viewer(cam.address()) as viewer:
        viewer.until_more()
        cam.kill()
        cut = time.time()
        viewer.until(lambda: len(viewer.gaps) == 1)
        time.sleep(1.0)  # the time that is lost
        cam.start()
        back = time.time()
        viewer.until_more()
    ((before, after),) = lost(viewer.frames)
    assert before >= int((cut - cam.zero) * RATE) - 3  # on their way when it was cut
    assert after <= (back - cam.zero + rtsp.LONGEST_S + 1.5) * RATE  # a wait, a connection, a key frame
    begin, end = viewer.gaps
    assert (begin.seconds, begin.start_s) == (None, end.start_s)
    assert end.seconds == pytest.approx((after - before) / RATE, abs=0.5)
    times = [moment for moment, _ in viewer.frames]
    assert times == sorted(set(times))
    assert end.start_s in times


@needs_rtsp
def test_a_camera_that_falls_silent_is_called_again(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "READ_S", 0.5)
    monkeypatch.setattr(rtsp, "OPEN_S", 1.0)
    with camera(stream) as cam, Viewer(cam.address()) as viewer:
        viewer.until_more()
        with cam.frozen():
            viewer.until(lambda: len(viewer.gaps) == 1)
        viewer.until_more()
    assert viewer.gaps[0].reason == "the camera keeps silent"
    assert viewer.gaps[1].seconds is not None


@needs_rtsp
def test_a_camera_may_come_up_later(stream: Path) -> None:
    cam = Camera(stream)
    cam.start()
    cam.kill()  # leaves its port
    with Viewer(cam.address()) as viewer:
        viewer.until(lambda: len(viewer.gaps) == 1)
        cam.start()
        try:
            viewer.until_more()
        finally:
            cam.kill()
    assert viewer.gaps[0] == Gap(0.0, None, "Connection refused")
    assert viewer.gaps[1].seconds == pytest.approx(viewer.frames[0][0])


def test_a_host_that_takes_calls_and_never_answers_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "OPEN_S", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as host,
        Viewer(f"rtsp://127.0.0.1:{host.getsockname()[1]}/a") as viewer,
    ):
        viewer.until(lambda: len(viewer.gaps) == 1)
    assert viewer.gaps == [Gap(0.0, None, "the camera keeps silent")]


@needs_rtsp
def test_a_new_size_in_mid_stream_goes_on(tmp_path: Path) -> None:
    larger = (192, 160)
    with camera(write_stream(tmp_path / "stream", (SIZE, larger), count=60)) as cam, Viewer(cam.address()) as viewer:
        viewer.until(lambda: viewer.sizes == {SIZE, larger})
        viewer.until_more(40)
    assert viewer.gaps == []
    assert {(a, b) for a, b in lost(viewer.frames)} <= {(59, 0)}


@needs_rtsp
def test_damaged_frames_are_left_out_and_a_hole_of_them_is_a_gap(tmp_path: Path) -> None:
    broken, gop = 60, 50
    stream = write_stream(tmp_path / "stream", count=100, gop=gop, damaged=broken)
    with camera(stream, gop=gop) as cam, Viewer(cam.address()) as viewer:
        viewer.until(lambda: len(viewer.gaps) == 2)
    begin, end = viewer.gaps
    assert (begin.reason, begin.seconds) == ("frames came damaged", None)
    assert end.seconds == pytest.approx((100 - broken + 1) / RATE, abs=0.1)
    assert not [number for _, number in viewer.frames if number >= broken and number < 100]


@needs_rtsp
def test_who_may_look_is_let_in(stream: Path) -> None:
    with camera(stream, SECRET) as cam, Viewer(cam.address(SECRET)) as viewer:
        viewer.until_more()


@needs_rtsp
@pytest.mark.parametrize("user", ["", "ann:wr0ng"], ids=["no one", "wrong password"])
def test_who_may_not_look_is_told_at_once_and_only_once(
    stream: Path, user: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with camera(stream, SECRET) as cam:
        with Viewer(cam.address(user)) as viewer:
            viewer.until(lambda: viewer.problem is not None)
        said = str(viewer.problem)
        assert said.startswith(f"{cam.address()}: the camera refuses access: ")
    everything = said + repr(viewer.problem) + "".join(capfd.readouterr()) + caplog.text + repr(viewer.gaps)
    assert "wr0ng" not in everything


@needs_rtsp
def test_a_password_that_does_no_longer_hold_is_a_gap(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike one that is wrong from the start: the camera may only be starting up."""
    monkeypatch.setattr(rtsp, "UNFIT_S", 0.1)
    reasons: list[str] = []
    lose = rtsp._Line.lose

    def spy(line: rtsp._Line, reason: str) -> None:
        reasons.append(reason)
        lose(line, reason)

    monkeypatch.setattr(rtsp._Line, "lose", spy)
    with camera(stream, SECRET) as cam, Viewer(cam.address(SECRET)) as viewer:
        viewer.until_more()
        cam.kill()
        other = Camera(stream, "ann:0ther", port=cam.port)
        other.start()
        viewer.until(lambda: any(reason.startswith("the camera refuses access: ") for reason in reasons))
        other.kill()
        cam.start()
        viewer.until_more()


@needs_rtsp
def test_rtsps_is_read_too(stream: Path, tmp_path: Path) -> None:
    pem = tmp_path / "both.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {pem} -out {tmp_path / 'c.pem'} -days 1 -subj /CN=camera"
    subprocess.run(make.split(), check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + (tmp_path / "c.pem").read_bytes())
    with camera(stream, SECRET, pem) as cam, Viewer(cam.address(SECRET, "rtsps")) as viewer:
        viewer.until_more()


@needs_rtsp
def test_a_lost_camera_never_tells_its_password(
    stream: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with camera(stream, SECRET) as cam, Viewer(cam.address(SECRET)) as viewer:
        viewer.until_more()
        cam.kill()
        viewer.until(lambda: len(viewer.gaps) == 1)
        cam.start()
        viewer.until_more()
    assert "s3cret" not in repr(viewer.gaps) + "".join(capfd.readouterr()) + caplog.text + viewer._source.name


@needs_rtsp
def test_fewer_frames_are_taken_where_fewer_are_asked_for(stream: Path) -> None:
    with camera(stream) as cam:
        source = open_source(cam.address(), fps=5)
        taken = [frame.timestamp_s for frame, _ in zip(source.frames(), range(12), strict=False)]
    steps = [b - a for a, b in pairwise(taken)]
    assert sum(steps) / len(steps) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        pytest.param("rtsp://ann:s3cret@cam.example/live", "rtsp://cam.example/live", id="user"),
        pytest.param("rtsps://ann:p%40ss:w@10.0.0.7:322/a/b", "rtsps://10.0.0.7:322/a/b", id="port"),
        pytest.param("rtsp://a@b@[fe80::1]:554/x", "rtsp://[fe80::1]:554/x", id="IPv6"),
        pytest.param("rtsp://cam/live?user=ann&password=s3cret", "rtsp://cam/live", id="query"),
        pytest.param(
            "rtsp://cam/user=ann&password=s3cret&channel=1", "rtsp://cam/user=***&password=***&channel=1", id="path"
        ),
    ],
)
def test_addresses_are_shown_without_credentials(address: str, shown: str) -> None:
    assert public(address) == shown


@pytest.mark.parametrize("address", ["rtsp://", "rtsp:///live", "rtsp://ann:s3cret@/live", "rtsp://cam:s3cret/x"])
def test_an_address_that_is_none_says_so_and_nothing_else(address: str) -> None:
    with pytest.raises(DataError, match="names no host") as caught:
        open_source(address)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("steps", "moments"),
    [
        pytest.param([(0, 1), (0.04, 1.04), (0.08, 1.08)], [1, 1.04, 1.08], id="steady"),
        pytest.param([(0, 1), (0.04, 1.07), (0.08, 1.08)], [1, 1.04, 1.08], id="delays on the way do not count"),
        pytest.param([(0, 1), (0.1, 1.01), (0.2, 1.02)], [1, 1.09, 1.18], id="a bunch: set right, a tenth at a time"),
        pytest.param([(0, 1), (0.04, 9)], [1, 9], id="a clock far behind"),
        pytest.param([(0, 1), (8, 1.04)], [1, 1.04], id="a clock far ahead"),
        pytest.param([(0, 1), (0.04, 1.04), "new", (0, 5), (0.04, 5.04)], [1, 1.04, 5, 5.04], id="connected again"),
        pytest.param([(0, 1), (1.5, 1.5), "new", (0, 1.51)], [1, 2.48, 2.481], id="never back"),
    ],
)
def test_the_clock_keeps_the_cameras_steps_and_our_time(
    steps: list[tuple[float, float] | str], moments: list[float]
) -> None:
    clock = Clock()
    got = []
    for step in steps:
        if isinstance(step, str):
            clock.connect()
        else:
            got.append(clock.place(*step))
    assert got == pytest.approx(moments)


def test_waits_double_up_to_the_cap() -> None:
    line = rtsp._Line(lambda _: None)
    waits = [line.wait() for _ in range(12)]
    caps = [min(rtsp.LONGEST_S, rtsp.FIRST_S * 2**n) for n in range(12)]
    assert all(cap / 2 <= wait <= cap for wait, cap in zip(waits, caps, strict=True))
    assert len(set(waits)) == len(waits)


def frames_of(source: Iterator[LazyFrame]) -> int:
    return sum(1 for _ in source)


def test_closing_ends_the_calls_to_a_camera_that_is_not_there() -> None:
    source = open_source("rtsp://127.0.0.1:9/live", on_gap=lambda _: source.close())
    began = time.monotonic()
    assert frames_of(source.frames()) == 0
    assert time.monotonic() - began < rtsp.LONGEST_S
