from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.core.params import SamplingParams, UsableParams
from pipeline.runtime.video import VideoFrame, read_video
from tests.videos import SIZE, cut, steady, write_sound, write_video

ALL = SamplingParams(mode="all", fps=2.0, jpeg_quality=95)
KEYFRAMES = SamplingParams(mode="keyframes", fps=2.0, jpeg_quality=95)
LIMITS = UsableParams(min_side=32, max_side=4096, max_megapixels=16.0, min_luminance=0.0, min_sharpness=0.0)


def read(path: Path, sampling: SamplingParams = ALL) -> tuple[list[VideoFrame], str]:
    """All frames, and what the reader complained of at the end."""
    frames = []
    try:
        for frame in read_video(path, sampling, LIMITS):
            frames.append(frame)  # noqa: PERF402 - what came before the complaint counts
    except DataError as error:
        return frames, str(error)
    return frames, ""


def test_all_frames_have_their_index_time_and_size(tmp_path: Path) -> None:
    frames, problem = read(write_video(tmp_path / "a.mp4", steady(25)))
    assert not problem
    assert [f.index for f in frames] == list(range(25))
    assert [f.timestamp_s for f in frames] == pytest.approx([n / 10 for n in range(25)])
    assert {f.pixels.shape for f in frames} == {(SIZE[1], SIZE[0], 3)}


def test_pixels_are_rgb(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        orange = np.full((SIZE[1], SIZE[0], 3), (240, 120, 20), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(orange, format="rgb24")))
        container.mux(stream.encode(None))
    frames, _ = read(path)
    assert frames[0].pixels.mean(axis=(0, 1)) == pytest.approx([240, 120, 20], abs=6)


@pytest.mark.parametrize(
    ("fps", "times_ms", "taken"),
    [
        pytest.param(2.0, steady(11), [0, 5, 10], id="steady"),
        pytest.param(4.0, steady(11), [0, 3, 5, 8, 10], id="ticks between frames take the next frame"),
        pytest.param(30.0, steady(5), [0, 1, 2, 3, 4], id="faster than the video takes each frame once"),
        pytest.param(2.0, [0, 40, 80, 1200, 1240, 1600, 2000], [0, 3, 5, 6], id="variable rate"),
        pytest.param(2.0, [500 + t for t in steady(11)], [0, 5, 10], id="late start"),
    ],
)
def test_fps_takes_the_first_frame_at_or_after_each_tick(
    tmp_path: Path, fps: float, times_ms: list[int], taken: list[int]
) -> None:
    path = write_video(tmp_path / "a.mkv", times_ms)
    frames, problem = read(path, SamplingParams(mode="fps", fps=fps, jpeg_quality=95))
    assert (problem, [f.index for f in frames]) == ("", taken)
    assert [f.timestamp_s for f in frames] == pytest.approx([(times_ms[n] - times_ms[0]) / 1000 for n in taken])


