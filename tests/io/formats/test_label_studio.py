import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DataError
from pipeline.core.types import Origin
from pipeline.io.formats.label_studio import from_label_studio, read_label_studio, to_label_studio, write_label_studio
from pipeline.io.formats.record import Keyframe, Region, Task, Timeline, Track, Version, pixels

SAMPLES = Path(__file__).parents[2] / "data" / "labelstudio"
BOX = {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0}


def rectangle(value: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    inside = {**BOX, "rotation": 0, "rectanglelabels": ["person"], **(value or {})}
    size = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    return {"id": "r", "type": "rectanglelabels", "from_name": "label", "value": inside, **size, **more}


def choice(name: str, *chosen: str, of: str = "r") -> dict[str, Any]:
    return {"id": of, "type": "choices", "from_name": name, "value": {"choices": list(chosen)}}


def annotation(*results: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "completed_by": 1, "result": list(results), **more}


def task(*annotations: Any, image: str | None = "a.jpg", **more: Any) -> dict[str, Any]:
    return {"id": 17, "annotations": list(annotations), "data": {"image": image}, **more}


def only(doc: dict[str, Any]) -> Task:
    (found,) = from_label_studio([doc])
    return found


def test_percent_become_fractions_and_choices_attributes() -> None:
    found = only(task(annotation(rectangle(), choice("brightness", "dark"), choice("parts", "head", "feet"))))
    assert found.id == "17"
    assert found.size == (200, 100)
    expected = Region("person", 0.1, 0.2, 0.3, 0.4, attributes={"brightness": "dark", "parts": "head|feet"})
    assert found.versions == (Version((replace(expected, origin=Origin.HUMAN),), "1"),)


@pytest.mark.parametrize(
    ("degrees", "hull"),
    [
        # 60 x 40 pixels at (20, 20) of 200 x 100. A quarter turn clockwise lays it to the left.
        pytest.param(90, (-20, 20, 40, 60), id="quarter"),
        pytest.param(180, (-40, -20, 60, 40), id="half"),
        pytest.param(360, (20, 20, 60, 40), id="full-is-none"),
        pytest.param(-90, (20, -40, 40, 60), id="the-other-way"),
    ],
)
def test_a_turned_box_becomes_its_upright_hull(degrees: float, hull: tuple[float, ...]) -> None:
    region = only(task(annotation(rectangle({"rotation": degrees})))).versions[0].regions[0]
    assert pixels(region, (200, 100)) == pytest.approx(hull)
    assert region.attributes.get("rotation") == (None if degrees == 360 else f"{degrees % 360:g}")


@pytest.mark.parametrize(
    ("result", "more", "origin"),
    [
        pytest.param({"origin": "manual"}, {}, Origin.HUMAN, id="manual"),
        pytest.param({"origin": "prediction"}, {}, Origin.CORRECTED, id="accepted"),
        pytest.param({"origin": "prediction-changed"}, {}, Origin.CORRECTED, id="changed"),
        pytest.param({}, {"parent_prediction": 5}, Origin.CORRECTED, id="begun-from-a-prediction"),
    ],
)
def test_origin(result: dict[str, Any], more: dict[str, Any], origin: Origin) -> None:
    assert only(task(annotation(rectangle(**result), **more))).versions[0].regions[0].origin is origin


@pytest.mark.parametrize(
    ("image", "pictures"),
    [
        pytest.param("/data/local-files/?d=lot_a/frame_000006.jpg", ("lot_a/frame_000006.jpg",), id="local-files"),
        pytest.param("/data/local-files/?d=lot%20a/x%26y.jpg", ("lot a/x&y.jpg",), id="quoted"),
        pytest.param("/data/upload/3/1a2b3c4d-name.jpg", ("1a2b3c4d-name.jpg", "name.jpg"), id="upload"),
        pytest.param("s3://bucket/site/lot_a/7.jpg", ("site/lot_a/7.jpg",), id="s3"),
        pytest.param("https://host.example/a/b%20c.jpg?token=1", ("a/b c.jpg",), id="http"),
        pytest.param("name#1?.jpg", ("name#1?.jpg",), id="plain"),
        pytest.param("folder\\name.jpg", ("folder/name.jpg",), id="backslash"),
        pytest.param("http://[broken/x.jpg", ("http:/[broken/x.jpg",), id="no-address-at-all"),
    ],
)
def test_where_the_picture_may_be(image: str, pictures: tuple[str, ...]) -> None:
    assert only(task(image=image)).pictures == pictures


@pytest.mark.parametrize(
    ("data", "pictures"),
    [
        pytest.param({"photo": "a.png", "text": "b"}, ("a.png",), id="another-key"),
        pytest.param({"left": "a.png", "right": "b.png"}, (), id="two-pictures"),
        pytest.param({"text": "b"}, (), id="no-picture"),
    ],
)
def test_which_value_is_the_picture(data: dict[str, Any], pictures: tuple[str, ...]) -> None:
    assert only({"id": 1, "annotations": [], "data": data}).pictures == pictures


@pytest.mark.parametrize(
    "image",
    [
        pytest.param("/data/local-files/?d=../../etc/passwd", id="local-files"),
        pytest.param("/data/local-files/?d=a%2F..%2F..%2Fb.jpg", id="quoted"),
        pytest.param("s3://bucket/../b.jpg", id="s3"),
        pytest.param("..\\b.jpg", id="backslash"),
        pytest.param("a\0.jpg", id="nul"),
    ],
)
def test_a_path_that_leaves_its_folder_is_refused(image: str) -> None:
    with pytest.raises(DataError, match=r"task 17: the picture's path .* leaves its folder"):
        from_label_studio([task(image=image)])


@pytest.mark.parametrize(
    ("doc", "versions", "left_out"),
    [
        pytest.param(task(), 0, {}, id="nobody-yet"),
        pytest.param(task(annotation()), 1, {}, id="nothing-found"),
        pytest.param(task(annotation(rectangle(), was_cancelled=True)), 0, {"cancelled annotation": 1}, id="cancelled"),
        pytest.param(
            task(annotation(rectangle(), last_action="rejected")), 0, {"rejected annotation": 1}, id="rejected"
        ),
        pytest.param(task(drafts=[{}, {}], predictions=[1]), 0, {"draft": 2, "prediction": 1}, id="drafts"),
        pytest.param(
            task(annotation({"type": "polygonlabels", "value": {}})),
            0,
            {"polygonlabels": 1, "annotation without a box": 1},
            id="polygon",
        ),
        *[
            pytest.param(
                task(annotation({"type": kind, "value": {}}, {"type": "relation"})),
                0,
                {kind: 1, "relation": 1, "annotation without a box": 1},
                id=kind,
            )
            for kind in ("brushlabels", "keypointlabels", "ellipselabels", "videorectangle-of-old", "bitmasklabels")
        ],
        pytest.param(task(annotation({"type": "relation"})), 1, {"relation": 1}, id="relation"),
        pytest.param(task(annotation(choice("weather", "rain", of="x"))), 1, {"choices": 1}, id="of-the-whole-picture"),
        pytest.param(
            task(annotation({})), 0, {"result without a type": 1, "annotation without a box": 1}, id="no-type"
        ),
        pytest.param(
            task(annotation(rectangle({"rectanglelabels": []}))),
            0,
            {"rectangle without a label": 1, "annotation without a box": 1},
            id="no-label",
        ),
        pytest.param(
            task(annotation(rectangle({"rotation": 5}, image_rotation=90))),
            0,
            {"rectangle on a turned picture": 1, "annotation without a box": 1},
            id="turned-box-in-a-turned-view",
        ),
        pytest.param(
            task(annotation(rectangle(image_rotation=5))),
            0,
            {"rectangle on a turned picture": 1, "annotation without a box": 1},
            id="view-turned-by-no-quarter",
        ),
        pytest.param(
            task(annotation(updated_at="1"), annotation(updated_at="2")), 1, {"superseded annotation": 1}, id="twice"
        ),
    ],
)
def test_what_is_no_box_is_counted(doc: dict[str, Any], versions: int, left_out: dict[str, int]) -> None:
    found = only(doc)
    assert len(found.versions) == versions
    assert found.left_out == left_out
    assert not any(version.regions for version in found.versions)


@pytest.mark.parametrize(
    ("who", "name"),
    [
        pytest.param(7, "7", id="number"),
        pytest.param({"id": 7, "email": "a@example.com"}, "7", id="object-without-telling-the-mail"),
        pytest.param(None, "", id="unknown"),
    ],
)
def test_annotator(who: object, name: str) -> None:
    assert only(task(annotation(completed_by=who))).versions[0].annotator == name


def test_an_annotators_last_word_counts() -> None:
    old, new = annotation(rectangle(), id=1, updated_at="2026-01-01"), annotation(id=2, updated_at="2026-01-02")
    assert only(task(new, old)).versions == (Version((), "1"),)


def test_labels_of_a_separate_control_are_joined() -> None:
    plain = rectangle(type="rectangle")
    del plain["value"]["rectanglelabels"]
    named = {"id": "r", "type": "labels", "from_name": "label", "value": {"labels": ["vehicle"]}}
    assert only(task(annotation(plain, named))).versions[0].regions[0].label == "vehicle"


def test_missing_ids_and_sizes_are_no_harm() -> None:
    bare = rectangle()
    for key in ("id", "original_width", "original_height", "image_rotation"):
        del bare[key]
    found = only(task(annotation(bare)))
    assert found.size is None
    assert found.versions[0].regions[0].width == 0.3


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        pytest.param([], "holds no task", id="empty-list"),
        pytest.param({}, "holds no task", id="empty-object"),
        pytest.param({"images": []}, "expected a list of tasks, got dict", id="another-format"),
        pytest.param([3], "task number 0: expected an object, got int", id="number-for-a-task"),
        pytest.param(
            [{"id": 17, "image": "a.jpg", "label": []}], "task 17 has no 'annotations'.*JSON-MIN", id="json-min"
        ),
        pytest.param([task(3)], "task 17: annotation: expected an object", id="number-for-an-annotation"),
        pytest.param([task({"result": 3})], "task 17: result: expected a list", id="number-for-results"),
        pytest.param([task({"result": [[]]})], "task 17: result: expected an object", id="list-for-a-result"),
        pytest.param([task(annotation(rectangle({"x": float("nan")})))], "task 17: x: nan is no coordinate", id="nan"),
        pytest.param([task(annotation(rectangle({"y": float("inf")})))], "task 17: y: inf", id="infinite"),
        pytest.param([task(annotation(rectangle({"y": 10**400})))], "task 17: y: 1000", id="beyond-floats"),
        pytest.param([task(annotation(rectangle({"x": "10"})))], "task 17: x: expected a number, got '10'", id="text"),
        pytest.param([task(annotation(rectangle({"x": None})))], "task 17: x: expected a number, got None", id="none"),
        pytest.param(
            [task(annotation(rectangle({"rectanglelabels": "a"})))], "rectanglelabels: expected a list", id="lb"
        ),
    ],
)
def test_a_broken_export_is_refused_by_task(doc: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_label_studio(doc)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "is empty", id="0-bytes"),
        pytest.param("[", "is not JSON", id="torn"),
        pytest.param("[" * 200_000, "is not JSON", id="nested-deep"),
        pytest.param("[" + "9" * 5000 + "]", "is not JSON", id="endless-number"),
        pytest.param("\x00\x01", "is not JSON", id="binary"),
    ],
)
def test_a_broken_file_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"export.json.*{message}"):
        read_label_studio(path)


