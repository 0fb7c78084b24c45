import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.report import main

HOSTILE = "<script>alert('lobby')</script>"
ROOT = Path(__file__).parents[1]

GROUP = {
    "verdict": "assessable", "objects": 412, "hits": 371, "misses": 41, "false_alarms": 12, "precision": 0.969,
    "recall": 0.9005, "f1": 0.933, "mean_iou": 0.791, "recall_low": 0.868, "recall_high": 0.926, "AP50": 0.913,
}  # fmt: skip
OBJECT_GROUP = {key: value for key, value in GROUP.items() if key not in {"precision", "f1", "false_alarms", "AP50"}}
SHORT = {"verdict": "not assessable", "objects": 4, "needed": 30}
CAMERA = {
    "frames": 620, "usable": 618, "clips": 1, "seconds": 41.3, "sizes": {"960x540": 620}, "luminance": 112.4,
    "contrast": 51.0, "sharpness": 210.7, "under_exposed": 0.0131, "over_exposed": 0.002,
}  # fmt: skip


def files(camera: str) -> dict[str, Any]:
    """What every stage leaves, as the stages write it."""
    scores = {
        "objects": 412,
        "AP": 0.612,
        "AP50": 0.913,
        "precision": 0.969,
        "recall": 0.9,
        "f1": 0.933,
        "mean_iou": 0.79,
    }
    return {
        "data/frames/ingest.json": {
            "files": 2, "ignored_files": {".txt": 1}, "frames": 1240, "usable": 1236,
            "quarantined": {"duplicate": 3, "too dark": 1}, "duplicates": {"exact": 3, "near": 0},
            "cameras": {camera: CAMERA, "workshop": CAMERA | {"luminance": None}},
        },
        "data/annotations/annotate.json": {
            "frames": {"usable": 1236, "labelled": 1200, "labelled_empty": 37},
            "boxes": {"person": 2100, "vehicle": 900},
            "ignore_regions": 44, "origins": {"human": 3000}, "attributes": {"brightness": {"dark": 40}},
            "annotators": {"ann": 1200}, "clipped": 2,
            "agreement": {
                "tasks": 20, "mean_iou": 0.91, "mean_f1": 0.96, "disputed_boxes": 1, "outvoted_boxes": 0, "worst": []
            },
            "left_out": {f"unknown label {camera!r}": {"count": 5, "tasks": ["17"]}},
        },
        "data/splits/split.json": {
            "by": "chronological", "seed": 0, "frames": 1240, "usable": 1236, "labelled": 1200, "left_out_in_gaps": 12,
            "warnings": ["val holds no vehicle"],
            "splits": {
                name: {"frames": n, "objects": {"person": 2 * n, "vehicle": n}, "cameras": {camera: n}, "groups": 1}
                for name, n in (("train", 700), ("val", 180), ("benchmark", 308))
            },
        },
        "data/training/augment.json": {
            "policy": "surveillance", "size": [320, 192], "frames": 700, "pictures": 1400,
            "boxes": {"person": 2800, "vehicle": 1400}, "ignore_regions": 60,
            "made_ignore": {"too_small": 31, "too_hidden": 2}, "operations": {"low_light": 210, "noise": 172},
        },
        "models/train/model.json": {"name": "nano", "classes": ["person", "vehicle"], "width": 320, "height": 192},
        "models/train/train.json": {"epochs": 6, "best_epoch": 5, "best_val_AP": 0.61, "parameters": 1102345},
        "models/export/contract.json": {
            "model": "nano", "classes": ["person", "vehicle"], "thresholds": {"person": 0.41, "vehicle": 0.38},
            "input": {
                "name": "images", "width": 320, "height": 192, "layout": "NCHW", "dtype": "uint8", "color": "RGB",
                "letterbox": "centre", "fill": 114,
            },
            "output": {"boxes": "boxes", "scores": "scores", "score_floor": 0.01, "nms_iou": 0.6, "max_detections": 9},
            "opset": 18, "files": {"model.onnx": "ab" * 32, "model-b1.onnx": "cd" * 32}, "weights": "ef" * 32,
            "training_data": "01" * 32, "calibration": "", "producers": {"torch": "2.15.0", "onnx": "1.23.2"},
        },
        "models/export/parity.json": {
            "passed": True, "frames": 16, "max_abs_difference": 1.2e-4, "detections_equal": True, "rtol": 0.001,
            "atol": 0.001,
            "runs": [
                {"file": "model.onnx", "batch": 8, "boxes": 1.2e-4, "scores": 3e-7, "detections_equal": True,
                 "passed": True, "reason": ""},
                {"file": "model-b1.onnx", "batch": 1, "boxes": None, "scores": None, "detections_equal": False,
                 "passed": False, "reason": "another number of candidates"},
            ],
        },
        "reports/evaluate/metrics.json": scores | {
            "frames": 308, "false_alarms_per_frame": 0.04, "class": {"person": scores, "vehicle": {"objects": 0}},
        },
        "reports/evaluate/operating.json": {
            "threshold": {"person": 0.41, "vehicle": 0.38}, "chosen_on": {}, "match_iou": 0.5, "frames": 180,
        },
        "reports/evaluate/groups.json": {
            "class": {"person": GROUP, "vehicle": SHORT}, "camera": {camera: GROUP},
            "object brightness": {"dark": SHORT, "bright": OBJECT_GROUP},
        },
        "reports/gate.json": {
            "verdict": "refuse", "reasons": ["class.vehicle.AP50: not measured"],
            "lines": [
                {"metric": "export.parity", "figure": 1.2e-4, "min": None, "max": None, "passed": True, "reason": ""},
                {"metric": "class.person.AP50", "figure": 0.913, "min": 0.8, "max": None, "passed": True, "reason": ""},
                {"metric": "class.vehicle.AP50", "figure": None, "min": 0.8, "max": None, "passed": False,
                 "reason": "not measured"},
            ],
        },
        "reports/register.json": {
            "model": "sightline", "iteration": "a1" * 32, "weights": "ef" * 32, "benchmark": "b2" * 32,
            "verdict": "refuse", "AP": 0.612, "max_regression": 0.01, "challenger": True, "champion": False,
            "met": {"weights": "d4" * 32, "AP": 0.6, "comparable": True},
            "reason": "the gate refuses it: class.vehicle.AP50: not measured",
        },
    }  # fmt: skip


