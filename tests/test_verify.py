import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from pipeline import verify
from pipeline.core.errors import DataError
from pipeline.core.params import VerifyParams
from pipeline.core.types import Annotation, Assignment, Frame, Split
from pipeline.io.files import file_sha256
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import write_annotations, write_detections, write_frames, write_splits
from pipeline.modeling.onnx_graph import to_onnx
from pipeline.modeling.predict import predict_with
from pipeline.modeling.state import save_tensors
from pipeline.modeling.zoo import build
from pipeline.runtime.contract import OutputContract
from pipeline.runtime.golden import GOLDEN, write_golden
from pipeline.verify import judge, paying

ROOT = Path(__file__).parents[1]
SIZE = (64, 64)  # width, height
CLASSES = ("person", "vehicle")
FRAMES = 16
RULE = OutputContract(boxes="boxes", scores="scores", score_floor=0.005, nms_iou=0.6, max_detections=8)
PARAMS = VerifyParams.parse("verify", yaml.safe_load((ROOT / "conf/verify/default.yaml").read_text()))

WORLD = {"latency_pictures": 4, "frames": 4, "min_support": 20, "max_recall_drop": 0.05}  # few frames, few objects


def picture(seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (96, 64), interpolation=cv2.INTER_CUBIC), np.uint8)


