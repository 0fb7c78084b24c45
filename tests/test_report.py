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
from tests.tried import NOTHING, tried, write_clips

HOSTILE = "<script>alert('lobby')</script>"
ROOT = Path(__file__).parents[1]

GROUP = {
    "verdict": "assessable", "objects": 412, "hits": 371, "misses": 41, "false_alarms": 12, "precision": 0.969,
    "recall": 0.9005, "f1": 0.933, "mean_iou": 0.791, "recall_low": 0.868, "recall_high": 0.926, "AP50": 0.913,
}  # fmt: skip
OBJECT_GROUP = {key: value for key, value in GROUP.items() if key not in {"precision", "f1", "false_alarms", "AP50"}}
SHORT = {"verdict": "not assessable", "reason": "4 of 30 objects", "objects": 4, "needed": 30}
GAP = {
    "attribute": "object brightness", "value": "dark", "objects": 412, "recall": 0.81, "verdict": "gap shown",
    "min_support": 380, "more_objects": 0, "more_clusters": 0, "unit": "time block", "reference": "bright",
    "reference_recall": 0.93, "ratio": 0.871, "raw": {"gap": 0.12, "low": 0.05, "high": 0.19, "p": 0.001},
    "stratified": {"gap": 0.11, "low": 0.04, "high": 0.18, "p": 0.002}, "strata": ["height"], "shared": 0.97,
    "p_holm": 0.006, "reading": "",
}  # fmt: skip
UNSEEN = {"value": "below 48 px", "state": "not assessed", "objects": 4, "reason": "4 of 30 objects", "recall": None}
SEEN = {
    "value": "48 px and more", "state": "holds", "objects": 300, "recall": 0.96, "recall_low": 0.92,
    "recall_high": 0.98, "unit": "time block", "low": 48.0, "high": None,
}  # fmt: skip
CAMERA = {
    "frames": 620, "usable": 618, "clips": 1, "seconds": 41.3, "sizes": {"960x540": 620}, "luminance": 112.4,
    "contrast": 51.0, "sharpness": 210.7, "under_exposed": 0.0131, "over_exposed": 0.002,
}  # fmt: skip


ISSUE = {
    "frame_id": "a1", "split": "benchmark", "camera": "hall", "clip": "hall.mp4", "index": 123, "kind": "missing_label",
    "suspicion": 0.93, "label": "person", "score": 0.94, "box": [10.0, 20.0, 30.0, 60.0], "human": None, "iou": None,
}  # fmt: skip


