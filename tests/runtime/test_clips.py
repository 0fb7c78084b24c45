"""Clips: what was written is what any player reads, byte for byte the same each time, and whole or not at all."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.clips import from_jpeg, to_jpeg, write_clip, write_still, write_timed_clip

Image = NDArray[np.uint8]
RED, GREEN = (200, 30, 40), (10, 220, 90)


def moving(count: int, width: int, height: int) -> Iterator[Image]:
    """A green square that wanders over red."""
    for index in range(count):
        picture = np.full((height, width, 3), RED, np.uint8)
        picture[height // 4 : height // 2, index : index + width // 4] = GREEN
        yield picture


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("width", "height"), [(64, 48), (131, 97), (2, 2), (1, 1)])
def test_a_clip_plays_with_the_pictures_and_the_rate_that_were_given(tmp_path: Path, width: int, height: int) -> None:
    write_clip(tmp_path / "a.mp4", moving(10, width, height), 12.5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (width + width % 2, height + height % 2)
        frames = [(f.time, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
        assert container.duration == pytest.approx(0.8 * av.time_base)
    assert [seconds for seconds, _ in frames] == pytest.approx([index / 12.5 for index in range(10)])
    for (_, found), given in zip(frames, moving(10, width, height), strict=True):
        assert np.abs(found[:height, :width].astype(int) - given).mean() < 12  # colours survive: the space is tagged


def test_opencv_reads_the_same_clip(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", moving(10, 64, 48), 25)
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    assert capture.get(cv2.CAP_PROP_FPS) == 25
    capture.release()


def test_the_index_comes_first_so_that_a_browser_can_start_at_once(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", moving(10, 64, 48), 25)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


@pytest.mark.parametrize(("width", "height"), [(131, 97), (480, 270)])
def test_the_same_pictures_give_the_same_bytes_in_every_process(tmp_path: Path, width: int, height: int) -> None:
    here = set()
    for index in range(8):
        write_clip(tmp_path / "a.mp4", moving(24, width, height), 12.5)
        np.full(width * height * (index + 1), index, np.uint8).copy()  # leave the memory in another state
        here.add(digest(tmp_path / "a.mp4"))
    code = (
        "import sys; from pathlib import Path; from tests.runtime.test_clips import moving;"
        "from pipeline.runtime.clips import write_clip;"
        f"write_clip(Path(sys.argv[1]), moving(24, {width}, {height}), 12.5)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b.mp4")], cwd=root, check=True)
    assert here == {digest(tmp_path / "b.mp4")}


def test_pictures_keep_their_times_and_never_step_back(tmp_path: Path) -> None:
    times = [7.0, 7.1, 7.1, 7.05, 9.0]
    write_timed_clip(tmp_path / "a.mp4", zip(times, moving(5, 64, 48), strict=True), 10)
    with av.open(str(tmp_path / "a.mp4")) as container:
        found = [f.time for f in container.decode(video=0)]
    assert found == pytest.approx([0.0, 0.1, 0.1, 0.1, 2.0], abs=0.001)
    assert found == sorted(set(found))


def test_a_picture_of_another_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", [*moving(2, 64, 48), *moving(2, 128, 96)], 10)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    assert np.abs(frames[0].astype(int) - frames[2]).mean() < 6


@pytest.mark.parametrize(
    ("frames", "fps", "said"),
    [
        pytest.param([], 10, "at least one picture", id="none"),
        pytest.param([np.zeros((4, 4), np.uint8)], 10, "expected pictures", id="grey"),
        pytest.param([np.zeros((4, 4, 3), np.float32)], 10, "float32", id="floats"),
        pytest.param([np.zeros((4, 4, 3), np.uint8)], 0, "frame rate", id="no rate"),
        pytest.param([np.zeros((4, 4, 3), np.uint8)], float("nan"), "frame rate", id="rate is no number"),
    ],
)
def test_what_makes_no_clip_is_refused_and_leaves_no_file(
    tmp_path: Path, frames: list[Image], fps: float, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        write_clip(tmp_path / "a.mp4", frames, fps)
    assert not list(tmp_path.iterdir())


def test_a_clip_that_breaks_off_leaves_the_old_one(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", moving(3, 64, 48), 10)
    before = digest(tmp_path / "a.mp4")

    def broken() -> Iterator[Image]:
        yield from moving(3, 64, 48)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_clip(tmp_path / "a.mp4", broken(), 10)
    assert digest(tmp_path / "a.mp4") == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_still_is_a_jpeg_of_the_same_colours(tmp_path: Path) -> None:
    picture = next(moving(1, 64, 48))
    write_still(tmp_path / "a.jpg", picture)
    read = cv2.imread(str(tmp_path / "a.jpg"))
    assert read is not None
    found = read[..., ::-1]
    assert np.abs(found.astype(int) - picture).mean() < 3
    assert np.array_equal(from_jpeg(to_jpeg(picture)), found)
