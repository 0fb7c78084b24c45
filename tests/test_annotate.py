import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from pipeline.annotate import coco, label, main, report
from pipeline.core.boxes import iou
from pipeline.core.errors import DataError
from pipeline.core.params import AnnotateParams, DataParams
from pipeline.core.types import Frame, Origin
from pipeline.io.formats.record import Region, Task, Version
from pipeline.io.formats.voc import write_voc
from pipeline.io.formats.yolo import write_yolo
from pipeline.io.tables import read_annotations, read_labelled, write_frames

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "data" / "demo"
SHARED = ROOT.parent / "shared" / "data"
DATA = {
    "name": "test",
    "format": "images",
    "path": "pictures",
    "labels": {"format": "coco", "path": "labels"},
    "classes": ["person", "vehicle"],
    "rename": {"car": "vehicle"},
    "count_only": ["bicycle"],
    "ignore": ["ignore"],
}
ANNOTATE = {
    "unknown_label": "error",
    "outside_frame": "clip",
    "zero_area": "count",
    "missing_frame": "error",
    "duplicate_task": "error",
    "polygons": "leave_out",
    "consensus_iou": 0.5,
}


def data_params(**more: Any) -> DataParams:
    return DataParams.parse("data", {**DATA, **more})


def annotate_params(**more: Any) -> AnnotateParams:
    return AnnotateParams.parse("annotate", {**ANNOTATE, **more})


def frame(name: str, **more: Any) -> Frame:
    place = {"frame_id": name, "camera": "cam", "clip": "cam", "index": 0, "timestamp_s": None}
    return Frame(**{**place, "width": 200, "height": 100, "source": f"cam/{name}.jpg", **more})


def region(x: float = 0.1, y: float = 0.1, width: float = 0.2, height: float = 0.5, name: str = "person") -> Region:
    return Region(name, x, y, width, height)


def task(name: str, *regions: Region, number: str = "17", **more: Any) -> Task:
    return Task(number, (f"cam/{name}.jpg",), (Version(regions),), **more)


FRAMES = [frame("a", index=0), frame("b", index=1)]


def labelled(tasks: list[Task], frames: list[Frame] | None = None, *, policies: Any = None) -> dict[str, Any]:
    found, tally = label(tasks, frames or FRAMES, data_params(), annotate_params(**(policies or {})))
    return {"annotations": [a for item in found for a in item.annotations], **report(found, frames or FRAMES, tally)}


def counts(result: dict[str, Any]) -> dict[str, int]:
    return {kind: entry["count"] for kind, entry in result["left_out"].items()}


@pytest.mark.parametrize(
    ("name", "expected", "ignore"),
    [
        pytest.param("person", "person", False, id="class"),
        pytest.param("car", "vehicle", False, id="renamed"),
        pytest.param("bicycle", "bicycle", False, id="counted-only"),
        pytest.param("ignore", "ignore", True, id="ignore"),
    ],
)
def test_labels_are_mapped_and_boxes_are_pixels(name: str, expected: str, *, ignore: bool) -> None:
    (found,) = labelled([task("a", region(name=name))])["annotations"]
    assert (found.frame_id, found.label, found.ignore) == ("a", expected, ignore)
    assert (found.x, found.y, found.width, found.height) == (20, 10, 40, 50)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        pytest.param(
            [task("a", region(name="van"), region(name="cart"))],
            r"task 17 has label 'van', which data\.classes does not name; add it or map it in data\.rename.*'cart'",
            id="unknown-label",
        ),
        pytest.param(
            [task("x")], "task 17: no frame of this data set is 'cam/x.jpg'.*missing_frame=count", id="missing"
        ),
        pytest.param([task("a"), task("b")], "task 17 is there twice.*duplicate_task=count", id="task-twice"),
        pytest.param([task("a"), task("a", number="18")], "tasks 17 and 18 are the same frame", id="frame-twice"),
        pytest.param(
            [task("a", size=(100, 200))], "17 was annotated on a picture of 100x200, but .* 200x100", id="side"
        ),
    ],
)
def test_what_stops_the_stage(tasks: list[Task], message: str) -> None:
    with pytest.raises(DataError, match=message):
        labelled(tasks)