def test_half_a_character_becomes_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(json.dumps([task(annotation(rectangle({"rectanglelabels": ["\ud800"]})))]))
    assert read_label_studio(tmp_path)[0].versions[0].regions[0].label == "?"


# task -> annotators -> boxes, counted in the samples' own files
@pytest.mark.parametrize(
    ("name", "boxes", "left_out"),
    [
        pytest.param("test_export_coco/data.json", [[1]], {"polygonlabels": 1, "keypointlabels": 2}, id="coco"),
        pytest.param("test_export_yolo/data.json", [[2, 2], [2]], {}, id="two-annotators"),
        pytest.param(
            "test_export_yolo/data_keypoints.json", [[1]], {"keypointlabels": 3, "relation": 5}, id="keypoints"
        ),
        pytest.param("test_export_json_min/data_repeater.json", [[1]], {}, id="repeater"),
        pytest.param(
            "test_export_yolo/data_polygons.json",
            [[]],
            {"polygonlabels": 1, "annotation without a box": 1},
            id="polygon",
        ),
        pytest.param("test_export_csv/csv_test_history.json", [[0]], {"choices": 1}, id="text-only"),
        pytest.param(
            "test_export_doclang/data.json", [[1], [1], []], {"textarea": 1, "cancelled annotation": 1}, id="doclang"
        ),
        pytest.param(
            "test_export_csv/csv_test.json", [[], []], {"rejected annotation": 2, "prediction": 2}, id="rejected"
        ),
    ],
)
def test_samples(name: str, boxes: list[list[int]], left_out: dict[str, int]) -> None:
    tasks = read_label_studio(SAMPLES / name)
    assert [[len(version.regions) for version in t.versions] for t in tasks] == boxes
    assert sum((Counter(t.left_out) for t in tasks), Counter()) == left_out


