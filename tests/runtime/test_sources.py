import threading
import time
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.core.params import SamplingParams, UsableParams
from pipeline.runtime.frames import Gap, LazyFrame, Source, Ticks
from pipeline.runtime.sources import open_source
from pipeline.runtime.video import Clip, read_video
from tests.videos import SIZE, cut, picture, steady, write_sound, write_video

ALL = SamplingParams(mode="all", fps=2.0, jpeg_quality=95)
LIMITS = UsableParams(min_side=1, max_side=4096, max_megapixels=16.0, min_luminance=0.0, min_sharpness=0.0)


def read(source: Source) -> tuple[list[LazyFrame], str]:
    """All frames, and what the source complained of at the end."""
    frames = []
    try:
        for frame in source.frames():
            frames.append(frame)  # noqa: PERF402 - what came before the complaint counts
    except DataError as error:
        return frames, str(error)
    return frames, ""


def write_pictures(folder: Path, *names: str) -> None:
    for n, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(cv2.imencode(Path(name).suffix, picture(n)[..., ::-1])[1].tobytes())


def times(frames: list[LazyFrame]) -> list[float]:
    return [frame.timestamp_s for frame in frames]


def test_a_file_gives_what_ingest_reads_of_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [0, 100, 150, 400, 500])
    frames, problem = read(open_source(str(path)))
    assert problem == ""
    for frame, known in zip(frames, read_video(path, ALL, LIMITS), strict=True):
        assert (frame.index, frame.timestamp_s) == (known.index, known.timestamp_s)
        assert np.array_equal(frame.rgb(), known.pixels)


def test_a_file_is_not_live_and_goes_by_its_name(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(1))
    source = open_source(str(path))
    assert (source.name, source.live) == (str(path), False)


def test_fewer_frames_are_taken_where_fewer_are_asked_for(tmp_path: Path) -> None:
    frames, _ = read(open_source(str(write_video(tmp_path / "a.mp4", steady(21))), fps=2))
    assert [frame.index for frame in frames] == [0, 5, 10, 15, 20]


def test_a_folder_is_read_by_name_on_one_clock(tmp_path: Path) -> None:
    write_video(tmp_path / "b.mp4", steady(3))
    (tmp_path / "c").mkdir()
    write_video(tmp_path / "c" / "a.mkv", steady(2))
    write_pictures(tmp_path, "a%02d.png", "d.bmp")
    (tmp_path / "notes.txt").write_text("no video")
    frames, problem = read(open_source(str(tmp_path)))
    assert problem == ""
    assert times(frames) == pytest.approx([0, 1, 1.1, 1.2, 1.3, 1.4, 1.5])
    assert [frame.index for frame in frames] == list(range(7))
    assert np.array_equal(frames[0].rgb(), picture(0))
    assert np.array_equal(frames[-1].rgb(), picture(1))


def test_pictures_come_at_the_rate_asked_for(tmp_path: Path) -> None:
    write_pictures(tmp_path, "a.png", "b.png", "c.png")
    frames, _ = read(open_source(str(tmp_path), fps=4))
    assert times(frames) == pytest.approx([0, 0.25, 0.5])


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_a_photograph_is_upright(tmp_path: Path, orientation: int, turns: int) -> None:
    """Exif 2.32, 4.6.4: 6 is a camera held with its right side down."""
    plain = cv2.imencode(".jpg", picture(0)[..., ::-1])[1].tobytes()
    tag = b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation, 0, 0, 0])
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + tag + bytes(4)
    (tmp_path / "a.jpg").write_bytes(plain)
    (tmp_path / "b.jpg").write_bytes(plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + plain[2:])
    (lying, upright), problem = read(open_source(str(tmp_path)))
    assert problem == ""
    assert np.array_equal(upright.rgb(), np.rot90(lying.rgb(), turns))


def test_a_loop_goes_on_in_time_and_number(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "a.mp4", steady(4))), loop=True)
    frames = list(islice(source.frames(), 10))
    assert times(frames) == pytest.approx([n / 10 for n in range(10)])
    assert [frame.index for frame in frames] == list(range(10))
    assert np.array_equal(frames[1].rgb(), frames[9].rgb())