@pytest.mark.parametrize(
    ("box", "policy", "message"),
    [
        pytest.param(
            region(width=0), {"zero_area": "error"}, "task 17: .* has no area; .*zero_area=count", id="no-area"
        ),
        pytest.param(
            region(x=0.9), {"outside_frame": "error"}, "task 17: .* reaches past its frame of 200x100", id="past"
        ),
    ],
)
def test_stricter_policies(box: Region, policy: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        labelled([task("a", box)], policies=policy)


@pytest.mark.parametrize(
    ("tasks", "policy", "left_out"),
    [
        pytest.param([task("a", region(width=0))], {}, {"box without area": 1}, id="no-area"),
        pytest.param([task("a", region(width=1e-9))], {}, {"box without area": 1}, id="hardly-any-area"),
        pytest.param([task("a", region(x=3))], {}, {"box outside the frame": 1}, id="outside"),
        pytest.param(
            [task("a", region(name="van"))], {"unknown_label": "count"}, {"unknown label 'van'": 1}, id="unknown-label"
        ),
        pytest.param([task("x")], {"missing_frame": "count"}, {"no such frame": 1}, id="missing"),
        pytest.param(
            [task("a", size=(100, 200))], {"missing_frame": "count"}, {"frame of another shape": 1}, id="on-its-side"
        ),
        pytest.param([task("a"), task("b")], {"duplicate_task": "count"}, {"task id used twice": 1}, id="task-twice"),
        pytest.param(
            [task("a"), task("a", number="18")],
            {"duplicate_task": "count"},
            {"second task of a frame": 1},
            id="frame-twice",
        ),
        pytest.param([Task("17", ("cam/x.jpg",))], {}, {"task without annotation": 1}, id="nobody-looked"),
        pytest.param([task("a", left_out={"polygon": 2})], {}, {"polygon": 2}, id="no-boxes"),
    ],
)
def test_what_is_left_out_is_counted_with_its_task(
    tasks: list[Task], policy: dict[str, str], left_out: dict[str, int]
) -> None:
    result = labelled(tasks, policies=policy)
    assert counts(result) == left_out
    assert result["annotations"] == []
    assert all(entry["tasks"] in (["17"], ["18"]) for entry in result["left_out"].values())


@pytest.mark.parametrize(
    ("box", "clipped", "expected"),
    [
        pytest.param(region(x=0.9), 1, (180, 10, 20, 50), id="right"),
        pytest.param(region(x=-0.1, y=-0.1), 1, (0, 0, 20, 40), id="top-left"),
        pytest.param(region(y=0.5 + 1e-9), 0, (20, 50, 40, 50), id="rounding-is-no-overshoot"),
        pytest.param(region(0, 0, 1, 1), 0, (0, 0, 200, 100), id="whole-frame"),
    ],
)
def test_boxes_are_clipped_and_counted(box: Region, clipped: int, expected: tuple[float, ...]) -> None:
    result = labelled([task("a", box)])
    (found,) = result["annotations"]
    assert (found.x, found.y, found.width, found.height) == expected
    assert result["mended"] == ({"clipped": clipped} if clipped else {})


@pytest.mark.parametrize(
    ("box", "mended", "expected"),
    [
        pytest.param(region(x=0.3, width=-0.2), {"negative side": 1}, (20, 10, 40, 50), id="to-the-left"),
        pytest.param(
            region(x=0.1, width=-0.2, y=0.6, height=-0.5),
            {"negative side": 1, "clipped": 1},
            (0, 10, 20, 50),
            id="up-and-out",
        ),
    ],
)
def test_boxes_drawn_backwards_are_mended(box: Region, mended: dict[str, int], expected: tuple[float, ...]) -> None:
    found, tally = label([task("a", box)], FRAMES, data_params(), annotate_params())
    (annotation,) = found[0].annotations
    assert (annotation.x, annotation.y, annotation.width, annotation.height) == expected
    assert tally.mended == mended
    assert not tally.left_out


def test_a_label_made_on_a_scaled_copy_fits() -> None:
    (found,) = labelled([task("a", region(), size=(400, 200))])["annotations"]
    assert found.width == 40


def test_empty_is_labelled_and_unlabelled_is_not() -> None:
    found, _ = label([task("a")], FRAMES, data_params(), annotate_params())
    assert [item.frame.frame_id for item in found] == ["a"]
    assert found[0].annotations == ()


def test_labels_of_a_duplicate_go_to_its_original() -> None:
    frames = [frame("a"), frame("copy", frame_id="a", reason="duplicate", duplicate_of="a")]
    result = labelled([task("copy", region())], frames)
    assert [a.frame_id for a in result["annotations"]] == ["a"]
    assert result["left_out"] == {}


def test_a_frames_own_labels_go_before_its_duplicates() -> None:
    frames = [frame("a"), frame("copy", frame_id="a", reason="duplicate", duplicate_of="a")]
    result = labelled([task("copy", region(), region(x=0.5), number="1"), task("a", region(), number="2")], frames)
    assert len(result["annotations"]) == 1
    assert result["left_out"] == {"frame is a duplicate of an annotated one": {"count": 1, "tasks": ["1"]}}


def test_labels_of_a_quarantined_frame_are_counted() -> None:
    result = labelled([task("a", region())], [frame("a", reason="too dark")])
    assert counts(result) == {"frame quarantined": 1}
    assert result["frames"] == {"usable": 0, "labelled": 0, "labelled_empty": 0}


def test_ground_truth_settles_and_agreement_is_still_told() -> None:
    versions = (Version((region(),), "1"), Version((region(x=0.12),), "2", ground_truth=True), Version((), "3"))
    found, _ = label([Task("17", ("cam/a.jpg",), versions)], FRAMES, data_params(), annotate_params())
    (item,) = found
    assert [(a.x, a.annotators) for a in item.annotations] == [(24, ("2",))]
    assert item.annotators == ("1", "2", "3")
    assert item.agreement is not None
    assert item.agreement.f1 == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        pytest.param(9, "fewer than 10 tasks", id="few"),
        pytest.param(12, "alike in all 12 tasks", id="alike"),
    ],
)
def test_agreement_without_an_interval_says_why(tasks: int, reason: str) -> None:
    frames = [frame(f"f{i}", index=i) for i in range(tasks)]
    both = (Version((region(),), "1"), Version((region(),), "2"))
    result = labelled([Task(str(i), (f"cam/f{i}.jpg",), both) for i in range(tasks)], frames)
    assert result["agreement"]["mean_f1"] == 1
    assert result["agreement"]["interval_f1"] == result["agreement"]["interval_iou"] == {"not_assessable": reason}


