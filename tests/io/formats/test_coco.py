import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from pipeline.core.errors import DataError
from pipeline.io.formats.coco import from_coco, read_coco, to_coco, write_coco
from pipeline.io.formats.record import Region, Task, Version, pixels

SAMPLE = Path(__file__).parents[2] / "data" / "labelstudio" / "test_import_coco" / "coco_import_input.json"
SHARED = Path(__file__).parents[4] / "shared" / "data" / "coco256"
IMAGE = {"id": 0, "file_name": "a.jpg", "width": 200, "height": 100}
BOX = {"id": 0, "image_id": 0, "category_id": 3, "bbox": [20, 10, 40, 30]}


def doc(*annotations: dict[str, Any], images: Any = (IMAGE,)) -> dict[str, Any]:
    return {"images": list(images), "annotations": list(annotations), "categories": [{"id": 3, "name": "person"}]}


def test_pixels_become_fractions_by_the_images_own_size() -> None:
    (task,) = from_coco(doc(BOX))
    assert task == Task("0", ("a.jpg",), (Version((Region("person", 0.1, 0.1, 0.2, 0.3),)),), (200, 100))


def test_an_image_without_annotations_is_labelled_empty() -> None:
    (task,) = from_coco(doc())
    assert task.versions == (Version(()),)


@pytest.mark.parametrize(
    ("more", "ignore"),
    [
        pytest.param({}, False, id="not-said"),
        pytest.param({"iscrowd": 1}, True, id="number"),
        pytest.param({"iscrowd": "true"}, True, id="text"),
        pytest.param({"iscrowd": "false"}, False, id="text-false"),
        pytest.param({"iscrowd": 0, "ignore": 1}, True, id="ignore-of-the-evaluation"),
    ],
)
def test_ignore(more: dict[str, Any], *, ignore: bool) -> None:
    assert from_coco(doc({**BOX, **more}))[0].versions[0].regions[0].ignore is ignore


def test_other_values_become_attributes() -> None:
    more = {"track_id": 7, "occluded": 0, "brightness": None, "score": 1, "attributes": {"weather": "rain", "a": [1]}}
    region = from_coco(doc({**BOX, **more}))[0].versions[0].regions[0]
    assert region.track_id == "7"
    assert region.attributes == {"occluded": "0", "weather": "rain"}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        pytest.param([], "expected an object with images", id="list"),
        pytest.param({}, "expected an object with images", id="empty"),
        pytest.param(doc(images=[]), "holds no image", id="no-image"),
        pytest.param(doc(images=[IMAGE, IMAGE]), "image id 0 is there twice", id="id-twice"),
        pytest.param(doc(images=[{**IMAGE, "id": []}]), r"image id \[\] is no id", id="list-as-id"),
        pytest.param(doc(images=[{"id": 0}]), "image 0 has no file_name", id="no-name"),
        pytest.param(doc(images=[{**IMAGE, "file_name": "../a.jpg"}]), "image 0: .* leaves its folder", id="climbs"),
        pytest.param(doc({**BOX, "image_id": 9}), "annotation 0: no image has the id 9", id="no-such-image"),
        pytest.param(doc({**BOX, "category_id": 9}), "image 0: annotation 0: .* no category 9", id="no-such-category"),
        pytest.param(doc({**BOX, "bbox": [1, 2, 3]}), "expected a bbox of 4 numbers, got 3", id="three-numbers"),
        pytest.param(doc({**BOX, "bbox": [1, 2, 3, float("nan")]}), "nan is no coordinate", id="nan"),
        pytest.param(doc({**BOX, "bbox": [1, 2, 3, "4"]}), "expected a number, got '4'", id="text"),
        pytest.param(doc(BOX, images=[{"id": 0, "file_name": "a"}]), "boxes but no width and height", id="no-size"),
    ],
)
def test_broken_files_are_refused(broken: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_coco(broken)


def test_segments_without_a_box_are_counted() -> None:
    assert from_coco(doc({**BOX, "bbox": []}))[0].left_out == {"annotation without a box": 1}


def test_a_folders_files_are_merged(tmp_path: Path) -> None:
    for name in ("train", "val"):
        (tmp_path / f"{name}.json").write_text(json.dumps(doc(BOX)))
    (tmp_path / "notes.json").write_text("[1]")
    (tmp_path / "empty.json").write_text("")
    assert [task.id for task in read_coco(tmp_path)] == ["train:0", "val:0"]


@pytest.mark.parametrize("name", ["", "none.json"])
def test_nothing_to_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set data\.labels\.path"):
        read_coco(tmp_path / name)


def test_sample_with_ids_from_0_and_text_for_flags() -> None:
    raw = json.loads(SAMPLE.read_text())
    tasks = read_coco(SAMPLE)
    assert [task.id for task in tasks] == ["0", "1"]
    found = [pixels(r, task.size or (0, 0)) for task in tasks for r in task.versions[0].regions]
    assert found == [tuple(a["bbox"]) for image in (0, 1) for a in raw["annotations"] if a["image_id"] == image]


def test_written_files_are_read_by_pycocotools_and_by_us(tmp_path: Path) -> None:
    regions = (
        Region("vehicle", 0.1, 0.1, 0.2, 0.3, track_id="7", attributes={"brightness": "dark"}),
        Region("person", 0.5, 0.5, 0.1, 0.1, ignore=True),
    )
    tasks = [
        Task("1", ("lot_a/frame_000006.jpg",), (Version(regions),), (480, 270), "lot_a", "lot_a", 6),
        Task("2", ("b.jpg",), (Version(()),), (640, 480)),
    ]
    write_coco(tmp_path / "coco.json", tasks, ["person", "vehicle"])
    theirs = COCO(tmp_path / "coco.json")
    assert [a["bbox"] for a in theirs.loadAnns(theirs.getAnnIds(imgIds=[1]))] == [[48, 27, 96, 81], [240, 135, 48, 27]]
    assert [a["id"] for a in theirs.loadAnns(theirs.getAnnIds(iscrowd=True))] == [2]
    assert read_coco(tmp_path / "coco.json") == tasks


def test_a_label_outside_the_categories_is_refused() -> None:
    with pytest.raises(DataError, match="task 1 has label 'van'"):
        to_coco([Task("1", ("a.jpg",), (Version((Region("van", 0, 0, 1, 1),)),), (10, 10))], ["person"])


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data is not here")
@pytest.mark.parametrize("split", ["train", "val"])
def test_coco256_as_pycocotools_reads_it(split: str) -> None:
    path = SHARED / f"instances_{split}.json"
    theirs = COCO(path)
    for task in read_coco(path):
        annotations = theirs.loadAnns(theirs.getAnnIds(imgIds=[int(task.id)]))
        regions = task.versions[0].regions
        assert [pixels(r, task.size or (0, 0)) for r in regions] == [tuple(a["bbox"]) for a in annotations]
        assert [r.label for r in regions] == [theirs.cats[a["category_id"]]["name"] for a in annotations]
        assert [r.ignore for r in regions] == [bool(a["iscrowd"]) for a in annotations]
