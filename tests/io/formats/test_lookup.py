import pytest

from pipeline.core.errors import DataError
from pipeline.core.types import Frame
from pipeline.io.formats.lookup import FrameLookup, frame_path
from pipeline.io.formats.record import Task, Timeline


def picture(source: str, frame_id: str = "", duplicate_of: str = "") -> Frame:
    folder = source.rpartition("/")[0]
    reason = "duplicate" if duplicate_of else ""
    return Frame(frame_id or source, folder, folder, 0, None, 10, 10, source, reason=reason, duplicate_of=duplicate_of)


def still(camera: str, clip: str, index: int) -> Frame:
    return Frame(f"{clip}-{index}", camera, clip, index, 0.0, 10, 10, f"{clip}.mp4")


PICTURES = [picture(s) for s in ("train/a.jpg", "val/b.jpg", "train/c.jpg", "val/c.jpg", "flat.png", "x.y/d.e.jpg")]
CLIPS = [still("lot", "lot/mon", 6), still("lot", "lot/tue", 6), still("lot", "lot/tue", 7), still("hall", "hall", 6)]


@pytest.mark.parametrize(
    ("asked", "source"),
    [
        pytest.param("train/a.jpg", "train/a.jpg", id="exact"),
        pytest.param("a.jpg", "train/a.jpg", id="name-alone"),
        pytest.param("site/set/train/a.jpg", "train/a.jpg", id="longer"),
        pytest.param("elsewhere/flat.png", "flat.png", id="flat-source"),
        pytest.param("val/c.jpg", "val/c.jpg", id="same-name-told-apart"),
        pytest.param("train/a.*", "train/a.jpg", id="any-type"),
        pytest.param("d.e.*", "x.y/d.e.jpg", id="any-type-with-dots"),
        pytest.param("other/a.jpg", None, id="another-cameras-picture-of-that-name"),
        pytest.param("rain/a.jpg", None, id="half-a-folder-name"),
        pytest.param("a.png", None, id="another-type"),
        pytest.param("A.jpg", None, id="another-case"),
        pytest.param("", None, id="empty"),
    ],
)
def test_pictures_are_found_by_path(asked: str, source: str | None) -> None:
    found = FrameLookup(PICTURES, video=False).find(Task("17", (asked,)))
    assert (found and found.source) == source


def test_an_ambiguous_path_names_the_candidates() -> None:
    with pytest.raises(DataError, match=r"task 17: 'c\.jpg' may be any of train/c\.jpg, val/c\.jpg; give more"):
        FrameLookup(PICTURES, video=False).find(Task("17", ("c.jpg",)))


def test_copies_of_one_picture_are_not_ambiguous() -> None:
    frames = [picture("a/x.jpg", "id"), picture("b/x.jpg", "id", duplicate_of="id")]
    assert FrameLookup(frames, video=False).find(Task("17", ("x.jpg",))) is frames[0]


def test_a_missing_picture_names_its_namesakes_and_the_ways_out() -> None:
    message = FrameLookup(PICTURES, video=False).missing(Task("17", ("other/a.jpg",)))
    assert message.startswith("task 17: no frame of this data set is 'other/a.jpg' (of that name there is train/a.jpg)")
    assert "annotate.missing_frame=count" in message


@pytest.mark.parametrize(
    ("task", "frame_id"),
    [
        pytest.param(Task("1", camera="hall", frame_index=6), "hall-6", id="camera-and-index"),
        pytest.param(Task("1", clip="lot/tue", frame_index=6), "lot/tue-6", id="clip-and-index"),
        pytest.param(Task("1", camera="lot", frame_index=7), "lot/tue-7", id="only-one-clip-is-as-long"),
        pytest.param(Task("1", ("hall/frame_000006.jpg",)), "hall-6", id="path"),
        pytest.param(Task("1", ("tue/frame_000007.jpg",)), "lot/tue-7", id="end-of-the-path"),
        pytest.param(
            Task("1", ("lot/mon/frame_000006.jpg",), camera="lot", frame_index=6),
            "lot/mon-6",
            id="path-tells-clips-apart",
        ),
        pytest.param(Task("1", camera="hall", frame_index=5), None, id="not-sampled"),
        pytest.param(Task("1", camera="roof", frame_index=6), None, id="no-such-camera"),
        pytest.param(Task("1", ("hall/frame_6.jpg",)), None, id="another-way-to-write-it"),
        pytest.param(Task("1"), None, id="nothing-said"),
    ],
)
def test_video_frames_are_found_by_index_or_path(task: Task, frame_id: str | None) -> None:
    found = FrameLookup(CLIPS, video=True).find(task)
    assert (found and found.frame_id) == frame_id


