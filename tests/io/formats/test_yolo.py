from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.io.formats.record import Region, Task, Version
from pipeline.io.formats.yolo import from_yolo, read_yolo, to_yolo, write_yolo

NAMES = ["person", "vehicle"]


def test_centres_become_corners() -> None:
    (task,) = from_yolo({"train/a.txt": "1 0.5 0.5 0.25 0.5\n\n"}, NAMES)
    assert task.versions == (Version((Region("vehicle", 0.375, 0.25, 0.25, 0.5),)),)
    assert task.id == "train/a.txt"
    assert task.pictures == ("train/a.*",)


def test_an_empty_file_is_a_picture_labelled_empty() -> None:
    (task,) = from_yolo({"a.txt": ""}, NAMES)
    assert task.versions == (Version(()),)


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        pytest.param("a.b.txt", ("a.b.*",), id="dots"),
        pytest.param("labels/train/a.txt", ("labels/train/a.*", "images/train/a.*"), id="labels-are-images"),
        pytest.param("train/labels/a.txt", ("train/labels/a.*", "train/images/a.*"), id="labels-below"),
    ],
)
def test_where_the_picture_may_be(name: str, pictures: tuple[str, ...]) -> None:
    assert from_yolo({name: ""}, NAMES)[0].pictures == pictures


def test_polygons_are_counted() -> None:
    assert from_yolo({"a.txt": "0 0.1 0.1 0.2 0.1 0.2 0.2"}, NAMES)[0].left_out == {"polygon": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("0 0.5 0.5 0.1", "a.txt: line 1: expected 'class cx cy w h', got 4", id="too-short"),
        pytest.param("0 0.5 0.5 0.1 0.1 0.9", "a.txt: line 1: .* got 6", id="a-detection-with-its-score"),
        pytest.param("2 0.5 0.5 0.1 0.1", "class '2' has no name; 2 names", id="class-without-name"),
        pytest.param("-1 0.5 0.5 0.1 0.1", "class '-1' has no name", id="negative-class"),
        pytest.param("person 0.5 0.5 0.1 0.1", "class 'person' has no name", id="word-for-a-class"),
        pytest.param("0 nan 0.5 0.1 0.1", "a.txt: line 1: nan is no coordinate", id="nan"),
        pytest.param("0 0,5 0.5 0.1 0.1", "a.txt: line 1: expected a number, got '0,5'", id="comma"),
    ],
)
def test_broken_lines_are_refused_by_file_and_line(line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_yolo({"a.txt": line}, NAMES)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("classes.txt", "person\r\nvehicle\n\n", id="classes.txt"),
        pytest.param("data.yaml", "names: [person, vehicle]", id="list"),
        pytest.param("data.yml", "names: {1: vehicle, 0: person}", id="mapping"),
    ],
)
def test_names(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "a.txt").write_text("1 0.5 0.5 1 1")
    (task,) = read_yolo(tmp_path)
    assert task.versions[0].regions[0].label == "vehicle"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({"a.txt": b""}, "neither classes.txt nor data.yaml", id="no-names"),
        pytest.param({"classes.txt": b"person"}, "class names but no labels", id="no-labels"),
        pytest.param({"data.yaml": b"names: {0: a, 2: b}", "a.txt": b""}, "expected `names`", id="gap-in-numbers"),
        pytest.param({"data.yaml": b"names: !!python/object:os.system {}", "a.txt": b""}, "is not YAML", id="code"),
        pytest.param({"classes.txt": b"person", "a.txt": b"\xff\xfe\x00"}, "is no text", id="binary"),
    ],
)
def test_broken_folders_are_refused(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_yolo(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        read_yolo(tmp_path / "a.txt")


def test_round_trip(tmp_path: Path) -> None:
    regions = (Region("person", 0.125, 0.25, 0.5, 0.5), Region("vehicle", 0, 0, 1, 1))
    tasks = [
        Task("cam/a.txt", ("cam/a.*",), (Version(regions),)),
        Task("cam/b.txt", ("cam/b.*",), (Version(()),)),
    ]
    write_yolo(tmp_path / "yolo", tasks, NAMES)
    assert read_yolo(tmp_path / "yolo") == tasks


def test_ignore_regions_are_left_out_and_unknown_labels_refused() -> None:
    crowd = Region("person", 0, 0, 1, 1, ignore=True)
    assert to_yolo([Task("1", ("a.jpg",), (Version((crowd,)),))], NAMES) == {"a.txt": ""}
    with pytest.raises(DataError, match="task 1 has label 'van'"):
        to_yolo([Task("1", ("a.jpg",), (Version((Region("van", 0, 0, 1, 1),)),))], NAMES)