def test_a_loop_of_nothing_ends(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    frames, problem = read(open_source(str(tmp_path), loop=True))
    assert not frames
    assert "broken video: cannot be read" in problem


def test_paced_frames_come_when_a_camera_would_give_them(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "a.mp4", steady(6))), paced=True)
    began = time.monotonic()
    early = [frame.timestamp_s - (time.monotonic() - began) for frame in source.frames()]
    assert len(early) == 6
    assert max(early) < 0.01


def test_closing_ends_a_wait(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "a.mkv", [0, 60_000])), paced=True)
    seen: list[LazyFrame] = []
    thread = threading.Thread(target=lambda: seen.extend(source.frames()))
    thread.start()
    source.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(seen) <= 1


def test_a_broken_file_in_a_folder_costs_its_own_frames_only(tmp_path: Path) -> None:
    write_pictures(tmp_path, "a.png", "b.jpg", "c.png")
    cut(tmp_path / "b.jpg", 0.02)
    (tmp_path / "d.jpg").write_bytes(b"")
    gaps: list[Gap] = []
    frames, problem = read(open_source(str(tmp_path), on_gap=gaps.append))
    assert [np.array_equal(frame.rgb(), picture(n)) for frame, n in zip(frames, (0, 2), strict=True)] == [True, True]
    assert problem.startswith(f"2 of 4 files are broken: {tmp_path / 'b.jpg'}: ")
    assert [gap.reason.partition(": ")[0] for gap in gaps] == [str(tmp_path / "b.jpg"), str(tmp_path / "d.jpg")]
    assert gaps[1].reason.endswith("empty file: 0 bytes")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_file_that_breaks_off_gives_its_good_frames_then_says_so(tmp_path: Path, name: str) -> None:
    path = cut(
        write_video(
            tmp_path / name,
            steady(40),
            codec="mpeg4" if name == "a.avi" else "libx264",
            options={"movflags": "faststart"} if name == "a.mp4" else None,
        )
    )
    frames, problem = read(open_source(str(path)))
    assert 10 < len(frames) < 21
    assert problem.startswith(f"{path}: broken video: breaks off after ")


def test_a_new_size_in_mid_stream_goes_on(tmp_path: Path) -> None:
    small = write_video(tmp_path / "1.ts", steady(10)).read_bytes()
    large = write_video(tmp_path / "2.ts", steady(10), size=(160, 128)).read_bytes()
    (tmp_path / "a.ts").write_bytes(small + large)
    frames, problem = read(open_source(str(tmp_path / "a.ts")))
    assert problem == ""
    assert [frame.size for frame in frames] == [SIZE] * 10 + [(160, 128)] * 10
    assert [frame.luma(80).shape for frame in frames[9:11]] == [(53, 80), (64, 80)]
    assert all(a <= b for a, b in pairwise(times(frames)))


def write_zero_rate(path: Path) -> Path:
    """An AVI whose headers say 0 frames in 0 seconds: `strh` counts scale and rate, `avih` microseconds a frame."""
    data = bytearray(write_video(path, steady(5), codec="mpeg4").read_bytes())
    stream = data.index(b"strh") + 8
    data[stream + 20 : stream + 28] = bytes(8)
    main = data.index(b"avih") + 8
    data[main : main + 4] = bytes(4)
    path.write_bytes(bytes(data))
    return path