def test_agreement_has_an_interval_over_tasks() -> None:
    """Of 20 frames the second annotator misses the box in 5: F1 is 0 there. No interval of IoU: 15 times 1."""
    frames = [frame(f"f{i}", index=i) for i in range(20)]
    sure, unsure = (Version((region(),), "1"), Version((region(),), "2")), (Version((region(),), "1"), Version((), "2"))
    result = labelled([Task(str(i), (f"cam/f{i}.jpg",), sure if i % 4 else unsure) for i in range(20)], frames)
    interval = result["agreement"]["interval_f1"]
    assert interval["low"] == pytest.approx(0.5, abs=0.06)  # 2.5 % quantile of a binomial of 20 at 0.75: 11 / 20
    assert interval["high"] == pytest.approx(0.9, abs=0.06)  # and the 97.5 %: 18 / 20
    assert result["agreement"]["interval_iou"] == {"not_assessable": "alike in all 15 tasks"}
    told = {name: (it["boxes"], it["disputed"], it["missed"]) for name, it in result["annotators"].items()}
    assert told == {"1": (20, 5, 0), "2": (15, 0, 5)}
    assert [it["mean_f1"] for it in result["annotators"].values()] == [0.75, 0.75]


def test_coco_has_every_labelled_frame_and_ignore_for_every_class(tmp_path: Path) -> None:
    tasks = [task("a", region(), region(name="ignore"), number="1"), task("b", number="2")]
    found, _ = label(tasks, FRAMES, data_params(), annotate_params())
    (tmp_path / "coco.json").write_text(json.dumps(coco(found, data_params())))
    theirs = COCO(tmp_path / "coco.json")
    assert [i["file_name"] for i in theirs.loadImgs([1, 2])] == ["cam/a.jpg", "cam/b.jpg"]
    assert [i["frame_id"] for i in theirs.loadImgs([1, 2])] == ["a", "b"]
    assert [c["name"] for c in theirs.loadCats(theirs.getCatIds())] == ["person", "vehicle", "bicycle"]
    assert [(a["category_id"], a["iscrowd"]) for a in theirs.loadAnns(theirs.getAnnIds())] == [(1, 0), (1, 1), (2, 1)]


