"""Scoring on worlds small enough to work out by hand, and the whole stage with a real, untrained detector."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from pipeline import evaluate
from pipeline.core.errors import DataError
from pipeline.core.label_quality import Issue, Kind
from pipeline.core.params import EvaluateParams
from pipeline.core.types import Annotation, Assignment, Detections, Frame, Sample, Split, Truth
from pipeline.io.files import write_json
from pipeline.io.images import encode_jpeg
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import read_detections, write_annotations, write_frames, write_splits
from pipeline.modeling.state import save_tensors
from pipeline.modeling.zoo import build

CLASSES = ("person", "vehicle")
SECTION = {
    "batch_size": 4,
    "score_floor": 0.0,
    "nms_iou": 0.6,
    "max_detections": 5,
    "match_iou": 0.5,
    "operating": {"rule": "f_beta", "beta": 1.0, "budget": 0.1},
    "height_bins": [0.0, 48.0, 1000.0],
    "min_support": 1,
    "intersections": [["camera", "object brightness"]],
    "stratify": ["height"],
    "max_gap": 0.1,
    "recall_floor": 0.9,
    "resamples": 200,
    "seed": 0,
    "block_s": 5.0,
    "calibration": {},
    "conditions": {
        "height": [20.0, 60.0],
        "luminance": [40.0],
        "contrast": [20.0],
        "sharpness": [50.0],
        "speed": [1.0],
        "crowding": [1.0],
    },
    "gallery": 4,
    "label_issues": 3,
}
P = EvaluateParams.parse("evaluate", SECTION)
BOX, FAR = [0, 0, 20, 40], [100, 0, 120, 40]


def frame(index: int, **changes: object) -> Frame:
    values = {"frame_id": f"f{index}", "camera": "hall", "clip": "hall", "timestamp_s": index / 2} | changes
    return Frame(**{"index": index, "width": 200, "height": 100, "source": "x", **values})  # type: ignore[arg-type]


def truth(*rows: tuple[list[int], int], ignore: bool = False, **attributes: str) -> Truth:
    return Truth(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.int64),
        np.full(len(rows), ignore),
        tuple(attributes for _ in rows),
    )


def found(*rows: tuple[list[int], float, int]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int64),
    )


def sample(*rows: tuple[Truth, Detections]) -> Sample:
    frames = tuple(frame(i) for i in range(len(rows)))
    return Sample(frames, tuple(r[0] for r in rows), tuple(r[1] for r in rows), CLASSES)


PERSON = truth((BOX, 0), brightness="dark")
BENCHMARK = sample(
    (PERSON, found((BOX, 0.9, 0), (FAR, 0.8, 0))),  # a hit and a false alarm
    (PERSON, found((BOX, 0.3, 0))),  # found below the operating point: a miss
    (PERSON, found((BOX, 0.9, 1))),  # taken for a vehicle
    (truth((FAR, 0), ignore=True), found((FAR, 0.9, 0))),  # inside an ignore region
)
AT = {"person": 0.5, "vehicle": 0.5}


def test_figures_at_the_operating_point() -> None:
    metrics = evaluate.score(BENCHMARK, AT, P).metrics
    expected = {"objects": 3, "hits": 1, "misses": 2, "false_alarms": 2, "frames": 4, "mean_iou": 1.0}
    expected |= {"precision": 1 / 3, "recall": 1 / 3, "f1": 1 / 3, "false_alarms_per_frame": 0.5}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert metrics["class"]["person"]["recall"] == pytest.approx(1 / 3)


def test_what_is_not_defined_is_left_out() -> None:
    metrics = evaluate.score(BENCHMARK, AT, P).metrics
    assert metrics["class"]["vehicle"] == {
        "objects": 0,
        "hits": 0,
        "misses": 0,
        "false_alarms": 1,
        "precision": 0.0,
        "f1": 0.0,
    }
    assert "AP_large" not in metrics
    json.dumps(metrics, allow_nan=False)


def test_an_empty_benchmark_frame_has_no_rates() -> None:
    metrics = evaluate.score(sample((truth(), found())), AT, P).metrics
    assert metrics.keys() == {"objects", "hits", "misses", "false_alarms", "frames", "false_alarms_per_frame", "class"}


def test_confusion_has_a_row_an_object_and_a_row_a_false_alarm() -> None:
    assert evaluate.score(BENCHMARK, AT, P).confusion == [
        ("person", "person"),
        ("background", "person"),
        ("person", "background"),
        ("person", "vehicle"),
    ]


def test_groups_of_every_attribute() -> None:
    groups = evaluate.score(BENCHMARK, AT, P).groups.groups
    attributes = ["class", "camera", "time", "height", "object brightness", "camera x object brightness"]
    assert list(groups) == attributes
    few = {"verdict": "not assessable", "reason": "0 of 1 objects", "objects": 0, "needed": 1}
    assert groups["class"]["vehicle"] == few
    assert groups["camera x object brightness"]["hall x dark"]["misses"] == 2
    assert list(groups["time"]) == ["1st third", "2nd third", "3rd third"]
    assert groups["object brightness"]["dark"]["recall"] == pytest.approx(1 / 3)
    assert "precision" not in groups["object brightness"]["dark"]
    assert groups["camera"]["hall"]["precision"] == pytest.approx(1 / 3)


def test_attributes_of_frames_are_groups() -> None:
    frames = (frame(0, attributes={"weather": "rain"}), frame(1, attributes={"weather": "fog"}))
    two = Sample(frames, BENCHMARK.truths[:2], BENCHMARK.found[:2], CLASSES)
    weather = evaluate.score(two, AT, P).groups.groups["frame weather"]
    assert {name: values["recall"] for name, values in weather.items()} == {"fog": 0.0, "rain": 1.0}


@pytest.mark.parametrize(
    ("rows", "threshold", "chosen"),
    [
        pytest.param(
            [(PERSON, found((BOX, 0.7, 0), (FAR, 0.4, 0)))], 0.7, {"objects": 1, "f_beta": 1.0},
            id="above-the-false-alarm",
        ),
        pytest.param(
            [(PERSON, found((FAR, 0.7, 0)))], 0.5, {"objects": 1, "reason": "no detection hits an object: no choice"},
            id="nothing-found",
        ),
        pytest.param([], 0.5, {"objects": 0, "reason": "no object of this class: no choice"}, id="no-frame"),
    ],
)  # fmt: skip
def test_threshold_is_chosen_on_validation(
    rows: list[tuple[Truth, Detections]], threshold: float, chosen: dict[str, object]
) -> None:
    operating = evaluate.operating_point(sample(*rows), P)
    assert operating["threshold"] == pytest.approx({"person": threshold, "vehicle": 0.5})
    assert operating["chosen_on"]["split"] == "val"
    assert chosen.items() <= operating["chosen_on"]["class"]["person"].items()


def test_the_chosen_threshold_keeps_its_own_detection() -> None:
    """A float32 score becomes JSON and comes back: the detection that made it must still pass."""
    rows = [(PERSON, found((BOX, 0.1 + i / 97, 0))) for i in range(80)]
    operating = json.loads(json.dumps(evaluate.operating_point(sample(*rows), P)))
    assert evaluate.score(sample(*rows), operating["threshold"], P).metrics["recall"] == 1.0


def test_scores_are_read_as_validation_taught() -> None:
    """Every score of 0.5 was a perfect box on validation: calibrated, that is what it says."""
    rows = sample(*[(PERSON, found((BOX, 0.5, 0)))] * 4)
    operating = json.loads(json.dumps(evaluate.operating_point(rows, P)))
    assert operating["calibration"]["person"]["knots"] == [[0.5, 1.0]]
    assert operating["calibration"]["vehicle"]["knots"] == []
    scores = evaluate.score(rows, operating["threshold"], P)
    figures = evaluate.diagnosis(rows, scores, operating, P).figures["calibration"]
    assert (figures["LaECE0_before"], figures["LaECE0_after"]) == pytest.approx((0.5, 0.0))


def test_the_worst_frame_of_each_second_comes_first() -> None:
    clean, one = (PERSON, found((BOX, 0.9, 0))), (PERSON, found())
    two = (PERSON, found((FAR, 0.9, 0)))
    rows = sample(one, two, clean, one, two)  # seconds 0, 0, 1, 1, 2
    scores = evaluate.score(rows, AT, P)
    assert evaluate.worst(rows.frames, scores, 9) == [1, 4, 3, 0]
    assert evaluate.worst(rows.frames, scores, 2) == [1, 4]


@pytest.mark.parametrize(
    ("at", "color"),
    [
        pytest.param((0, 20), evaluate.GREEN, id="hit"),
        pytest.param((100, 20), evaluate.ORANGE, id="false-alarm"),
        pytest.param((150, 20), evaluate.RED, id="miss"),
    ],
)
def test_errors_are_drawn_in_their_colours(at: tuple[int, int], color: tuple[int, int, int]) -> None:
    rows = sample((truth((BOX, 0), ([150, 0, 170, 40], 0)), found((BOX, 0.9, 0), (FAR, 0.9, 0))))
    image = np.zeros((100, 200, 3), np.uint8)
    scores = evaluate.score(rows, AT, P)
    drawn = evaluate.draw_errors(image, rows, 0, scores, P)
    assert drawn.shape[1] == evaluate.GALLERY_CELL
    x, y = (round(v * evaluate.GALLERY_CELL / 200) for v in at)
    assert (drawn[y, x : x + 3] == color).all(axis=1).any()


@pytest.mark.parametrize(
    ("box", "human", "size"),
    [
        pytest.param([300, 200, 320, 240], None, (640, 360), id="small"),
        pytest.param([0, 0, 30, 60], [2, 2, 30, 80], (640, 360), id="in-the-corner"),
        pytest.param([610, 300, 640, 360], [600, 300, 640, 360], (640, 360), id="in-the-other-corner"),
        pytest.param([0, 0, 640, 360], [5, 5, 600, 350], (640, 360), id="the-whole-frame"),
        pytest.param([10, 10, 30, 30], [10, 12, 28, 30], (40, 40), id="in-a-tiny-frame"),
        pytest.param([20, 100, 40, 900], None, (60, 1000), id="in-a-tall-frame"),
    ],
)
def test_an_issue_is_drawn_with_both_boxes_in_one_size(
    box: list[float], human: list[float] | None, size: tuple[int, int]
) -> None:
    there = {} if human is None else {"human_label": 0, "human_box": tuple(human), "iou": 0.5}
    issue = Issue("f", Kind.LOOSE_BOX if human else Kind.MISSING_LABEL, 0.5, 0, 0.9, tuple(box), **there)  # type: ignore[arg-type]
    drawn = evaluate.draw_issue(np.zeros((size[1], size[0], 3), np.uint8), issue)
    assert drawn.shape == (evaluate.ISSUE_CELL[1], evaluate.ISSUE_CELL[0], 3)
    assert _longest(drawn, evaluate.ORANGE) >= 8
    assert (_longest(drawn, evaluate.BLUE) >= 8) == (human is not None)


def _longest(image: NDArray[np.uint8], color: tuple[int, int, int]) -> int:
    """Pixels of this colour in the column or row that has most."""
    there = (image == color).all(axis=2)
    return int(max(there.sum(axis=0).max(), there.sum(axis=1).max()))


def test_without_an_issue_the_sheet_is_empty(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames.parquet", [])
    assert evaluate.issue_sheet(tmp_path, [], CLASSES).startswith(b"\x89PNG")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight frames, half validation and half benchmark, and a detector that has learned nothing."""
    monkeypatch.chdir(tmp_path)
    data = {"name": "x", "format": "images", "path": "x", "labels": {"format": "coco", "path": "x"}}
    data |= {"classes": list(CLASSES), "rename": {}, "count_only": [], "ignore": []}
    sections = {"input": {"width": 64, "height": 64}, "data": data, "evaluate": SECTION}
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    rng = np.random.default_rng(0)
    frames = []
    with ShardWriter(tmp_path / "frames", 1 << 20) as shards:
        for i in range(8):
            image: NDArray[np.uint8] = rng.integers(0, 255, (100, 200, 3), dtype=np.uint8)
            place = shards.write(f"f{i}.jpg", encode_jpeg(image, 90))
            frames.append(frame(i, shard=place.shard, offset=place.offset, length=place.length))
    write_frames(tmp_path / "frames" / "frames.parquet", frames)
    annotations = [
        Annotation(f.frame_id, CLASSES[f.index % 2], 10, 10, 30, 60, attributes={"dark": "no"}) for f in frames
    ]
    write_annotations(tmp_path / "annotations" / "annotations.parquet", annotations)
    splits = [Assignment(f.frame_id, Split.VAL if f.index < 4 else Split.BENCHMARK, "hall") for f in frames]
    write_splits(tmp_path / "splits" / "splits.parquet", splits)
    torch.manual_seed(0)
    save_tensors(tmp_path / "model" / "best.safetensors", build("nano", 2, (64, 64), "none").state_dict())
    card = {"name": "nano", "classes": CLASSES, "width": 64, "height": 64}
    write_json(tmp_path / "model" / "model.json", card)
    return tmp_path


