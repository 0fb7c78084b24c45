"""Figures that can be worked out by hand, and the whole stage with real, untrained detectors."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from pipeline import explain
from pipeline.core.errors import DataError
from pipeline.core.types import Annotation, Assignment, Detections, Frame, Split, Truth
from pipeline.io.files import write_json
from pipeline.io.images import encode_jpeg
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import write_annotations, write_detections, write_frames, write_splits
from pipeline.modeling.levels import Level
from pipeline.modeling.state import save_tensors
from pipeline.modeling.zoo import build

CLASSES = ("person", "vehicle")
PATHS = {"weights": "model", "export": "export", "frames": "frames", "annotations": "annotations"}
PATHS |= {"splits": "splits", "evaluation": "evaluate", "out": "out"}
ARGUMENTS = [word for name, path in PATHS.items() for word in (f"--{name}", path)]


@pytest.mark.parametrize(
    ("count", "expected"),
    [pytest.param(2, [0, 5], id="evenly"), pytest.param(20, list(range(10)), id="all"), pytest.param(0, [], id="none")],
)
def test_frames_are_spread_evenly(count: int, expected: list[int]) -> None:
    assert explain.spread(range(10), count) == expected


def test_objects_are_measured_in_input_pixels() -> None:
    """200 x 100 pixels become 64 x 32: 0.32 of each side."""
    frame = Frame("f", "hall", "hall", 0, 0.0, 200, 100, "x")
    truth = Truth(
        np.array([[0, 0, 50, 100], [0, 0, 10, 10], [0, 0, 9, 9]], np.float32), np.array([0, 1, 0]),
        np.array([False, False, True]),
    )  # fmt: skip
    sizes = explain.object_sizes([frame], [truth], 0, (64, 64))
    assert sizes.tolist() == pytest.approx(np.array([[16, 32]]))
    level = explain.of_level(Level(8, 4, 8, 8, (64, 64), 31.96), np.array([[16.0, 32.0], [16.0, 30.0]]))
    assert (level["effective"], level["holds"]) == (32.0, 0.5)  # the second alone fits in 31.96 pixels
    assert "holds" not in explain.of_level(Level(8, 4, 8, 8, (64, 64), 31.96), np.zeros((0, 2)))


def test_sizes_are_described_by_percentiles() -> None:
    told = explain.describe(np.array([[float(i), 2.0 * i] for i in range(101)]))
    assert told == {
        "objects": 101,
        "width": {"p5": 5.0, "p50": 50.0, "p95": 95.0},
        "height": {"p5": 10.0, "p50": 100.0, "p95": 190.0},
    }
    assert explain.describe(np.zeros((0, 2))) == {"objects": 0}


def pixels(png: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image[..., ::-1], np.uint8)


def test_a_filter_of_colours_shows_its_colours() -> None:
    """One weight of red, one against it, elsewhere nothing: white in red, none of it, grey."""
    weights = np.zeros((1, 3, 1, 3), np.float32)
    weights[0, 0] = [[1, -1, 0]]
    tile = pixels(explain.filter_sheet(weights))[4:-4, 4:-4]
    assert tile.shape == (56, 56, 3)
    assert [tile[28, x].tolist() for x in (5, 28, 50)] == [[255, 128, 128], [0, 128, 128], [128, 128, 128]]


def test_a_filter_of_other_channels_shows_its_strength() -> None:
    weights = np.zeros((2, 4, 1, 2), np.float32)
    weights[0, :, 0, 0] = [3, 4, 0, 0]
    weights[0, 0, 0, 1] = 2.5
    sheet = pixels(explain.filter_sheet(weights))
    assert [sheet[30, x].tolist() for x in (10, 50)] == [[255] * 3, [128] * 3]  # 5 is the largest, 2.5 half of it


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_export: Callable[..., Path]) -> Path:
    """Six frames, two a split, with a detector that has learned nothing and detections that miss and find."""
    monkeypatch.chdir(tmp_path)
    evaluate = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())["evaluate"]
    Path("params.yaml").write_text(yaml.safe_dump({"evaluate": evaluate}))
    rng = np.random.default_rng(0)
    frames = []
    with ShardWriter(tmp_path / "frames", 1 << 20) as shards:
        for i in range(6):
            image: NDArray[np.uint8] = rng.integers(0, 255, (100, 200, 3), dtype=np.uint8)
            at = shards.write(f"f{i}.jpg", encode_jpeg(image, 90))
            frames.append(Frame(f"f{i}", "ab"[i % 2], "c", i, i / 2, 200, 100, "x", at.shard, at.offset, at.length))
    write_frames(tmp_path / "frames" / "frames.parquet", frames)
    boxes = [Annotation(f.frame_id, CLASSES[f.index % 2], 10, 10, 80, 80) for f in frames]
    write_annotations(tmp_path / "annotations" / "annotations.parquet", boxes)
    of = (Split.TRAIN, Split.VAL, Split.BENCHMARK)
    write_splits(
        tmp_path / "splits" / "splits.parquet", [Assignment(f.frame_id, of[f.index // 2], "c") for f in frames]
    )
    write_json(tmp_path / "evaluate" / "operating.json", {"threshold": dict.fromkeys(CLASSES, 0.3)})
    hit = Detections(np.array([[10, 10, 90, 90], [120, 0, 160, 60]], np.float32), np.array([0.9, 0.8], np.float32),
                     np.zeros(2, np.int64))  # fmt: skip
    write_detections(tmp_path / "evaluate" / "detections.parquet", {"f4": hit, "f5": Detections.empty()})
    write_export(tmp_path / "export" / "cpu")
    model(tmp_path, "nano")
    return tmp_path


def model(root: Path, name: str) -> None:
    torch.manual_seed(0)
    save_tensors(root / "model" / "best.safetensors", build(name, 2, (64, 64), "none").state_dict())
    write_json(root / "model" / "model.json", {"name": name, "classes": CLASSES, "width": 64, "height": 64})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_whole_stage_gives_the_same_bytes_twice(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explain.main(ARGUMENTS)
    first = contents(world / "out")
    explain.main(ARGUMENTS)
    assert contents(world / "out") == first
    pictures = [f"figures/{name}.png" for name in ("attention", "fields", "filters", "maps")]
    assert list(first) == ["costs.json", "explain.json", *pictures]
    costs, told = json.loads(first["costs.json"]), json.loads(first["explain.json"])
    assert costs["parameters"] == sum(p.numel() for p in build("nano", 2, (64, 64), "none").parameters())
    assert costs["bytes"]["weights"] == (world / "model/best.safetensors").stat().st_size
    assert costs["bytes"]["cpu"]["fp32"] == (world / "export/cpu/model.onnx").stat().st_size
    assert sum(part["macs"] for part in told["parts"]) == costs["macs"]
    assert [(it["kind"], it["class"], it["camera"]) for it in told["cases"]] == [
        ("hit", "person", "a"), ("miss", "vehicle", "b"), ("false alarm", "person", "a"),
    ]  # fmt: skip
    assert [it["stride"] for it in told["levels"]] == [8, 16, 32]
    side = {"p5": 25.6, "p50": 25.6, "p95": 25.6}  # 80 pixels of 200, in 64
    assert told["objects"]["person"] == {"objects": 1, "width": side, "height": side}
    assert f"{costs['parameters']:,} parameters" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["ssdlite", "fasterrcnn"])
def test_other_families_are_explained_too(world: Path, name: str) -> None:
    model(world, name)
    explain.main(ARGUMENTS)
    told = json.loads((world / "out/explain.json").read_bytes())
    assert told["levels"]
    assert told["layers"]
    assert len(told["cases"]) == 3


def test_without_a_validation_frame_there_is_nothing_to_look_at(world: Path) -> None:
    write_splits(world / "splits" / "splits.parquet", [Assignment("f0", Split.TRAIN, "c")])
    with pytest.raises(DataError, match="validation split holds no frame"):
        explain.main(ARGUMENTS)