def test_a_camera_with_several_clips_needs_the_clip() -> None:
    with pytest.raises(DataError, match=r"frame 6 of 'lot' may be any of lot/mon/frame_000006\.jpg, lot/tue"):
        FrameLookup(CLIPS, video=True).find(Task("1", camera="lot", frame_index=6))


def test_an_index_says_nothing_about_a_folder_of_pictures() -> None:
    assert FrameLookup(PICTURES, video=False).find(Task("1", camera="train", frame_index=0)) is None


@pytest.mark.parametrize(
    ("task", "frame_id"),
    [
        pytest.param(Task("1", frame_id="hall-6"), "hall-6", id="known"),
        pytest.param(Task("1", frame_id="hall-6", clip="lot/tue", frame_index=7), "hall-6", id="goes-before-the-place"),
        pytest.param(Task("1", frame_id="gone", clip="lot/tue", frame_index=7), "lot/tue-7", id="else-the-place"),
        pytest.param(Task("1", ("hall/frame_000006.jpg",), frame_id="gone"), "hall-6", id="else-the-path"),
        pytest.param(Task("1", frame_id="gone"), None, id="unknown"),
    ],
)
def test_a_frames_id_goes_before_all_else(task: Task, frame_id: str | None) -> None:
    found = FrameLookup(CLIPS, video=True).find(task)
    assert (found and found.frame_id) == frame_id


def test_of_two_rows_with_one_id_the_usable_one_is_meant() -> None:
    frames = [picture("a/x.jpg", "id", duplicate_of="id"), picture("b/x.jpg", "id")]
    assert FrameLookup(frames, video=False).find(Task("17", frame_id="id")) is frames[1]


@pytest.mark.parametrize(
    ("task", "frames"),
    [
        pytest.param(Task("1", clip="lot/tue"), ["lot/tue-6", "lot/tue-7"], id="name"),
        pytest.param(Task("1", ("tue.webm",)), ["lot/tue-6", "lot/tue-7"], id="end-of-the-path-whatever-the-suffix"),
        pytest.param(Task("1", ("site/hall.mp4",)), ["hall-6"], id="longer-path"),
        pytest.param(Task("1", ("hall.mp4",), clip="lot/mon"), ["lot/mon-6"], id="name-goes-before-the-path"),
        pytest.param(Task("1", ("hall.mp4",), clip="gone"), ["hall-6"], id="else-the-path"),
        pytest.param(Task("1", ("other/tue.mp4",)), [], id="another-folder"),
        pytest.param(Task("1", (".", "")), [], id="no-path"),
        pytest.param(Task("1", clip="gone"), [], id="unknown"),
    ],
)
def test_clips_are_found_by_name_or_path(task: Task, frames: list[str]) -> None:
    broken = Frame("", "lot", "lot/tue", -1, None, 0, 0, "lot/tue.mp4", reason="broken video")
    found = FrameLookup([broken, *reversed(CLIPS)], video=True).clip(task)
    assert [frame.frame_id for frame in found] == frames


def test_an_ambiguous_clip_names_the_candidates() -> None:
    frames = [still("a", "a/x", 0), still("b", "b/x", 0)]
    with pytest.raises(
        DataError, match=r"task 17: 'x\.mp4' may be any of a/x, b/x; give more of the path, or the clip"
    ):
        FrameLookup(frames, video=True).clip(Task("17", ("x.mp4",)))


def test_a_missing_clip_is_named() -> None:
    message = FrameLookup(CLIPS, video=True).missing(Task("17", clip="gone", timeline=Timeline()))
    assert message.startswith("task 17: no frame of this data set is 'gone'; ingest it")


def test_pictures_make_no_clip() -> None:
    assert FrameLookup(PICTURES, video=False).clip(Task("1", clip="train")) == []


def test_frame_path() -> None:
    assert frame_path(CLIPS[0], video=True) == "lot/mon/frame_000006.jpg"
    assert frame_path(PICTURES[0], video=False) == "train/a.jpg"
