"""Label Studio's exports through the annotate stage: clips, pictures on their side, tasks of our own."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from PIL.Image import Transpose

from pipeline.annotate import Labelled, label, main, read_tasks
from pipeline.core.errors import DataError
from pipeline.core.params import AnnotateParams, DataParams, IngestParams
from pipeline.core.types import Annotation, Frame
from pipeline.ingest import ingest
from pipeline.io.images import ORIENTATION, decode
from pipeline.io.placement import Tally
from pipeline.io.shards import ShardReader
from pipeline.io.tables import read_annotations, read_frames, read_labelled

ROOT = Path(__file__).parents[1]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def data_params(**more: Any) -> DataParams:
    return DataParams.parse("data", {**PARAMS["data"], **more})


def annotate_params(**more: Any) -> AnnotateParams:
    return AnnotateParams.parse("annotate", {**PARAMS["annotate"], **more})


def rectangle(**more: Any) -> dict[str, Any]:
    value = {"x": 25.0, "y": 25.0, "width": 25.0, "height": 50.0, "rotation": 0, "rectanglelabels": ["person"]}
    return {"id": "r", "type": "rectanglelabels", "from_name": "label", "value": value | more.pop("value", {}), **more}


def task(*results: Any, number: Any = 17, **data: Any) -> dict[str, Any]:
    return {"id": number, "data": data, "annotations": [{"id": 1, "completed_by": 1, "result": list(results)}]}


def boxes(annotations: list[Annotation]) -> list[tuple[float, ...]]:
    return [(a.x, a.y, a.width, a.height) for a in annotations]


# Upright pictures on their side -------------------------------------------------------------------------------------

# What turns the upright picture into the one that is stored, per EXIF orientation.
STORED = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}
BRIGHT = (24, 16, 24, 32)  # the object in the upright picture of 96 x 64: 25 % from left and top, 25 % wide, 50 % high


def write_picture(path: Path, orientation: int) -> tuple[int, int]:
    """A dark picture with a bright object, stored so that the tag brings it upright; its size as stored."""
    pixels = np.random.default_rng(0).integers(20, 60, (64, 96), np.uint8)
    x, y, width, height = BRIGHT
    pixels[y : y + height, x : x + width] = 250
    upright = Image.fromarray(pixels).convert("RGB")
    how = STORED[orientation]
    stored = upright if how is None else upright.transpose(how)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(path, quality=95, exif=exif)
    return stored.size


def annotated(folder: Path, size: tuple[int, int], **policies: Any) -> list[Annotation]:
    """The boxes of one picture below `folder`/in, through ingest and annotate as they run."""
    ingest(folder / "in", folder / "frames", IngestParams.parse("ingest", PARAMS["ingest"]), is_video=False, workers=1)
    result = rectangle(original_width=size[0], original_height=size[1])
    (folder / "export.json").write_text(json.dumps([task(result, image="/data/upload/1/1a2b3c4d-a.jpg")]))
    data = {**PARAMS["data"], "format": "images", "labels": {"format": "label_studio", "path": "export.json"}}
    params = {"data": data, "annotate": {**PARAMS["annotate"], **policies}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    main(["--labels", "export.json", "--frames", "frames", "--out", "out"])
    return list(read_annotations(folder / "out" / "annotations.parquet"))


@pytest.mark.parametrize("told", [pytest.param("upright", id="of-today"), pytest.param("stored", id="of-old")])
@pytest.mark.parametrize("orientation", sorted(STORED))
def test_boxes_lie_on_the_object_whatever_the_exif_orientation(
    orientation: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    stored = write_picture(tmp_path / "in" / "a.jpg", orientation)
    assert stored == ((64, 96) if orientation >= 5 else (96, 64))
    found = annotated(tmp_path, stored if told == "stored" else (96, 64))
    assert boxes(found) == [BRIGHT]
    (frame,) = read_frames(tmp_path / "frames" / "frames.parquet")
    with ShardReader(tmp_path / "frames") as shards:
        pixels = decode(shards.read(frame))
    x, y, width, height = BRIGHT
    inside = pixels[y : y + height, x : x + width]
    assert inside.mean() > 240
    assert (pixels.sum(dtype=np.float64) - inside.sum(dtype=np.float64)) / (pixels.size - inside.size) < 60


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_a_size_on_its_side_is_another_picture_where_no_tag_says_so(
    orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in" / "a.jpg", orientation)
    with pytest.raises(DataError, match="task 17 was annotated on a picture of 64x96, but its frame has 96x64 upright"):
        annotated(tmp_path, (64, 96))


# Whole clips --------------------------------------------------------------------------------------------------------

FRAMES = [Frame(f"{clip}{i}", clip, clip, i, i / 25, 200, 100, f"site/{clip}.mp4") for clip in "ab" for i in range(12)]


def key(frame: int, x: float, *, enabled: bool = True) -> dict[str, Any]:
    return {"frame": frame, "x": x, "y": 20, "width": 10, "height": 50, "rotation": 0, "enabled": enabled}


def track(*sequence: dict[str, Any], name: str = "v", **more: Any) -> dict[str, Any]:
    value = {"sequence": list(sequence), "framesCount": 12, "duration": 0.48, "labels": ["person"], **more}
    return {"id": name, "type": "videorectangle", "from_name": "box", "value": value}


def labelled(
    docs: list[dict[str, Any]], folder: Path, frames: list[Frame] | None = None, **policies: Any
) -> tuple[list[Labelled], Tally]:
    (folder / "export.json").write_text(json.dumps(docs))
    data, p = data_params(), annotate_params(**policies)
    return label(read_tasks(folder / "export.json", data, p), frames or FRAMES, data, p)


def test_a_clip_labels_its_frames(tmp_path: Path) -> None:
    # seen in Label Studio's frames 3..5 (left edge 10, 15, 20 %), hidden after 5, seen again from 9 on
    walker = track(key(3, 10), key(5, 20, enabled=False), key(9, 50), framesCount=10)
    found, tally = labelled([task(walker, video="/data/upload/1/1a2b3c4d-a.mp4")], tmp_path)
    assert [item.frame.frame_id for item in found] == [f"a{i}" for i in range(10)]  # two frames were not shown
    assert [item.task.id for item in found] == [f"17#{i + 1}" for i in range(10)]
    places = {item.frame.index: boxes(list(item.annotations)) for item in found if item.annotations}
    assert places == {
        2: [(20, 20, 20, 50)],
        3: [(30, 20, 20, 50)],
        4: [(40, 20, 20, 50)],
        8: [(100, 20, 20, 50)],
        9: [(100, 20, 20, 50)],
    }
    assert {a.track_id for item in found for a in item.annotations} == {"v"}
    assert all(item.annotators == ("1",) for item in found)
    assert not tally.left_out


def test_frames_that_were_not_ingested_go_silently(tmp_path: Path) -> None:
    found, tally = labelled([task(track(key(1, 10)), video="a.mp4")], tmp_path, [f for f in FRAMES if f.index % 5 == 0])
    assert [item.frame.frame_id for item in found] == ["a0", "a5", "a10"]
    assert not tally.left_out


@pytest.mark.parametrize(
    ("data", "clip"),
    [
        pytest.param({"video": "a.mp4"}, "a", id="name"),
        pytest.param({"video": "https://host.example/site/b.webm?token=1"}, "b", id="converted"),
        pytest.param({"video": "/data/local-files/?d=videos/site/b.mp4"}, "b", id="longer"),
        pytest.param({"video": "a.mp4", "clip": "b"}, "b", id="explicit-clip-wins"),
        pytest.param({"clip": "b"}, "b", id="clip-alone"),
        pytest.param({"video": "c.mp4"}, None, id="unknown"),
        pytest.param({"video": "other/a.mp4"}, None, id="another-folder"),
        pytest.param({}, None, id="nothing-said"),
    ],
)
def test_which_clip_is_meant(data: dict[str, str], clip: str | None, tmp_path: Path) -> None:
    found, tally = labelled([task(track(key(1, 10)), **data)], tmp_path, missing_frame="count")
    assert {item.frame.clip for item in found} == ({clip} if clip else set())
    assert tally.left_out == ({} if clip else {"no such frame": 1})


def test_an_unknown_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"task 17: no frame of this data set is 'c\.mp4'.*missing_frame=count"):
        labelled([task(track(key(1, 10)), video="c.mp4")], tmp_path)


def test_a_clip_of_pictures_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(json.dumps([task(track(key(1, 10)), clip="a")]))
    data, p = data_params(format="images"), annotate_params(missing_frame="count")
    found, tally = label(read_tasks(tmp_path / "export.json", data, p), FRAMES, data, p)
    assert not found
    assert tally.left_out == {"no such frame": 1}


def test_several_clips_of_one_name_are_ambiguous(tmp_path: Path) -> None:
    frames = [Frame(f"{c}", c, f"{c}/x", 0, 0.0, 200, 100, f"{c}/x.mp4") for c in "ab"]
    with pytest.raises(DataError, match=r"task 17: 'x\.mp4' may be any of a/x, b/x; give more of the path"):
        labelled([task(track(key(1, 10)), video="x.mp4")], tmp_path, frames)


def test_what_a_clips_task_leaves_out_is_counted_once(tmp_path: Path) -> None:
    doc = task({"type": "timelinelabels", "value": {}}, track(key(1, 10)), video="a.mp4")
    waiting = {"id": 18, "data": {"video": "b.mp4"}, "annotations": [], "predictions": [1]}
    _, tally = labelled([doc, waiting], tmp_path)
    assert tally.left_out == {"timelinelabels": 1, "task without annotation": 1, "prediction": 1}
    assert tally.examples == {"timelinelabels": ["17"], "task without annotation": ["18"], "prediction": ["18"]}


def test_a_clip_without_an_object_is_labelled_empty(tmp_path: Path) -> None:
    found, _ = labelled([task(video="a.mp4")], tmp_path)
    assert [item.frame.frame_id for item in found] == [f"a{i}" for i in range(12)]
    assert not any(item.annotations for item in found)


def test_two_annotators_of_a_clip(tmp_path: Path) -> None:
    doc = task(track(key(1, 10)), video="a.mp4")
    doc["annotations"].append({"id": 2, "completed_by": 2, "result": [track(key(1, 12), name="w")]})
    found, _ = labelled([doc], tmp_path)
    assert len(found) == 12
    assert boxes(list(found[0].annotations)) == [(22, 20, 20, 50)]  # the mean of 20 and 24 pixels
    assert found[0].agreement is not None
    assert found[0].agreement.f1 == 1
    assert found[0].annotations[0].track_id == "v"  # of the earliest annotator


def test_a_clip_and_a_picture_of_it_are_the_same_frame(tmp_path: Path) -> None:
    docs = [task(track(key(1, 10)), video="a.mp4"), task(number=18, image="a.jpg", clip="a", frame_index=3)]
    with pytest.raises(DataError, match="tasks 17#4 and 18 are the same frame"):
        labelled(docs, tmp_path)


def test_an_unknown_label_of_a_track_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"task 17 has label 'van', which data\.classes does not name"):
        labelled([task(track(key(1, 10), labels=["van"]), video="a.mp4")], tmp_path)


def test_a_wrong_frame_rate_is_refused(tmp_path: Path) -> None:
    frames = [Frame(str(i), "a", "a", i, i / 25, 200, 100, "a.mp4") for i in range(250)]
    doc = task(track(key(1, 10), framesCount=240, duration=10.0), video="a.mp4")
    with pytest.raises(
        DataError, match="task 17: its frame numbers and those of clip a are 10 apart at the end; set frameRate"
    ):
        labelled([doc], tmp_path, frames)
    found, tally = labelled([doc], tmp_path, frames, missing_frame="count")
    assert not found
    assert tally.left_out == {"clip of another frame rate": 1}


def test_a_clip_that_was_ingested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    video = cv2.VideoWriter("in/lot_a.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 64))
    rng = np.random.default_rng(0)
    for _ in range(10):
        video.write(rng.integers(0, 256, (64, 64, 3), np.uint8))
    video.release()
    settings = {**PARAMS["ingest"], "sampling": {**PARAMS["ingest"]["sampling"], "mode": "fps", "fps": 12.5}}
    ingest(tmp_path / "in", tmp_path / "frames", IngestParams.parse("ingest", settings), is_video=True, workers=1)
    doc = task(track(key(1, 0), key(10, 90), framesCount=10, duration=0.4), video="/data/upload/1/1a2b3c4d-lot_a.mp4")
    Path("export.json").write_text(json.dumps([doc]))
    Path("params.yaml").write_text(yaml.safe_dump({"data": PARAMS["data"], "annotate": PARAMS["annotate"]}))
    main(["--labels", "export.json", "--frames", "frames", "--out", "out"])
    # every second frame was taken: Label Studio's 1, 3, 5, 7, 9, ten percent of 64 pixels apart
    assert [a.x for a in read_annotations(Path("out/annotations.parquet"))] == [0, 12.8, 25.6, 38.4, 51.2]
    assert [f.task for f in read_labelled(Path("out/labelled.parquet"))] == ["17#1", "17#3", "17#5", "17#7", "17#9"]


# Tasks of our own, and shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "frame_id"),
    [
        pytest.param({"frame_id": "b3", "clip": "a", "frame_index": 5}, "b3", id="id-goes-first"),
        pytest.param({"frame_id": "gone", "clip": "a", "frame_index": 5}, "a5", id="else-clip-and-index"),
        pytest.param({"frame_id": "gone", "image": "a/frame_000007.jpg"}, "a7", id="else-the-picture"),
    ],
)
def test_a_task_of_our_own_finds_its_frame(data: dict[str, Any], frame_id: str, tmp_path: Path) -> None:
    found, _ = labelled([task(rectangle(), **{"image": "x.jpg", **data})], tmp_path)
    assert [item.frame.frame_id for item in found] == [frame_id]


def test_a_turned_box_needs_no_size_of_the_picture(tmp_path: Path) -> None:
    # 50 x 50 pixels at (50, 25) of 200 x 100; a quarter turn clockwise lays it to the left
    turned = rectangle(value={"rotation": 90})
    found, _ = labelled([task(turned, image="a/frame_000001.jpg")], tmp_path)
    assert boxes(list(found[0].annotations)) == [(0, 25, 50, 50)]
    assert found[0].annotations[0].attributes == {"rotation": "90"}


POLYGON = {
    "id": "p",
    "type": "polygonlabels",
    "value": {"points": [[10, 40], [30, 20], [50, 60]], "polygonlabels": ["person"]},
}


def test_a_frame_with_nothing_but_other_shapes_is_not_empty(tmp_path: Path) -> None:
    found, tally = labelled([task(POLYGON, image="a/frame_000001.jpg")], tmp_path)
    assert not found
    assert tally.left_out == {"polygonlabels": 1, "annotation without a box": 1, "task without annotation": 1}


def test_polygons_become_boxes_where_that_is_asked_for(tmp_path: Path) -> None:
    found, tally = labelled([task(POLYGON, image="a/frame_000001.jpg")], tmp_path, polygons="boxes")
    assert boxes(list(found[0].annotations)) == [(20, 20, 80, 40)]
    assert not tally.left_out