def test_sample_of_turned_boxes() -> None:
    tasks = read_label_studio(SAMPLES / "test_export_yolo/data_obb.json")
    regions = [region for t in tasks for version in t.versions for region in version.regions]
    assert len(regions) == 25
    assert {region.label for region in regions} == {"Butterfly", "butterfly"}


def test_round_trip(tmp_path: Path) -> None:
    person = Region("person", 0.1, 0.2, 0.3, 0.4, attributes={"parts": "a|b"}, track_id="7", origin=Origin.HUMAN)
    crowd = Region("person", 0.5, 0.5, 0.25, 0.125, ignore=True, origin=Origin.CORRECTED)
    crowd = replace(crowd, attributes={"rotation": "30"}, rotation=30.0)
    tasks = [
        Task("1", ("lot_a/frame_000006.jpg",), (Version((person, crowd), "1"), Version((), "2")), (640, 480)),
        Task("x", ("b.jpg",), (Version((person,), ground_truth=True),), None, "lot_a", "lot_a/1", 6, frame_id="0a1b"),
    ]
    write_label_studio(tmp_path / "export.json", tasks)
    read = read_label_studio(tmp_path / "export.json")
    assert to_label_studio(read) == to_label_studio(tasks)
    assert [(t.id, t.pictures, t.camera, t.clip, t.frame_index, t.frame_id) for t in read] == [
        (t.id, t.pictures, t.camera, t.clip, t.frame_index, t.frame_id) for t in tasks
    ]
    assert read[0].versions[0].regions[1].rotation == 30
    assert read[0].size == (640, 480)
    assert [(r.label, r.ignore, r.track_id, r.attributes, r.origin) for r in read[0].versions[0].regions] == [
        ("person", False, "7", {"parts": "a|b"}, Origin.HUMAN),
        ("person", True, "", {"rotation": "30"}, Origin.CORRECTED),
    ]
    assert [version.annotator for version in read[0].versions] == ["1", "2"]
    assert read[1].versions[0].ground_truth


