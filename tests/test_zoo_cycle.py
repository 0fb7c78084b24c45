"""Every detector of the zoo goes through the same stages: train, evaluate, export, verify."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from pipeline import evaluate, export, train, verify
from pipeline.core.types import Annotation, Assignment, Frame, Split
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import write_annotations, write_frames, write_splits
from pipeline.io.training import Example, TrainingWriter
from pipeline.modeling import quantise
from pipeline.modeling.zoo import BUILDERS
from tests.squares import Squares

ROOT = Path(__file__).parents[1]
SIZE = (96, 64)  # width, height
CLASSES = ("person", "vehicle")
SPLITS = {Split.TRAIN: 12, Split.VAL: 4, Split.BENCHMARK: 6}  # frames
CHANGES: dict[str, dict[str, Any]] = {
    "input": {"width": SIZE[0], "height": SIZE[1]},
    "train": {
        "epochs": 1, "batch_size": 4, "warmup_epochs": 0.0, "validate_every": 1,
        "optimizer": {"name": "adamw", "lr": 0.0002, "weight_decay": 0.02, "momentum": 0.9},  # all bear it, unwarmed
    },
    "evaluate": {"resamples": 200, "batch_size": 4, "min_support": 1, "gallery": 2},
    "export": {
        "parity_frames": 2, "golden_frames": 1, "calibration_frames": 2,
        "int8": {"max_drop": 100.0, "frames": 2, "sensitivity": []},
    },
    "verify": {"frames": 2, "latency_pictures": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares of two colours, in the three splits and as training shards."""
    root, made = tmp_path_factory.mktemp("zoo"), Squares(sum(SPLITS.values()), SIZE)
    splits = [split for split, count in SPLITS.items() for _ in range(count)]
    frames, boxes = [], []
    (root / "training").mkdir()
    with (
        ShardWriter(root / "frames", 1 << 30) as shards,
        TrainingWriter(root / "training", SPLITS[Split.TRAIN], SIZE, 64) as training,
    ):
        for i, split in enumerate(splits):
            image, name = made.picture(i), f"{i:016x}"
            place = shards.write(f"{i}.png", cv2.imencode(".png", image[..., ::-1])[1].tobytes())
            where = place.shard, place.offset, place.length
            frames.append(Frame(name, f"camera {i % 2}", "clip", i, None, SIZE[0], SIZE[1], "source.mp4", *where))
            x1, y1, x2, y2 = made.boxes[i][0].tolist()
            boxes.append(Annotation(name, CLASSES[int(made.labels[i][0])], x1, y1, x2 - x1, y2 - y1))
            if split is Split.TRAIN:
                training.write(Example(name, 0, image, made.boxes[i], made.labels[i], made.ignore[i]))
    write_frames(root / "frames/frames.parquet", frames)
    write_splits(
        root / "splits/splits.parquet", [Assignment(f.frame_id, s, "clip") for f, s in zip(frames, splits, strict=True)]
    )
    write_annotations(root / "annotations/annotations.parquet", boxes)
    return root


def arguments(**paths: Path) -> list[str]:
    return [part for name, path in paths.items() for part in (f"--{name}", str(path))]


def unranked(_: object, held: Mapping[str, object], *__: object) -> dict[str, float]:
    """Which layers suffer most in integers takes most of the time, and matters only where some must stay in float."""
    return dict.fromkeys(held, 0.0)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_detector_goes_through_the_stages(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: str
) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, changes in CHANGES.items():
        params[section] |= changes
    params["model"] = {"name": name, "weights": "none"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quantise, "_damages", unranked)
    data = {part: world / part for part in ("frames", "annotations", "splits")}
    weights, evaluation = tmp_path / "train", tmp_path / "evaluate"

    train.main(arguments(**data, training=world / "training", state=tmp_path / "state", out=weights))
    rows = [json.loads(line) for line in (weights / "curves.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1]
    assert {"loss", "val/AP", "val/AP50"} <= rows[0].keys()
    assert {path.name for path in weights.iterdir()} == {
        "best.safetensors", "last.safetensors", "model.json", "curves.jsonl", "train.json",
    }  # fmt: skip

    evaluate.main(arguments(**data, weights=weights, out=evaluation))
    out = arguments(weights=weights, operating=evaluation / "operating.json", out=tmp_path / "export", **data)
    export.main(out)
    assert json.loads((tmp_path / "export/parity.json").read_bytes())["passed"]

    verify.main(
        arguments(**data, weights=weights, evaluation=evaluation, export=tmp_path / "export", out=tmp_path / "verify")
    )
    verified = json.loads((tmp_path / "verify/verify.json").read_bytes())
    found = verified["artifacts"]
    assert set(found) == {"cpu/fp32", "cpu/fp32-b1", "cpu/int8"}
    # After one epoch there may be nothing to find, and boxes may still be points: then AP and overlaps say nothing.
    untrained = ["AP is not measured", "golden.npz"]
    if verified["reference"].get("AP", 0.0) < 0.01:  # a hundredth of next to nothing is chance
        untrained.append("keeps")
    assert [it for it in found["cpu/fp32"]["reasons"] if not it.startswith(tuple(untrained))] == []
    assert found["cpu/fp32"]["heads"]["within"]
    assert not any("could not be loaded" in reason for it in found.values() for reason in it["reasons"])