def test_a_rate_of_zero_neither_hangs_nor_crashes(tmp_path: Path) -> None:
    frames, problem = read(open_source(str(write_zero_rate(tmp_path / "a.avi"))))
    assert len(frames) == 5 or problem
    assert all(a <= b for a, b in pairwise(times(frames)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty file: 0 bytes", id="empty"),
        pytest.param(b"once upon a time\n" * 100, "broken video: cannot be read: ", id="text"),
        pytest.param(b"ffconcat version 1.0\nfile secret.mp4\n", "broken video: cannot be read: ", id="playlist"),
        pytest.param(b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n", "broken video: cannot be read: ", id="hls playlist"),
        pytest.param(b"v=0\nm=video 5004 RTP/AVP 96\n", "broken video: cannot be read: ", id="sdp"),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.jpg", "a.m3u8"])
def test_what_is_no_video_says_so(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    write_video(tmp_path / "secret.mp4", steady(3))
    (tmp_path / name).write_bytes(content)
    frames, problem = read(open_source(str(tmp_path / name)))
    assert not frames
    picture = name == "a.jpg" and content
    assert problem.startswith(f"{tmp_path / name}: {'broken picture: no size' if picture else reason}")


def test_sound_without_a_picture_says_so(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mp4")
    assert read(open_source(str(path))) == ([], f"{path}: no video: the file holds other streams only")


def test_one_pixel_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", [0], size=(1, 1), codec="mpeg4")
    assert read(open_source(str(path))) == ([], f"{path}: too small: 1 x 1 pixels, a side is below 16")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("nowhere.mp4", "nowhere.mp4 does not exist; ", id="no file"),
        pytest.param("http://ann:s3cret@cam/video", "http://cam/video cannot be watched; give rtsp://", id="http"),
        pytest.param("concat:a.mp4|b.mp4", "concat:a.mp4|b.mp4 does not exist; ", id="a protocol of FFmpeg"),
    ],
)
def test_what_cannot_be_opened_says_so(text: str, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        open_source(text)
    assert str(caught.value).startswith(reason)


def test_a_folder_without_video_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(DataError, match=r"holds no video and no picture; known are .*\.mp4"):
        open_source(str(tmp_path))


def test_garbage_in_every_place_ends_in_frames_or_words(tmp_path: Path) -> None:
    """Bytes changed at random: what comes of it is frames and a message, never a crash."""
    data = write_video(tmp_path / "a.mp4", steady(30), options={"movflags": "faststart"}).read_bytes()
    chance = np.random.default_rng(7)
    outcomes = set()
    for _ in range(40):
        bad = np.frombuffer(data, np.uint8).copy()
        bad[chance.integers(0, len(bad), 20)] = chance.integers(0, 256, 20)
        bad[chance.integers(0, 3000, 3)] = chance.integers(0, 256, 3)
        (tmp_path / "bad.mp4").write_bytes(bad.tobytes())
        frames, problem = read(open_source(str(tmp_path / "bad.mp4")))
        assert len(frames) <= 30
        outcomes.add((bool(frames), bool(problem)))
    assert (True, True) in outcomes


def test_the_first_frame_needs_no_whole_file(tmp_path: Path) -> None:
    """Frames stream: a reader that stops early leaves the rest undecoded, and the file can be removed."""
    path = write_video(tmp_path / "a.mp4", steady(30))
    first = next(open_source(str(path)).frames())
    path.unlink()
    assert isinstance(first.picture, av.VideoFrame)
    assert first.rgb().shape == (SIZE[1], SIZE[0], 3)


@pytest.mark.parametrize("clip", ["lobby", "aisle", "lot_a"])  # the first two have frames on which no other builds
def test_a_sampled_file_gives_the_frames_that_all_of_it_would_give(clip: str) -> None:
    path = str(Path(__file__).parents[2] / f"data/demo/clips/{clip}.mp4")
    every = {it.index: it for it in islice(open_source(path).frames(), 200)}
    sampled = [it for it in open_source(path, fps=5).frames() if it.index in every]
    ticks = Ticks(5)
    assert [it.index for it in sampled] == [index for index, it in every.items() if ticks.due(it.timestamp_s)]
    for it in sampled:
        assert it.timestamp_s == every[it.index].timestamp_s
        assert np.array_equal(it.luma(160), every[it.index].luma(160))


def test_of_a_sampled_file_frames_on_which_no_other_builds_are_not_decoded() -> None:
    path = Path(__file__).parents[2] / "data/demo/clips/lobby.mp4"  # of ten frames six have none that builds on them
    clip = SamplingParams(mode="fps", fps=5.0, jpeg_quality=95)
    with av.open(str(path)) as container:
        assert sum(1 for _ in Clip(container, clip, LIMITS, sparing=True).whole()) < 1100  # of 1394


def test_a_file_with_few_frames_to_spare_keeps_all_that_are_asked_for(tmp_path: Path) -> None:
    frames, _ = read(open_source(str(write_video(tmp_path / "a.mkv", steady(40))), fps=6))
    assert times(frames)[:4] == [0.0, 0.2, 0.4, 0.5]  # the first at or after each sixth of a second