def test_output_follows_the_frames_not_the_tasks() -> None:
    tasks = [task("b", region(), number="1"), task("a", region(), number="2")]
    assert [a.frame_id for a in labelled(tasks)["annotations"]] == ["a", "b"]


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the stage in a folder of its own and gives annotate.json."""
    monkeypatch.chdir(tmp_path)

    def run(path: Path, frames: list[Frame], *, policies: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
        params = {"data": {**DATA, **data}, "annotate": {**ANNOTATE, **(policies or {})}}
        Path("params.yaml").write_text(yaml.safe_dump(params))
        write_frames(Path("frames/frames.parquet"), frames)
        main(["--labels", str(path), "--frames", "frames", "--out", "out"])
        content: dict[str, Any] = json.loads(Path("out/annotate.json").read_bytes())
        return content

    return run


def demo_truth() -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted((DEMO / "truth").glob("*.json"))]


def demo_frames() -> list[Frame]:
    def of(image: dict[str, Any]) -> Frame:
        camera = image["camera"]
        place = image["file_name"], camera, camera, image["frame_index"], image["timestamp_s"]
        return Frame(*place, image["width"], image["height"], f"{camera}.mp4")

    return [of(image) for doc in demo_truth() for image in doc["images"]]


DEMO_DATA = {"format": "video", "labels": {"format": "label_studio", "path": "export.json"}, "rename": {}}


def test_demo_equals_its_ground_truth(stage: Run) -> None:
    content = stage(DEMO / "labelstudio" / "export.json", demo_frames(), **DEMO_DATA)
    truth: dict[str, list[dict[str, Any]]] = {}
    for doc in demo_truth():
        names = {c["id"]: c["name"] for c in doc["categories"]}
        files = {i["id"]: i["file_name"] for i in doc["images"]}
        for a in doc["annotations"]:
            kind = "ignore" if a["iscrowd"] else names[a["category_id"]]
            truth.setdefault(files[a["image_id"]], []).append({**a, "label": kind})
    annotations = read_annotations(Path("out/annotations.parquet"))
    frames = read_labelled(Path("out/labelled.parquet"))
    assert len(frames) == 394
    alone = [f.frame_id for f in frames if len(f.annotators) == 1]
    assert len(alone) == 330
    for frame_id in alone:
        ours = [a for a in annotations if a.frame_id == frame_id]
        theirs = truth.get(frame_id, [])
        assert sorted(a.label for a in ours) == sorted(a["label"] for a in theirs)
        for a in theirs:
            x, y, w, h = a["bbox"]
            same = [o for o in ours if o.label == a["label"]]
            overlaps = iou(np.array([[x, y, x + w, y + h]]), np.array([o.xyxy for o in same]))[0]
            best = same[int(overlaps.argmax())]
            assert overlaps.max() > 0.999
            if not a["iscrowd"]:
                assert best.attributes == {
                    "brightness": a["brightness"],
                    "occluded": "yes" if a["occluded"] else "no",
                    "truncated": "yes" if a["truncated"] else "no",
                }
    assert content["agreement"]["tasks"] == 64
    told = {name: (it["tasks"], it["shared"]) for name, it in content["annotators"].items()}
    assert told == {"1": (394, 64), "2": (64, 64)}
    assert counts(content) == {"prediction": 136}


def test_demo_disagreements_come_first(stage: Run) -> None:
    content = stage(DEMO / "labelstudio" / "export.json", demo_frames(), **DEMO_DATA)
    worst = [(entry["camera"], entry["index"]) for entry in content["agreement"]["worst"]]
    assert set(worst[:2]) == {("lot_b", 24), ("aisle", 44)}  # the two that its README tells of
    assert content["agreement"]["disputed_boxes"] >= 2
    assert 0.9 < content["agreement"]["mean_iou"] < 1
    for figure in ("f1", "iou"):
        interval, mean = content["agreement"][f"interval_{figure}"], content["agreement"][f"mean_{figure}"]
        assert interval["low"] < mean < interval["high"] <= 1
    assert content["annotators"]["1"]["disputed"] == content["annotators"]["2"]["missed"] >= 2
    both = [a for a in read_annotations(Path("out/annotations.parquet")) if a.frame_id == "lot_b/frame_000024.jpg"]
    cyclist = [a for a in both if a.annotators == ("1",)]
    assert [a.label for a in cyclist] == ["person"]  # kept, though the second annotator missed it


def test_same_inputs_same_bytes(stage: Run) -> None:
    def contents() -> dict[str, bytes]:
        stage(DEMO / "labelstudio" / "export.json", demo_frames(), **DEMO_DATA)
        return {path.name: path.read_bytes() for path in sorted(Path("out").iterdir())}

    first = contents()
    assert sorted(first) == ["annotate.json", "annotations.parquet", "coco.json", "labelled.parquet"]
    assert contents() == first


def test_predictions_that_were_accepted_are_marked(stage: Run, tmp_path: Path) -> None:
    box = {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["person"]}
    result = {"id": "r", "type": "rectanglelabels", "value": box, "origin": "prediction"}
    export = [{"id": 1, "data": {"image": "cam/a.jpg"}, "annotations": [{"id": 1, "result": [result]}]}]
    (tmp_path / "export.json").write_text(json.dumps(export))
    content = stage(tmp_path / "export.json", FRAMES, labels={"format": "label_studio", "path": "x"})
    assert content["origins"] == {Origin.CORRECTED: 1}


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_every_format_gives_the_same_boxes(kind: str, stage: Run, tmp_path: Path) -> None:
    tasks = [replace(task(f.frame_id, region(), region(x=0.5, name="car")), size=(200, 100)) for f in FRAMES]
    if kind == "voc":
        write_voc(tmp_path / "labels", tasks)
    else:
        write_yolo(tmp_path / "labels", tasks, ["car", "person"])
    content = stage(tmp_path / "labels", FRAMES, labels={"format": kind, "path": "labels"})
    assert content["boxes"] == {"person": 2, "vehicle": 2}
    found = read_annotations(tmp_path / "out" / "annotations.parquet")
    assert [(a.x, a.y, a.width, a.height) for a in found] == [(20, 10, 40, 50), (100, 10, 40, 50)] * 2
    assert {a.origin for a in found} == {Origin.IMPORT}


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data is not here")
def test_coco256_as_its_readme_counts_it(stage: Run) -> None:
    folder = SHARED / "coco256"
    docs = {split: json.loads((folder / f"instances_{split}.json").read_bytes()) for split in ("train", "val")}
    images = [(split, i) for split, doc in docs.items() for i in doc["images"]]
    frames = [
        frame(f"{split}{i['id']}", source=f"{split}/{i['file_name']}", width=i["width"], height=i["height"], index=n)
        for n, (split, i) in enumerate(images)
    ]
    rename = dict.fromkeys(("car", "motorcycle", "bus", "truck"), "vehicle")
    content = stage(folder, frames, rename=rename)
    assert content["boxes"] == {"person": 604, "bicycle": 16, "vehicle": 70 + 11 + 13 + 21}
    assert content["ignore_regions"] == 8
    assert content["frames"] == {"usable": 256, "labelled": 256, "labelled_empty": 104}


def test_labels_of_other_pictures_altogether_are_refused(stage: Run, tmp_path: Path) -> None:
    write_yolo(tmp_path / "labels", [task("x"), task("y")], ["person"])
    kind = {"format": "yolo", "path": "labels"}
    with pytest.raises(DataError, match=r"labels no frame of frames \(2 no such frame\); check data\.path"):
        stage(tmp_path / "labels", FRAMES, policies={"missing_frame": "count"}, labels=kind)


def test_a_broken_export_ends_in_a_message_and_leaves_the_old_output(tmp_path: Path, stage: Run) -> None:
    stage(DEMO / "labelstudio" / "export.json", demo_frames(), **DEMO_DATA)
    before = Path("out/annotate.json").read_bytes()
    (tmp_path / "empty.json").touch()
    command = [
        sys.executable,
        "-m",
        "pipeline.annotate",
        "--labels",
        "empty.json",
        "--frames",
        "frames",
        "--out",
        "out",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: empty.json is empty")
    assert "Traceback" not in done.stderr
    assert Path("out/annotate.json").read_bytes() == before