@pytest.mark.parametrize("view", [pytest.param(view, id=str(view)) for view in (90, 180, 270, -90, 360)])
def test_a_view_turned_by_quarters_changes_no_place(view: int) -> None:
    region = only(task(annotation(rectangle(image_rotation=view)))).versions[0].regions[0]
    assert pixels(region, (200, 100)) == (20, 20, 60, 40)


def test_rectangles_are_kept_and_other_shapes_counted() -> None:
    found = only(task(annotation(rectangle(), {"id": "b", "type": "brushlabels", "value": {}})))
    assert len(found.versions[0].regions) == 1
    assert found.left_out == {"brushlabels": 1}


def test_only_the_version_without_a_box_is_left_out() -> None:
    brush = {"id": "b", "type": "brushlabels", "value": {}}
    found = only(task(annotation(brush, completed_by=1), annotation(rectangle(), completed_by=2)))
    assert [version.annotator for version in found.versions] == ["2"]
    assert found.left_out == {"brushlabels": 1, "annotation without a box": 1}


def polygon(**more: Any) -> dict[str, Any]:
    value = {"points": [[10, 40], [30, 20], [50, 60]], "polygonlabels": ["person"]}
    return {"id": "p", "type": "polygonlabels", "from_name": "outline", "value": {**value, **more}}


def test_a_polygon_becomes_its_bounding_box_where_that_is_wanted() -> None:
    (found,) = from_label_studio(
        [task(annotation(polygon(), choice("brightness", "dark", of="p")))], polygon_boxes=True
    )
    (region,) = found.versions[0].regions
    assert pixels(region, (200, 100)) == (20, 20, 80, 40)  # x 10..50 % of 200, y 20..60 % of 100
    assert region.attributes == {"brightness": "dark"}
    assert found.left_out == {}


def test_a_polygon_with_the_labels_of_a_separate_control() -> None:
    plain = {**polygon(polygonlabels=None), "type": "polygon"}
    named = {"id": "p", "type": "labels", "from_name": "label", "value": {"labels": ["vehicle"]}}
    (found,) = from_label_studio([task(annotation(plain, named))], polygon_boxes=True)
    assert [region.label for region in found.versions[0].regions] == ["vehicle"]