def nano(seed: int) -> Any:
    """Untrained, with scores far apart: where they are as good as equal, rounding decides what NMS keeps."""
    torch.manual_seed(seed)
    model: Any = build("nano", len(CLASSES), SIZE, "none").eval()
    with torch.no_grad():
        for layer in model.head.logits:
            layer.weight *= 100
    return model


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark on which an untrained model is perfect, because its best detections are the truth."""
    root = tmp_path_factory.mktemp("world")
    images = {f"{i:016x}": picture(i) for i in range(FRAMES)}
    frames = []
    with ShardWriter(root / "frames", 1 << 30) as writer:
        for i, (frame_id, image) in enumerate(images.items()):
            place = writer.write(f"{i}.png", cv2.imencode(".png", image[..., ::-1])[1].tobytes())
            where = place.shard, place.offset, place.length
            frames.append(Frame(frame_id, f"camera {i % 2}", "clip", i, None, 96, 64, "source.mp4", *where))
    model = nano(0)
    found = dict(predict_with(model, images.items(), target=SIZE, rule=RULE, batch_size=8))
    truths = [
        Annotation(frame_id, CLASSES[it.labels[k]], x1, y1, x2 - x1, y2 - y1)
        for frame_id, it in found.items()
        for k, (x1, y1, x2, y2) in enumerate(it.boxes[:5].tolist())
    ]
    write_frames(root / "frames/frames.parquet", frames)
    write_splits(root / "splits/splits.parquet", [Assignment(f.frame_id, Split.BENCHMARK, "clip") for f in frames])
    write_annotations(root / "annotations/annotations.parquet", truths)
    write_detections(root / "evaluate/detections.parquet", found)
    threshold = dict.fromkeys(CLASSES, 0.005)
    (root / "evaluate/operating.json").write_text(json.dumps({"threshold": threshold}))
    (root / "train").mkdir()
    save_tensors(root / "train/best.safetensors", model.state_dict())
    card = {"name": "nano", "classes": list(CLASSES), "width": SIZE[0], "height": SIZE[1]}
    (root / "train/model.json").write_text(json.dumps(card))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["verify"] = PARAMS.model_dump(mode="json") | WORLD
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    for name, seed in (("export", 0), ("other", 1)):
        export(root / name / "cpu", seed)
    return root


def export(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(to_onnx(nano(seed), SIZE, 18, dynamic=True).SerializeToString())
    files = {"model.onnx": file_sha256(folder / "model.onnx")}
    contract = {
        "model": "nano", "classes": CLASSES, "thresholds": dict.fromkeys(CLASSES, 0.005),
        "input": {
            "name": "images", "width": SIZE[0], "height": SIZE[1], "layout": "NCHW", "dtype": "uint8", "color": "RGB",
            "letterbox": "centre", "fill": 114,
        },
        "output": RULE.model_dump(mode="json"), "opset": 18, "target": "cpu", "default": "fp32",
        "artifacts": {
            "fp32": {"engine": "onnxruntime", "precision": "fp32", "batch": 0, "model": "model.onnx", "files": files}
        },
        "weights": "a" * 64, "training_data": "b" * 64, "calibration": "", "producers": {"torch": "2"},
    }  # fmt: skip
    (folder / "contract.json").write_text(json.dumps(contract))
    write_golden(folder, [picture(100), picture(101)])


def run_stage(world: Path, folder: Path, out: Path) -> dict[str, Any]:
    paths = {name: world / name for name in ("frames", "annotations", "splits")}
    paths |= {"weights": world / "train", "evaluation": world / "evaluate", "export": folder, "out": out}
    before = Path.cwd()
    os.chdir(world)
    try:
        verify.main([part for name, path in paths.items() for part in (f"--{name}", str(path))])
    finally:
        os.chdir(before)
    result: dict[str, Any] = json.loads((out / "verify.json").read_text())
    return result


@pytest.fixture(scope="module")
def good(world: Path) -> dict[str, Any]:
    return run_stage(world, world / "export", world / "good")


def test_what_gives_what_the_trained_model_gives_is_verified(good: dict[str, Any]) -> None:
    it = good["artifacts"]["cpu/fp32"]
    assert (it["verified"], it["reasons"], it["not_assessed"]) == (True, [], "")
    assert it["AP"] == pytest.approx(good["reference"]["AP"], abs=0.001)
    assert it["heads"]["within"]
    assert set(it["batches"]) == {"1", "2", "4", "8"}
    assert set(it["odd"]) == {"empty", "1x1", "17x333", "4000x3"}
    assert it["agreement"]["matched"] == it["agreement"]["reference"]
    assert good["targets"] == {"cpu": {"default": "fp32", "verified": ["fp32"]}}


def test_every_class_camera_and_height_is_compared(good: dict[str, Any]) -> None:
    groups = good["artifacts"]["cpu/fp32"]["groups"]
    assert set(groups) >= {"class", "camera", "height"}
    assert sum(it["objects"] for it in groups["camera"].values()) == good["objects"] == 5 * FRAMES


def test_times_are_beside_it_and_not_in_it(world: Path, good: dict[str, Any]) -> None:
    latency = json.loads((world / "good/latency.json").read_text())
    it = latency["artifacts"]["cpu/fp32"]
    assert set(it["milliseconds"]) == {"decode", "preprocess", "inference", "postprocess", "total"}
    assert it["bytes"] == (world / "export/cpu/model.onnx").stat().st_size
    assert "ONNX Runtime" in it["chosen"]
    assert set(latency["machine"]) == {"processor", "cores", "instructions"}
    assert "milliseconds" not in json.dumps(good)


def test_the_same_export_gives_the_same_bytes(world: Path, good: dict[str, Any], tmp_path: Path) -> None:
    run_stage(world, world / "export", tmp_path)
    assert (tmp_path / "verify.json").read_bytes() == (world / "good/verify.json").read_bytes()


def test_another_model_is_refused_and_the_groups_that_pay_are_named(world: Path, tmp_path: Path) -> None:
    it = run_stage(world, world / "other", tmp_path)["artifacts"]["cpu/fp32"]
    told = "; ".join(it["reasons"])
    assert not it["verified"]
    for words in ("points of AP", "raw heads differ", "points of recall: "):
        assert words in told


def truncate(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-9])


def lose_golden(folder: Path) -> None:
    (folder / GOLDEN).unlink()


def forget_a_class(folder: Path) -> None:
    contract = json.loads((folder / "contract.json").read_text())
    changed = contract | {"classes": ["person"], "thresholds": {"person": 0.005}}
    (folder / "contract.json").write_text(json.dumps(changed))


@pytest.mark.parametrize("harm", [truncate, lose_golden, forget_a_class])
def test_what_cannot_be_measured_is_not_verified(world: Path, tmp_path: Path, harm: Any) -> None:
    shutil.copytree(world / "export", tmp_path / "export")
    harm(tmp_path / "export/cpu")
    result = run_stage(world, tmp_path / "export", tmp_path / "out")
    it = result["artifacts"]["cpu/fp32"]
    assert not it["verified"]
    assert it["reasons"][0].startswith("could not be loaded or measured: ")
    assert result["targets"]["cpu"]["verified"] == []


def test_an_export_without_targets_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro export"):
        run_stage(world, tmp_path, tmp_path / "out")


def test_a_target_without_a_contract_is_not_passed_over(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "export", tmp_path / "export")
    (tmp_path / "export/intel").mkdir()
    with pytest.raises(DataError, match=r"missing of intel"):
        run_stage(world, tmp_path / "export", tmp_path / "out")


FINE = {
    "drop_AP": 0.0005, "kept_AP": 0.999, "heads": {"within": True}, "batches": {"1": True}, "odd": {"1x1": True},
    "groups": {"class": {"person": {"objects": 100, "drop": 0.01}}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "changes", "told"),
    [
        pytest.param("fp32", {}, None, id="good"),
        pytest.param("fp32", {"drop_AP": 0.001}, None, id="fp32 at a tenth of a point"),
        pytest.param("fp32", {"drop_AP": 0.0011}, "loses 0.11 points of AP, at most 0.1", id="fp32 above it"),
        pytest.param("int8", {"drop_AP": 0.01}, None, id="int8 at one point"),
        pytest.param("int8", {"drop_AP": 0.0101}, "loses 1.01 points", id="int8 above it"),
        pytest.param("int8", {"drop_AP": -0.2}, None, id="a gain is no loss"),
        pytest.param("int8", {"kept_AP": 0.989}, "keeps 98.90%", id="too little is kept of a low AP"),
        pytest.param("int8", {"heads": {"within": False}}, None, id="raw heads of int8 may differ"),
        pytest.param("fp32", {"heads": {"within": False}}, "raw heads differ", id="those of fp32 may not"),
        pytest.param("int8", {"batches": {"1": True, "4": False}}, "a batch of 4", id="a batch"),
        pytest.param("int8", {"odd": {"1x1": False}}, "'1x1'", id="an odd picture"),
        pytest.param("int8", {"drop_AP": None}, "AP is not measured", id="AP not measured"),
    ],
)
def test_limits(precision: str, changes: dict[str, Any], told: str | None) -> None:
    figures = {key: value for key, value in (FINE | changes).items() if value is not None}
    reasons = judge(figures, precision, PARAMS)
    assert len(reasons) == (told is not None)
    assert told is None or told in reasons[0]


@pytest.mark.parametrize(
    ("objects", "drop", "pays"),
    [
        pytest.param(50, 0.02, False, id="one of fifty"),
        pytest.param(50, 0.04, True, id="two of fifty"),
        pytest.param(49, 0.5, False, id="too few to decide"),
        pytest.param(1000, 0.021, True, id="just above"),
        pytest.param(1000, -0.3, False, id="a gain"),
    ],
)
def test_a_group_pays_from_two_points_on(objects: int, drop: float, pays: bool) -> None:  # noqa: FBT001
    groups = {"camera": {"lobby": {"objects": objects, "drop": drop}}}
    assert paying(groups, PARAMS) == ([("camera lobby", drop)] if pays else [])