PICTURES = (
    "data/training/preview.png",
    *(f"reports/evaluate/figures/{name}.png" for name in ("pr", "confusion", "iou", "groups", "gallery")),
)
CURVES = [
    {"epoch": n, "loss": 3 / n, "loss/box": 2 / n, "lr": 0.002 / n}
    | ({"val/AP": 0.1 * n, "val/AP50": 0.15 * n} if n % 2 == 0 else {})
    for n in range(1, 7)
]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return build_world(tmp_path, monkeypatch, "lobby")


def build_world(root: Path, monkeypatch: pytest.MonkeyPatch, camera: str) -> Path:
    for name, content in files(camera).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content))
    (root / "models/train/curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CURVES))
    (root / "reports/evaluate/figures").mkdir()
    for name in PICTURES:
        picture = cv2.imencode(".png", np.full((40, 60, 3), 90, np.uint8))[1]
        (root / name).write_bytes(picture.tobytes())
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(root)
    return root


def run_report(out: Path = Path("reports/index.html")) -> str:
    main(["--data", "data", "--models", "models", "--reports", "reports", "--out", str(out)])
    return out.read_text(encoding="utf-8")


class Words(HTMLParser):
    text = ""

    def handle_data(self, data: str) -> None:
        self.text += data


def text_of(html: str) -> str:
    """What a reader sees, spaces and line ends as one space."""
    reader = Words()
    reader.feed(re.sub(r"<t|<dd", r" \g<0>", html))  # cells stand apart
    return " ".join(reader.text.replace("\u202f", " ").split())


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of the page of the usual world."""
    with pytest.MonkeyPatch.context() as patch:
        build_world(tmp_path_factory.mktemp("world"), patch, "lobby")
        return text_of(run_report())


def test_the_page_tells_the_whole_iteration(seen: str) -> None:
    titles = (
        "Conditions", "Data", "Labels", "Splits", "Augmentation", "Training", "Benchmark", "Groups", "Failures",
        "Export", "Registry",
    )  # fmt: skip
    places = [seen.index(f"{title} {question}") for title, question in zip(titles, QUESTIONS, strict=True)]
    assert places == sorted(places)


QUESTIONS = (
    "May it be promoted?", "What was collected", "What do people say", "What may the model see", "Which conditions",
    "How did it learn?", "How good is it?", "For whom, where and when", "Where does it fail?", "What ships?",
    "Which version is the champion?",
)  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [
        pytest.param("✗ May not be promoted: 2 of 3 conditions hold", id="verdict"),
        pytest.param("class.vehicle.AP50: not measured", id="reason"),
        pytest.param("class.person.AP50 at least 0.8 0.913 ✓ holds", id="condition"),
        pytest.param("lobby 620 618 1 960x540 112.4 51.0 210.7 0.013 0.002", id="camera"),
        pytest.param("too dark 1", id="quarantine"),
        pytest.param("vehicle 900", id="boxes"),
        pytest.param("unknown label 'lobby' 5", id="left out"),
        pytest.param("benchmark 308 1 1 616 308", id="split"),
        pytest.param("No leak was found", id="leakage"),
        pytest.param("val holds no vehicle", id="warning"),
        pytest.param("low_light 210", id="operation"),
        pytest.param("Parameters 1 102 345", id="model"),
        pytest.param("person 412 0.612 0.913 0.969 0.900 0.933 0.790 0.410", id="class"),
        pytest.param("vehicle 0 - - - - - - 0.380", id="class without objects"),
        pytest.param("lobby 412 0.900 0.868 to 0.926 0.969 0.913 0.791 12", id="group"),
        pytest.param("dark 4 - not assessable: fewer than 30 objects - - - -", id="group that is too small"),
        pytest.param("bright 412 0.900 0.868 to 0.926 - - 0.791 -", id="group without false alarms"),
        pytest.param("5 groups, 2 of them not assessable", id="groups"),
        pytest.param("model-b1.onnx 1 - - ✗ another number of candidates", id="parity"),
        pytest.param("torch 2.15.0", id="producer"),
        pytest.param("Why: the gate refuses it: class.vehicle.AP50: not measured.", id="decision"),
        pytest.param("AP of the champion it met 0.600", id="champion"),
        pytest.param("make ui", id="way to the registry"),
    ],
)
def test_it_shows(seen: str, told: str) -> None:
    assert told in seen


def test_every_source_is_named(seen: str) -> None:
    silent = "models/train/model.json"  # its name, classes and size stand in the title and beside train.json's
    read = {*files("lobby"), *PICTURES, "models/train/curves.jsonl"} - {silent}
    assert not [name for name in read if name not in seen]


def test_the_same_files_give_the_same_bytes_wherever_they_lie(world: Path, tmp_path: Path) -> None:
    page = run_report()
    main([*("--data", str(world / "data"), "--models", str(world / "models")),
          *("--reports", str(world / "reports"), "--out", "other.html")])  # fmt: skip
    assert (world / "other.html").read_text(encoding="utf-8") == page


def test_names_from_outside_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_world(tmp_path, monkeypatch, HOSTILE)
    page = run_report()
    assert "<script" not in page
    assert HOSTILE in text_of(page)


def test_nothing_is_fetched(world: Path) -> None:
    page = run_report()
    assert not [url for url in re.findall(r'(?:src|href)="([^"]*)"', page) if not url.startswith(("#", "data:"))]
    assert "url(http" not in page
    assert "@import" not in page


@pytest.mark.parametrize("name", [*files("lobby"), "models/train/curves.jsonl"])
def test_a_missing_file_names_the_stage_to_run(world: Path, name: str) -> None:
    (world / name).unlink()
    stage = {"frames": "ingest", "annotations": "annotate", "splits": "split", "training": "augment"}.get(
        Path(name).parts[1], Path(name).parts[1].removesuffix(".json")
    )
    with pytest.raises(DataError, match=rf"{re.escape(name)} does not exist; run: dvc repro {stage}$"):
        run_report()
    assert not (world / "reports/index.html").exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        pytest.param("reports/gate.json", "[]", "holds no object; run: dvc repro -f gate", id="a list"),
        pytest.param("reports/gate.json", "{", "is not JSON", id="broken"),
        pytest.param("reports/gate.json", "{}", "has no 'verdict'.*run: dvc repro -f gate", id="without keys"),
        pytest.param(
            "models/train/curves.jsonl", "{}\nx\n", "is not JSON lines.*run: dvc repro -f train", id="no lines"
        ),
    ],
)
def test_a_file_of_another_shape_is_an_error(world: Path, name: str, content: str, told: str) -> None:
    (world / name).write_text(content)
    with pytest.raises(DataError, match=told):
        run_report()


def test_a_pass_is_told_first(world: Path) -> None:
    gate = files("lobby")["reports/gate.json"]
    gate |= {"verdict": "promote", "reasons": [], "lines": gate["lines"][:2]}
    (world / "reports/gate.json").write_text(json.dumps(gate))
    assert "✓ May be promoted: 2 of 2 conditions hold" in text_of(run_report())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param("reports/evaluate/figures/gallery.png", "No miss and no false alarm", id="no failure"),
        pytest.param("data/training/preview.png", "Augmentation", id="no preview"),
    ],
)
def test_pictures_that_a_stage_may_leave_out(world: Path, name: str, told: str) -> None:
    (world / name).unlink()
    seen = text_of(run_report())
    assert told in seen
    assert f"Source: {name}" not in seen


def test_a_training_without_validation_still_has_its_loss(world: Path) -> None:
    rows = [{key: value for key, value in row.items() if not key.startswith("val/")} for row in CURVES]
    (world / "models/train/curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = text_of(run_report())
    assert "Loss by epoch" in seen
    assert "Validation by epoch" not in seen