@pytest.mark.parametrize(
    "points", [pytest.param([], id="none"), pytest.param([[1, 2, 3]], id="triple"), pytest.param(None, id="missing")]
)
def test_a_polygon_that_is_none_is_refused(points: object) -> None:
    with pytest.raises(DataError, match="task 17: a polygon whose points are no pairs"):
        from_label_studio([task(annotation(polygon(points=points)))], polygon_boxes=True)


@pytest.mark.parametrize(
    ("kind", "value", "word"),
    [
        pytest.param("taxonomy", {"taxonomy": [["animal", "bird"], ["thing"]]}, "animal/bird|thing", id="taxonomy"),
        pytest.param("number", {"number": 3}, "3", id="whole-number"),
        pytest.param("number", {"number": 2.5}, "2.5", id="number"),
        pytest.param("rating", {"rating": 4}, "4", id="rating"),
        pytest.param("textarea", {"text": ["plate", "AB 12"]}, "plate|AB 12", id="texts"),
        pytest.param("textarea", {"text": "plate"}, "plate", id="text"),
        pytest.param("datetime", {"datetime": "2026-01-02"}, "2026-01-02", id="datetime"),
        pytest.param("textarea", {"text": "a" * 201}, "a" * 200, id="long-text-is-cut"),
        pytest.param("choices", {"choices": []}, None, id="nothing-chosen"),
    ],
)
def test_answers_become_attributes(kind: str, value: dict[str, Any], word: str | None) -> None:
    answer = {"id": "r", "type": kind, "from_name": "asked", "value": value}
    found = only(task(annotation(rectangle(), answer)))
    assert found.versions[0].regions[0].attributes == ({} if word is None else {"asked": word})
    assert found.left_out == {}
    assert found.mended == ({"text shortened": 1} if len(word or "") == 200 else {})


def test_an_answer_without_a_control_goes_by_its_type() -> None:
    answer = {"id": "r", "type": "rating", "value": {"rating": 4}}
    assert only(task(annotation(rectangle(), answer))).versions[0].regions[0].attributes == {"rating": "4"}


@pytest.mark.parametrize(
    "second", [pytest.param(rectangle(), id="identical"), pytest.param(rectangle({"x": 50.0}), id="another-place")]
)
def test_an_id_names_one_region(second: dict[str, Any]) -> None:
    found = only(task(annotation(rectangle(), second)))
    assert [region.x for region in found.versions[0].regions] == [0.1]
    assert found.left_out == {"duplicate region": 1}


def test_a_rectangle_of_several_labels_is_a_region_each() -> None:
    found = only(task(annotation(rectangle({"rectanglelabels": ["person", "vehicle", "person"]}))))
    assert [region.label for region in found.versions[0].regions] == ["person", "vehicle"]


def test_a_task_of_our_own_names_its_frame() -> None:
    data = {"image": "/data/upload/1/1a2b3c4d-0a1b.jpg", "frame_id": "0a1b", "source": "train/a.jpg"}
    found = only({"id": 1, "annotations": [], "data": data})
    assert found.frame_id == "0a1b"
    assert found.pictures == ("train/a.jpg", "1a2b3c4d-0a1b.jpg", "0a1b.jpg")


def key(frame: int, x: float = 10.0, *, enabled: bool = True) -> dict[str, Any]:
    return {"frame": frame, "x": x, "y": 20.0, "width": 30.0, "height": 40.0, "enabled": enabled, "time": frame / 25}


def clip_track(*sequence: dict[str, Any], **more: Any) -> dict[str, Any]:
    value = {"sequence": list(sequence), "framesCount": 50, "duration": 2.0, "labels": ["person"], **more}
    return {"id": "v", "type": "videorectangle", "from_name": "box", "value": value, "origin": "manual"}


def clip_task(*annotations: Any, **data: Any) -> dict[str, Any]:
    return {"id": 17, "annotations": list(annotations), "data": {"video": "/data/local-files/?d=lot/a.mp4", **data}}


def test_a_clip_is_a_task_with_tracks() -> None:
    found = only(
        clip_task(annotation(clip_track(key(6, 20.0, enabled=False), key(1)), choice("brightness", "dark", of="v")))
    )
    assert found.pictures == ("lot/a.mp4",)
    assert found.timeline == Timeline(50, 2.0)
    keyframes = (Keyframe(0, 0.1, 0.2, 0.3, 0.4), Keyframe(5, 0.2, 0.2, 0.3, 0.4, enabled=False))
    region = Region("person", 0, 0, 0, 0, track_id="v", attributes={"brightness": "dark"}, origin=Origin.HUMAN)
    assert found.versions == (Version((), "1", tracks=(Track(region, keyframes),)),)
    assert found.left_out == {}