LINE = {
    "limit": "class.person.AP50", "figure": 0.913, "min": 0.8, "max": None, "low": None, "high": None,
    "evidence": "412 objects", "source": "evaluate/metrics.json", "result": "holds", "reason": "",
}  # fmt: skip
LEDGER = {
    "version": 2, "date": "2025-11-20", "frames": 1200, "frames_added": 400, "labels": 3000, "labels_added": 810,
    "benchmark": "b2" * 32, "AP": 0.6, "AP50": 0.9, "worst_group": "camera lobby", "worst_recall": 0.81,
    "robustness": 0.68, "verdict": "promote", "minutes": 7.3,
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
            "annotators": {
                "ann": {"tasks": 1200, "shared": 20, "boxes": 3044, "mean_f1": 0.96, "mean_iou": 0.91, "disputed": 1,
                        "missed": 0},
                "bob": {"tasks": 20, "shared": 20, "boxes": 51, "mean_f1": 0.96, "mean_iou": 0.91, "disputed": 0,
                        "missed": 3},
            },
            "mended": {"clipped": 2, "negative side": 6},
            "agreement": {
                "tasks": 20, "mean_iou": 0.91, "mean_f1": 0.96, "disputed_boxes": 1, "outvoted_boxes": 0, "worst": [],
                "interval_f1": {"low": 0.921, "high": 0.985},
                "interval_iou": {"not_assessable": "alike in all 20 tasks"},
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
        "models/train/train.json": {"epochs": 6, "best_epoch": 5, "best_val_AP": 0.61},
        "models/export/cpu/contract.json": {
            "model": "nano", "classes": ["person", "vehicle"], "thresholds": {"person": 0.41, "vehicle": 0.38},
            "input": {
                "name": "images", "width": 320, "height": 192, "layout": "NCHW", "dtype": "uint8", "color": "RGB",
                "letterbox": "centre", "fill": 114,
            },
            "output": {"boxes": "boxes", "scores": "scores", "score_floor": 0.01, "nms_iou": 0.6, "max_detections": 9},
            "opset": 18, "target": "cpu", "default": "fp32",
            "artifacts": {
                "fp32": {"files": {"model.onnx": "ab" * 32}}, "fp32-b1": {"files": {"model-b1.onnx": "cd" * 32}},
            },
            "weights": "ef" * 32,
            "training_data": "01" * 32, "calibration": "", "producers": {"torch": "2.15.0", "onnx": "1.23.2"},
        },
        "models/export/export.json": {
            "calibration": {"frames": 128, "sha256": "23" * 32}, "validation_frames": 54,
            "targets": {"cpu": {"fewer_bits": {"int8": {
                "float_AP": 71.52, "AP": 71.26, "kept_in_float": ["head.0"],
                "damage": {"head.1": 0.2, "stem": 0.1, "head.0": 0.3},
                "drop_by_calibration_frames": {"64": 0.5, "256": 0.25},
            }}}},
        },
        "models/export/parity.json": {
            "passed": True, "frames": 16, "max_abs_difference": 1.2e-4, "detections_equal": True, "rtol": 0.001,
            "atol": 0.001,
            "runs": [
                {"target": "cpu", "artifact": "fp32", "batch": 8, "boxes": 1.2e-4, "scores": 3e-7,
                 "detections_equal": True, "passed": True, "reason": ""},
                {"target": "cpu", "artifact": "fp32-b1", "batch": 1, "boxes": None, "scores": None,
                 "detections_equal": False, "passed": False, "reason": "another number of candidates"},
            ],
        },
        "reports/evaluate/metrics.json": scores | {
            "frames": 308, "false_alarms_per_frame": 0.04, "class": {"person": scores, "vehicle": {"objects": 0}},
            "tide": {"dAP": {"missed": 0.101, "false_negative": 0.12}, "count": {"missed": 31, "background": 9}},
            "false_alarms_by_cause": {
                "background": 7, "poor_box": 5,
                "class": {"person": {"background": 6, "poor_box": 4}, "vehicle": {"background": 1, "poor_box": 1}},
            },
            "calibration": {
                "LaECE0_before": 0.21, "LaECE0_after": 0.04, "class": {
                    "person": {"detections": 383, "LaECE0_before": 0.21, "LaECE0_after": 0.04, "LaECE_before": 0.25,
                               "LaECE_after": 0.05},
                    "vehicle": {"detections": 2},
                },
            },
        },
        "reports/evaluate/operating.json": {
            "threshold": {"person": 0.41, "vehicle": 0.38},
            "chosen_on": {
                "split": "val", "match_iou": 0.5, "frames": 180, "hours": 0.05,
                "rule": {"rule": "false_alarms_per_hour", "beta": 1.0, "budget": 20.0},
                "class": {
                    "person": {"objects": 200, "recall": 0.912, "precision": 0.951, "f_beta": 0.931, "false_alarms": 1,
                               "false_alarms_per_frame": 0.0056, "false_alarms_per_hour": 20.0},
                    "vehicle": {"objects": 0, "reason": "no object of this class: no choice"},
                },
            },
            "calibration": {
                "person": {"objects": 200, "detections": 300, "knots": [[0.2, 0.1]]},
                "vehicle": {"objects": 0, "detections": 3, "knots": [], "reason": "not assessable: 0 objects"},
            },
        },
        "reports/evaluate/groups.json": {
            "class": {"person": GROUP, "vehicle": SHORT}, "camera": {camera: GROUP},
            "object brightness": {"dark": SHORT, "bright": OBJECT_GROUP},
        },
        "reports/evaluate/comparisons.json": {
            "max_gap": 0.1, "without": ["object occluded"], "comparisons": [GAP | {"value": camera}],
            "counts": {"gap shown": 1, "no gap larger than the limit": 0, "not assessable": 0},
        },
        "reports/evaluate/preconditions.json": {
            "recall_floor": 0.9, "smallest_height_px": 48.0,
            "conditions": [
                {"condition": "height", "title": "Box height", "state": "assessed", "parts": [UNSEEN, SEEN],
                 "words": "Recall is at least 0.90: 48 px and more."},
                {"condition": "frame weather", "title": camera, "state": "not assessed", "parts": [],
                 "words": "Not assessed: no frame has the attribute."},
            ],
        },
        "reports/evaluate/label_issues.json": {
            "frames": {"benchmark": 308, "val": 180}, "objects": 1012,
            "counts": {"missing_label": 31, "wrong_class": 2, "loose_box": 7},
            "issues": [
                ISSUE | {"camera": camera},
                ISSUE | {"kind": "wrong_class", "suspicion": 0.71, "iou": 0.88,
                         "human": {"label": "vehicle", "box": [1.0, 2.0, 3.0, 4.0]}},
                *[ISSUE | {"kind": "loose_box", "suspicion": 0.3, "index": n} for n in range(1000, 1020)],
            ],
        },
        "reports/robustness/robustness.json": {
            "frames": 48, "objects": 46, "cameras": {camera: 48}, "seed": 0, "variants": 3,
            "plain": {"AP": 0.6, "AP50": 0.9, "class": {}}, "mPC": {"all": {"AP": 0.3, "AP50": 0.6, "class": {}}},
            "rPC": {"all": {"AP": 0.5, "AP50": 0.66, "class": {}}},
            "corruptions": {"fog": {"family": "common", "severity": {"1": {"AP": 0.4}, "5": {"AP": 0.2}},
                                    "mean": {"AP": 0.3}, "rPC": {"AP": 0.5}}},
            "patch": {"not_assessed": "the model is not differentiable here"},
        },
        "reports/explain/costs.json": {
            "parameters": 1102345, "macs": 252374400, "bytes": {"weights": 4285480, "cpu": {"fp32": 4279307}},
        },
        "reports/explain/explain.json": {
            "input": [320, 192], "frames": 16, "parts": [{"name": "backbone", "parameters": 1, "macs": 126187200}],
            "levels": [{"stride": 8, "channels": 48, "width": 40, "height": 24, "field": [304, 192],
                        "effective": 74.9, "holds": 0.104}],
            "objects": {"person": {"objects": 0}}, "first": None, "layers": [], "cases": [],
        },
        "reports/select/select.json": {
            "budget": 50, "unlabelled": 36, "left_out": {"looks like a labelled one": 30}, "labelled": 880,
            "in_doubt": 4, "second_looks": [], "frames": [
                {"camera": camera, "clip": camera, "index": 77, "score": 0.5, "reason": "seen otherwise in the mirror",
                 "signals": {"uncertainty": 0.1, "disagreement": 0.9, "weakness": 0.2, "rarity": 0.3}},
            ],
        },
        "reports/verify/verify.json": {
            "frames": 308, "objects": 412, "reference": {"AP": 0.57},
            "limits": {"min_support": 50, "max_recall_drop": 0.02},
            "artifacts": {
                "cpu/int8": {
                    "engine": "onnxruntime", "precision": "int8", "verified": False,
                    "reasons": ["loses 3 points of AP"], "not_assessed": "",
                }
            },
        },
        "reports/fieldtest/fieldtest.json": tried(camera),
        "reports/gate.json": {
            "verdict": "refuse", "strict": False, "reasons": ["class.vehicle.AP50: not measured"],
            "conditions": ["camera lobby: recall: 8 of 30 objects"],
            "lines": [
                LINE | {"limit": "export.parity", "figure": 1.2e-4, "min": None, "evidence": "16 frames",
                        "source": "export/parity.json"},
                LINE | {"low": 0.88, "high": 0.94},
                LINE | {"limit": "class.vehicle.AP50", "figure": None, "result": "fails", "reason": "not measured"},
                LINE | {"limit": f"camera {camera}: recall", "figure": None, "result": "not assessed",
                        "reason": "8 of 30 objects", "source": "evaluate/groups.json"},
            ],
        },
        "reports/register.json": {
            "model": "sightline", "iteration": "a1" * 32, "weights": "ef" * 32, "benchmark": "b2" * 32,
            "verdict": "refuse", "reasons": ["class.vehicle.AP50: not measured"], "AP": 0.612, "challenger": True,
            "conditions": ["camera lobby: recall: 8 of 30 objects"], "champion": False,
            "met": {"weights": "d4" * 32, "AP": 0.6, "comparable": True},
            "comparison": LINE | {"limit": "AP against the champion", "figure": 0.012, "min": -0.05, "low": -0.01,
                                  "high": 0.034, "source": "evaluate/detections.parquet"},
            "reason": "refused: class.vehicle.AP50: not measured",
        },
        "reports/ledger.json": {"iterations": [LEDGER | {"version": 1}, LEDGER | {"AP": 0.62, "date": None}]},
    }  # fmt: skip


PICTURES = (
    "data/training/preview.png",
    *(f"reports/evaluate/figures/{name}.png" for name in ("confusion", "gallery")),
    "reports/evaluate/figures/label_issues.png",
    "reports/select/sheet.png",
    "reports/robustness/figures/corruptions.png",
    *(f"reports/explain/figures/{name}.png" for name in ("fields", "maps")),
    *(f"reports/evaluate/figures/{name}.png" for name in ("false_alarms", "reliability")),
)
TABLES = {
    "reports/evaluate/pr.csv": "recall,precision,class\n"
    + "".join(f"{n / 100:.2f},{1 - (n / 100) ** 4:.6f},person\n" for n in range(101)),
    "reports/evaluate/iou.csv": "iou,objects\n" + "".join(f"{0.5 + n / 20:.2f},{10 * n}\n" for n in range(10)),
}
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
    for name, content in TABLES.items():
        (root / name).write_text(content)
    for stage in ("evaluate", "robustness", "explain"):
        (root / "reports" / stage / "figures").mkdir()
    write_clips(root / "reports/fieldtest", tried(camera))
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
    silent = False  # within what a reader does not see

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - as HTMLParser asks
        self.silent = tag in {"style", "script", "title"}

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self.silent = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self.silent else data


def text_of(html: str) -> str:
    """What a reader sees, spaces and line ends as one space."""
    reader = Words()
    reader.feed(re.sub(r"<t|<dd|<strong|<span", r" \g<0>", html))  # cells stand apart
    return " ".join(reader.text.replace("\u202f", " ").split())


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of the page of the usual world."""
    with pytest.MonkeyPatch.context() as patch:
        build_world(tmp_path_factory.mktemp("world"), patch, "lobby")
        return text_of(run_report())


def test_the_page_tells_the_whole_iteration(seen: str) -> None:
    places = [seen.index(f"{title} # {question}") for title, question in CHAPTERS.items()]
    assert places == sorted(places)


CHAPTERS = {
    "Purpose and conditions asked": "What is it for, and what must it do?",
    "Data": "What was collected",
    "Labels": "What do people say",
    "Splits": "What may the model see",
    "Augmentation": "Which conditions",
    "Training": "How did it learn?",
    "Benchmark": "How good is it?",
    "Operating point": "From which score on",
    "Errors": "What goes wrong",
    "Calibration": "What does a score mean?",
    "Failures": "Where does it fail?",
    "Groups": "For whom, where and when",
    "Robustness": "What does it still find",
    "Looking inside": "What has it learned",
    "Export": "What ships?",
    "What ships, verified": "Is what ships still as good",
    "Field test": "What would the operator have seen?",
    "Preconditions": "Under which conditions does it hold?",
    "Verdict, line by line": "May it be promoted?",
    "Labels to look at again": "Where do the model and people disagree?",
    "What to label next": "Which frames teach most?",
    "Registry": "Which version is the champion?",
    "Iterations": "What did each round cost",
}


@pytest.mark.parametrize(
    "told",
    [
        pytest.param("✗ May not be promoted: 3 of 5 limits hold, 1 not assessed", id="verdict"),
        pytest.param("class.vehicle.AP50: not measured", id="reason"),
        pytest.param("AP50 0.913 412 objects in 308 benchmark frames", id="headline"),
        pytest.param("Lowest recall of a group 0.810 camera lobby", id="worst group"),
        pytest.param("recall at least 0.8 camera lobby", id="asked"),
        pytest.param(
            "class.person.AP50 at least 0.8 0.913 (0.880 to 0.940) ✓ holds 412 objects, in evaluate/metrics.json",
            id="line",
        ),
        pytest.param("camera lobby: recall at least 0.8 8 of 30 objects", id="limit not assessed"),
        pytest.param("AP against the champion at least -0.05 0.012 (-0.010 to 0.034) ✓ holds", id="comparison"),
        pytest.param("1 2025-11-20 400 810 0.600 - 0.900 camera lobby: recall 0.810 0.680 promote 7.3", id="iteration"),
        pytest.param("2 this one 400 810 0.620 +0.020 0.900", id="this iteration"),
        pytest.param("lobby 620 618 1 960x540 112.4 51.0 210.7 0.013 0.002", id="camera"),
        pytest.param("too dark 1", id="quarantine"),
        pytest.param("vehicle 900", id="boxes"),
        pytest.param("unknown label 'lobby' 5", id="left out"),
        pytest.param("negative side 6", id="mended"),
        pytest.param("F1 of matching 0.960 0.921 to 0.985", id="agreement"),
        pytest.param("IoU of matched boxes 0.910 not assessable: alike in all 20 tasks", id="agreement without range"),
        pytest.param("bob 20 20 51 0.960 0.910 0 3", id="annotator"),
        pytest.param("Missing label 31", id="kind of issue"),
        pytest.param("missing label 0.930 - person 0.940 - lobby hall.mp4 123 benchmark", id="issue"),
        pytest.param("wrong class 0.710 vehicle person 0.940 0.880 hall hall.mp4 123", id="issue with a human box"),
        pytest.param("308 of the benchmark split, 180 of the val split", id="frames looked at"),
        pytest.param("lobby lobby 77 0.50 0.10 0.90 0.20 0.30 seen otherwise in the mirror", id="frame to label"),
        pytest.param("benchmark 308 1 1 616 308", id="split"),
        pytest.param("No leak was found", id="leakage"),
        pytest.param("val holds no vehicle", id="warning"),
        pytest.param("low_light 210", id="operation"),
        pytest.param("stride 8 40 x 24 48 304 x 192 75 10%", id="level"),
        pytest.param("Parameters 1 102 345", id="model"),
        pytest.param("person 412 0.612 0.913 0.969 0.900 0.933 0.790 0.410", id="class"),
        pytest.param("vehicle 0 - - - - - - 0.380", id="class without objects"),
        pytest.param("at most 20 false alarms per hour and class", id="rule"),
        pytest.param("person 0.410 200 0.912 0.951 0.931 1 0.006 20.000", id="threshold with its evidence"),
        pytest.param("vehicle 0.380 0 - - - - - - no object of this class: no choice", id="threshold without evidence"),
        pytest.param("Minutes of footage 3.0", id="footage"),
        pytest.param("missed 31 0.101 object that nothing comes near", id="error"),
        pytest.param("false negative - 0.120", id="all misses"),
        pytest.param("poor box 5 4 1", id="cause"),
        pytest.param("person 383 0.210 0.040 0.250 0.050 200", id="calibration"),
        pytest.param(
            "vehicle 2 not assessable not assessable not assessable not assessable 0 not assessable: 0 objects",
            id="calibration of too few",
        ),
        pytest.param("lobby 412 0.900 0.868 to 0.926 0.969 0.913 0.791 12", id="group"),
        pytest.param("dark 4 - not assessable: 4 of 30 objects - - - -", id="group that is too small"),
        pytest.param("bright 412 0.900 0.868 to 0.926 - - 0.791 -", id="group without false alarms"),
        pytest.param("5 groups, 2 of them not assessable", id="groups"),
        pytest.param("+0.120 (+0.05 to +0.19)", id="a-gap"),
        pytest.param("Not held equal, because nothing says it: object occluded", id="what-is-not-held-equal"),
        pytest.param("Recall is at least 0.90: 48 px and more.", id="preconditions"),
        pytest.param("300 objects, by time block", id="evidence-of-a-precondition"),
        pytest.param("cpu/fp32-b1 1 - - ✗ another number of candidates", id="parity"),
        pytest.param(
            "cpu/int8 71.520 71.260 head.0 head.0, head.1, stem 64: +0.50, 256: +0.25", id="what integers cost"
        ),
        pytest.param("✗ refused: loses 3 points of AP", id="a refused artifact"),
        pytest.param("torch 2.15.0", id="producer"),
        pytest.param("Events found 2 of 3 1 false alarms in 45.0 minutes", id="headline of the field test"),
        pytest.param("camera yard 15.0 minutes 0 0 - 0 0.0 (0.0 to 14.8) 0 -", id="a part of the field test"),
        pytest.param("lobby lobby.mp4 ✗ defocused 31.5 - 0.42 edges lost 60%", id="condition of a camera"),
        pytest.param("Missed: person, lobby (120.0 to 130.0 s of lobby.mp4)", id="clip"),
        pytest.param("Why: refused: class.vehicle.AP50: not measured.", id="decision"),
        pytest.param("AP of the champion it met 0.600", id="champion"),
        pytest.param("make ui", id="way to the registry"),
    ],
)
def test_it_shows(seen: str, told: str) -> None:
    assert told in seen


def test_every_source_is_named(seen: str) -> None:
    read = {*files("lobby"), *PICTURES, *TABLES, "models/train/curves.jsonl"}
    assert not [name for name in read if name not in seen]


def test_the_same_files_give_the_same_bytes_wherever_they_lie(world: Path, tmp_path: Path) -> None:
    page = run_report()
    main([*("--data", str(world / "data"), "--models", str(world / "models")),
          *("--reports", str(world / "reports"), "--out", "other.html")])  # fmt: skip
    assert (world / "other.html").read_text(encoding="utf-8") == page


def test_a_field_test_of_nothing_is_told_and_stops_nobody(world: Path) -> None:
    (world / "reports/fieldtest/fieldtest.json").write_text(json.dumps(NOTHING))
    seen = text_of(run_report())
    assert "not assessable: no held-out footage" in seen
    assert "Events found not assessed no held-out events" in seen


def test_names_from_outside_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_world(tmp_path, monkeypatch, HOSTILE)
    page = run_report()
    assert page.count("<script") == 1  # the page's own
    assert HOSTILE in text_of(page)


def test_nothing_is_fetched(world: Path) -> None:
    page = run_report()
    urls = {url for url in re.findall(r'(?:src|href)="([^"]*)"', page) if not url.startswith(("#", "data:"))}
    assert urls == {"fieldtest/clips/01-missed.mp4", "fieldtest/clips/02-false-alarm.mp4"}
    assert all((world / "reports" / url).is_file() for url in urls)
    assert "url(http" not in page
    assert "@import" not in page


@pytest.mark.parametrize("name", [*files("lobby"), *TABLES, "models/train/curves.jsonl"])
def test_a_missing_file_names_the_stage_to_run(world: Path, name: str) -> None:
    (world / name).unlink()
    stages = {"frames": "ingest", "annotations": "annotate", "splits": "split", "training": "augment"}
    part = Path(name).parts[1].removesuffix(".json")
    stage = (stages | {"ledger": "register"}).get(part, part)
    with pytest.raises(DataError, match=rf"{re.escape(name)} does not exist; run: dvc repro {stage}$"):
        run_report()
    assert not (world / "reports/index.html").exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        pytest.param("reports/gate.json", "[]", "holds no object; run: dvc repro -f gate", id="a list"),
        pytest.param("reports/gate.json", "{", "is not JSON", id="broken"),
        pytest.param("reports/gate.json", "{}", "has no 'lines'.*run: dvc repro -f gate", id="without keys"),
        pytest.param(
            "models/train/curves.jsonl", "{}\nx\n", "is not JSON lines.*run: dvc repro -f train", id="no lines"
        ),
    ],
)
def test_a_file_of_another_shape_is_an_error(world: Path, name: str, content: str, told: str) -> None:
    (world / name).write_text(content)
    with pytest.raises(DataError, match=told):
        run_report()


@pytest.mark.parametrize(
    ("lines", "changes", "told"),
    [
        pytest.param(2, {"verdict": "promote", "conditions": []}, "✓ May be promoted: 3 of 3 limits hold", id="pass"),
        pytest.param(
            4,
            {"verdict": "promote with conditions"},
            "✓ May be promoted with conditions: 3 of 5 limits hold, 1 not assessed camera lobby: recall: 8 of 30",
            id="conditions",
        ),
    ],
)
def test_a_pass_is_told_first(world: Path, lines: int, changes: dict[str, Any], told: str) -> None:
    gate, register = files("lobby")["reports/gate.json"], files("lobby")["reports/register.json"]
    (world / "reports/gate.json").write_text(json.dumps(gate | {"lines": gate["lines"][:lines]}))
    (world / "reports/register.json").write_text(json.dumps(register | {"reasons": []} | changes))
    assert told in text_of(run_report())


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


def test_the_first_twenty_issues_are_shown(seen: str) -> None:
    assert "hall.mp4 1 017 benchmark" in seen  # the twentieth, after the first two
    assert "hall.mp4 1 018 benchmark" not in seen


def test_labels_without_an_issue_need_no_picture(world: Path) -> None:
    none = {"missing_label": 0, "wrong_class": 0, "loose_box": 0}
    content = files("lobby")["reports/evaluate/label_issues.json"] | {"counts": none, "issues": []}
    (world / "reports/evaluate/label_issues.json").write_text(json.dumps(content))
    seen = text_of(run_report())
    assert "Missing label 0" in seen
    assert "label_issues.png" not in seen


def test_labels_of_one_annotator_have_no_agreement(world: Path) -> None:
    annotate = files("lobby")["data/annotations/annotate.json"]
    alone = annotate["annotators"]["ann"] | {"shared": 0, "mean_f1": None, "mean_iou": None, "disputed": 0}
    annotate |= {"annotators": {"ann": alone}, "agreement": annotate["agreement"] | {"tasks": 0}}
    (world / "data/annotations/annotate.json").write_text(json.dumps(annotate))
    seen = text_of(run_report())
    assert "ann 1 200 0 3 044 - - 0 0" in seen
    assert "Agreement of annotators" not in seen


def test_a_training_without_validation_still_has_its_loss(world: Path) -> None:
    rows = [{key: value for key, value in row.items() if not key.startswith("val/")} for row in CURVES]
    (world / "models/train/curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = text_of(run_report())
    assert "Loss by epoch" in seen
    assert "Validation by epoch" not in seen