def test_keyframes_have_the_index_that_they_have_among_all(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(25), options={})
    frames, problem = read(path, KEYFRAMES)
    everything, _ = read(path)
    with av.open(str(path)) as container:
        coded_alone = [n for n, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert (problem, [f.index for f in frames]) == ("", coded_alone)
    assert len(frames) > 1
    for frame in frames:
        assert np.array_equal(frame.pixels, everything[frame.index].pixels)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        pytest.param("a.mp4", "libx264", {"movflags": "faststart"}, id="mp4"),
        pytest.param("a.mkv", "libx264", {}, id="mkv"),
        pytest.param("a.avi", "mpeg4", {}, id="avi"),
        pytest.param("a.ts", "libx264", {}, id="ts"),
    ],
)
@pytest.mark.parametrize("sampling", [ALL, KEYFRAMES], ids=["all", "keyframes"])
def test_a_video_that_breaks_off_keeps_its_good_frames(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], sampling: SamplingParams
) -> None:
    path = write_video(tmp_path / name, steady(40), codec=codec, options=options)
    whole, fine = read(path, sampling)
    assert fine == ""
    frames, problem = read(cut(path), sampling)
    assert len(whole) / 4 < len(frames) <= len(whole) / 2 + 1
    for kept, original in zip(frames, whole, strict=False):
        assert kept.index == original.index
        assert np.array_equal(kept.pixels, original.pixels)
    if name != "a.ts":  # a transport stream does not state its length
        assert problem.startswith("broken video: breaks off after ")


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4"])
def test_damage_in_the_middle_costs_no_good_frame_and_passes_no_bad_one(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, steady(60))
    whole = {f.timestamp_s: f for f in read(path)[0]}
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = b"\xff" * 600
    path.write_bytes(bytes(data))
    frames, problem = read(path)
    assert problem.startswith("broken video: ")
    times = [f.timestamp_s for f in frames]
    assert {n / 10 for n in [*range(20), *range(50, 60)]} <= set(times)
    for frame in frames:
        assert np.array_equal(frame.pixels, whole[frame.timestamp_s].pixels)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty file: 0 bytes", id="empty"),
        pytest.param(b"once upon a time\n" * 100, "broken video: cannot be read: ", id="text"),
        pytest.param(b"ffconcat version 1.0\nfile secret.mp4\n", "broken video: cannot be read: ", id="playlist"),
        pytest.param(b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n", "broken video: cannot be read: ", id="hls playlist"),
    ],
)
def test_what_is_no_video_says_so(tmp_path: Path, content: bytes, reason: str) -> None:
    write_video(tmp_path / "secret.mp4", steady(3))
    (tmp_path / "a.mp4").write_bytes(content)
    frames, problem = read(tmp_path / "a.mp4")
    assert not frames
    assert problem.startswith(reason)
    assert str(tmp_path) not in problem


def test_sound_without_a_picture_says_so(tmp_path: Path) -> None:
    assert read(write_sound(tmp_path / "a.mp4")) == ([], "no video: the file holds other streams only")


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        pytest.param((1, 1), "too small: 1 x 1 pixels", id="one pixel"),
        pytest.param((16, 64), "too small: 16 x 64 pixels", id="narrow"),
        pytest.param((4352, 32), "too large: 4352 x 32 pixels", id="wide"),
    ],
)
def test_absurd_sizes_are_refused_before_decoding(tmp_path: Path, size: tuple[int, int], reason: str) -> None:
    frames, problem = read(write_video(tmp_path / "a.mkv", [0], size=size, codec="mpeg4"))
    assert not frames
    assert problem.startswith(reason)


def test_a_stream_without_timestamps_counts_on_its_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.h264", steady(12)).rename(tmp_path / "a.mpg")
    frames, problem = read(path)
    assert (problem, [f.index for f in frames]) == ("", list(range(12)))
    steps = np.diff([f.timestamp_s for f in frames])
    assert (steps > 0).all()


def test_time_never_goes_back(tmp_path: Path) -> None:
    """A camera that restarts its clock in the middle of a recording: two transport streams, one behind the other."""
    first = write_video(tmp_path / "1.ts", steady(10)).read_bytes()
    second = write_video(tmp_path / "2.ts", steady(10)).read_bytes()
    (tmp_path / "a.ts").write_bytes(first + second)
    frames, problem = read(tmp_path / "a.ts")
    times = [f.timestamp_s for f in frames]
    assert problem == ""
    assert times == pytest.approx([n / 10 for n in range(20)], abs=0.1)
    assert times == sorted(times)


def test_a_telephone_held_upright_gives_upright_frames(tmp_path: Path) -> None:
    """The display matrix (0, 1, -1, 0) of ISO/IEC 14496-12 maps right to down: a quarter turn clockwise."""
    path = write_video(tmp_path / "a.mp4", steady(3))
    plain, _ = read(path)
    data = path.read_bytes()
    one, minus = (1 << 16).to_bytes(4), ((1 << 32) - (1 << 16)).to_bytes(4)
    identity = one + bytes(12) + one + bytes(12) + (1 << 30).to_bytes(4)
    turned = bytes(4) + one + bytes(4) + minus + bytes(16) + (1 << 30).to_bytes(4)
    track = data.index(b"tkhd")
    path.write_bytes(data[:track] + data[track:].replace(identity, turned, 1))
    frames, problem = read(path)
    assert problem == ""
    assert frames[0].pixels.shape == (SIZE[0], SIZE[1], 3)
    assert np.array_equal(frames[0].pixels, np.rot90(plain[0].pixels, -1))