@pytest.mark.parametrize(
    ("video", "paths"),
    [
        pytest.param("/data/upload/1/1a2b3c4d-lot_a.mp4", ("1a2b3c4d-lot_a.mp4", "lot_a.mp4"), id="upload"),
        pytest.param("https://host.example/v/lot%20a.mp4?token=1", ("v/lot a.mp4",), id="url"),
        pytest.param("s3://bucket/v/lot_a.mp4", ("v/lot_a.mp4",), id="s3"),
    ],
)
def test_where_the_clip_may_be(video: str, paths: tuple[str, ...]) -> None:
    assert only(clip_task(video=video)).pictures == paths


@pytest.mark.parametrize(
    ("doc", "versions", "left_out", "timeline"),
    [
        pytest.param(clip_task(), 0, {}, Timeline(), id="nobody-yet"),
        pytest.param(clip_task(annotation()), 1, {}, Timeline(), id="nothing-found"),
        pytest.param(
            clip_task(annotation(clip_track())),
            0,
            {"track without a keyframe": 1, "annotation without a box": 1},
            Timeline(50, 2.0),
            id="no-keyframe",
        ),
        pytest.param(
            clip_task(annotation(clip_track(key(1), labels=None))),
            0,
            {"track without a label": 1, "annotation without a box": 1},
            Timeline(50, 2.0),
            id="no-label",
        ),
        pytest.param(
            clip_task(annotation(rectangle(), clip_track(key(1)))),
            1,
            {"rectanglelabels": 1},
            Timeline(50, 2.0),
            id="rectangle-on-a-clip",
        ),
        pytest.param(
            task(annotation(clip_track(key(1), framesCount=None, duration=0)), image=None),
            1,
            {},
            Timeline(),
            id="neither-name-nor-length",
        ),
        pytest.param(
            clip_task(annotation(clip_track(key(1), key(1, 20.0)))),
            1,
            {"second keyframe of a frame": 1},
            Timeline(50, 2.0),
            id="keyframe-twice",
        ),
    ],
)
def test_what_a_clip_may_hold(
    doc: dict[str, Any], versions: int, left_out: dict[str, int], timeline: Timeline | None
) -> None:
    found = only(doc)
    assert len(found.versions) == versions
    assert found.left_out == left_out
    assert found.timeline == timeline


def test_a_track_without_an_id_goes_by_its_place_and_a_choice_goes_before_the_id() -> None:
    nameless = {**clip_track(key(1)), "id": None}
    told = choice("track_id", "7", of="v")
    found = only(clip_task(annotation(nameless, clip_track(key(1)), told)))
    assert [track.region.track_id for track in found.versions[0].tracks] == ["#0", "7"]


def test_a_clip_is_not_written_as_a_picture() -> None:
    with pytest.raises(DataError, match="task 17 is a whole clip"):
        to_label_studio([only(clip_task())])


ODD: tuple[Any, ...] = (
    None,
    "",
    "x",
    "..",
    -1,
    0.5,
    float("inf"),
    float("nan"),
    10**400,
    True,
    [],
    {},
    [[]],
    [None],
    {"id": []},
)


def replaced(value: Any) -> Iterator[Any]:
    """The value with each of its parts in turn, however deep, replaced by each odd value."""
    yield from ODD
    keys = range(len(value)) if isinstance(value, list) else list(value) if isinstance(value, dict) else ()
    for k in keys:
        for part in replaced(value[k]):
            copy = value.copy()
            copy[k] = part
            yield copy


@pytest.mark.parametrize(
    "doc",
    [
        pytest.param(task(annotation(rectangle(), choice("a", "b"))), id="rectangle"),
        pytest.param(task(annotation(polygon())), id="polygon"),
        pytest.param(clip_task(annotation(clip_track(key(1), key(6)))), id="clip"),
    ],
)
def test_whatever_is_odd_is_read_or_refused_by_a_message(doc: dict[str, Any]) -> None:
    refused, read = 0, 0
    for odd in replaced([doc]):
        try:
            tasks = from_label_studio(odd, polygon_boxes=True)
        except DataError:
            refused += 1
        else:
            read += 1
            json.dumps([asdict(task) for task in tasks], allow_nan=False)  # every number is finite
    assert refused > 50
    assert read > 50