PATHS = {"weights": "model", "frames": "frames", "annotations": "annotations", "splits": "splits", "out": "out"}
ARGUMENTS = [word for name, path in PATHS.items() for word in (f"--{name}", path)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_whole_stage_gives_the_same_bytes_twice(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate.main(ARGUMENTS)
    first = contents(world / "out")
    (world / "out" / "stale.txt").write_text("from an earlier run")
    evaluate.main(ARGUMENTS)
    assert contents(world / "out") == first
    drawn = ("confusion", "false_alarms", "gallery", "groups", "heights", "iou", "label_issues", "pr", "reliability")
    documents = ("comparisons", "groups", "label_issues", "metrics", "operating", "preconditions")
    files = {f"figures/{name}.png" for name in (*drawn, "tide")} | {f"{name}.json" for name in documents}
    assert first.keys() == files | {"confusion.csv", "iou.csv", "pr.csv", "detections.parquet"}
    assert "4 objects in 4 benchmark frames" in capsys.readouterr().out


def test_detections_are_the_benchmarks_alone(world: Path) -> None:
    evaluate.main(ARGUMENTS)
    detections = read_detections(world / "out" / "detections.parquet", [])
    assert detections.keys() == {"f4", "f5", "f6", "f7"}
    with (world / "out" / "pr.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 101
    assert rows[0].keys() == {"recall", "precision", "class"}


def test_without_a_benchmark_there_is_nothing_to_say(world: Path) -> None:
    write_splits(world / "splits" / "splits.parquet", [Assignment("f0", Split.VAL, "hall")])
    with pytest.raises(DataError, match="benchmark split holds no frame"):
        evaluate.main(ARGUMENTS)
    assert not (world / "out").exists()
