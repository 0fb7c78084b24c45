import json
import os
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from pipeline import export
from pipeline.core.errors import DataError
from pipeline.core.params import ExportParams, Int8Params
from pipeline.core.types import Annotation, Assignment, Frame, Split
from pipeline.io.files import file_sha256, sha256
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import write_annotations, write_frames, write_splits
from pipeline.modeling.state import save_tensors
from pipeline.modeling.zoo import build
from pipeline.runtime.contract import CONTRACT, Contract
from pipeline.runtime.golden import GOLDEN, check_golden, read_golden
from pipeline.runtime.session import open_session

ROOT = Path(__file__).parents[1]
SIZE = (64, 32)  # width, height
TARGETS: tuple[Literal["cpu", "intel", "nvidia"], ...] = ("cpu", "intel", "nvidia")
PARAMS = ExportParams(
    targets=TARGETS, opset=18, parity_frames=4, golden_frames=1, calibration_frames=4, rtol=1e-3, atol=1e-3,
    int8=Int8Params(max_drop=100, frames=6, sensitivity=(3, 8, 64)),
)  # fmt: skip
THRESHOLDS = {"person": 0.011, "vehicle": 0.3}
KNOTS = ((0.1, 0.05), (0.9, 0.8))
OPERATING = {
    "threshold": THRESHOLDS,
    "chosen_on": {
        "split": "val", "match_iou": 0.5, "frames": 54, "hours": 0.007,
        "rule": {"rule": "false_alarms_per_hour", "beta": 1.0, "budget": 2.5},
        "class": {
            "person": {"objects": 36, "recall": 0.9, "precision": 0.8, "f_beta": 0.85, "false_alarms": 1},
            "vehicle": {"objects": 0, "reason": "no object of this class: no choice"},
        },
    },
    "calibration": {
        "person": {"objects": 36, "detections": 57, "knots": KNOTS},
        "vehicle": {"objects": 0, "detections": 4, "knots": [], "reason": "not assessable"},
    },
}  # fmt: skip


def picture(seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (96, 64), interpolation=cv2.INTER_CUBIC), np.uint8)


def frame(number: int, camera: str, index: int, place: Any = None) -> Frame:
    where = (place.shard, place.offset, place.length) if place else ()
    return Frame(f"{number:016x}", camera, "clip", index, None, 96, 64, "source.mp4", *where)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames a split, from two cameras, the trained weights, and params.yaml. Benchmark bytes are broken."""
    root = tmp_path_factory.mktemp("world")
    frames, assignments = [], []
    with ShardWriter(root / "frames", 1 << 30) as writer:
        for number, split in enumerate([Split.TRAIN, Split.VAL, Split.BENCHMARK] * 8):
            data = (
                cv2.imencode(".png", picture(number))[1].tobytes()
                if split is not Split.BENCHMARK
                else b"never to be read"
            )
            frames.append(frame(number, f"camera {number % 2}", number, writer.write(f"{number}.png", data)))
            assignments.append(Assignment(frames[-1].frame_id, split, "clip"))
    write_frames(root / "frames/frames.parquet", frames)
    write_splits(root / "splits/splits.parquet", assignments)
    boxes = [Annotation(it.frame_id, "person", 20, 10, 30, 40) for it in frames]
    write_annotations(root / "annotations/annotations.parquet", boxes)
    torch.manual_seed(0)
    (root / "train").mkdir()
    save_tensors(root / "train/best.safetensors", build("nano", 2, SIZE, "none").state_dict())
    card = {"name": "nano", "classes": list(THRESHOLDS), "width": SIZE[0], "height": SIZE[1]}
    (root / "train/model.json").write_text(json.dumps(card))
    (root / "operating.json").write_text(json.dumps(OPERATING))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["export"] = PARAMS.model_dump(mode="json")
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return root


def run_stage(world: Path, out: str, **changes: Path) -> Path:
    paths = {name: world / name for name in ("frames", "annotations", "splits")}
    paths |= {"weights": world / "train", "operating": world / "operating.json", "out": world / out, **changes}
    before = Path.cwd()
    os.chdir(world)  # a module's fixture cannot ask for monkeypatch
    try:
        export.main([part for name, path in paths.items() for part in (f"--{name}", str(path))])
    finally:
        os.chdir(before)
    return world / out


@pytest.fixture(scope="module")
def exported(world: Path) -> Path:
    return run_stage(world, "export")


def test_every_target_holds_what_ships(exported: Path, world: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["cpu", "export.json", "intel", "nvidia", "parity.json"]
    held = {target: Contract.read(exported / target / CONTRACT) for target in TARGETS}
    assert {target: list(it.artifacts) for target, it in held.items()} == {
        "cpu": ["fp32", "fp32-b1", "int8"],
        "intel": ["bf16", "fp32", "int8"],
        "nvidia": ["fp16", "int8"],
    }
    for target, contract in held.items():
        named = {file: digest for it in contract.artifacts.values() for file, digest in it.files.items()}
        found = {path.name: file_sha256(path) for path in (exported / target).iterdir()}
        assert named.items() <= found.items()
        assert found.keys() - named.keys() == {CONTRACT, GOLDEN}


def test_contracts_say_what_they_were_made_of(exported: Path, world: Path) -> None:
    train = sorted(f"{number:016x}" for number in range(0, 24, 3))  # numbers 0, 6 ... are of camera 0, the others of 1
    for target in TARGETS:
        contract = Contract.read(exported / target / CONTRACT)
        assert contract.target == target
        assert contract.thresholds == THRESHOLDS
        assert (contract.input.width, contract.input.height) == SIZE
        assert contract.weights == file_sha256(world / "train/best.safetensors")
        assert contract.training_data == sha256("\n".join(train).encode())
        assert contract.calibration == json.loads((exported / "export.json").read_bytes())["calibration"]["sha256"]


def test_the_report_tells_what_fewer_bits_cost(exported: Path) -> None:
    told = json.loads((exported / "export.json").read_bytes())
    assert (told["calibration"]["frames"], told["validation_frames"]) == (4, 6)
    it = told["targets"]["cpu"]["fewer_bits"]["int8"]
    assert it["drop"] == pytest.approx(it["float_AP"] - it["AP"], abs=0.011)
    assert list(it["drop_by_calibration_frames"]) == ["3", "8"]  # the training split has eight
    assert len(it["damage"]) == 26  # nano's convolutions but the last six


def test_the_contract_carries_what_evaluation_chose_and_on_what(exported: Path) -> None:
    contract = Contract.read(exported / "cpu" / CONTRACT)
    assert contract.confidence == {"person": KNOTS, "vehicle": ()}
    person, vehicle = contract.evidence["person"], contract.evidence["vehicle"]
    assert person.rule == "at most 2.5 false alarms per hour"
    assert (person.frames, person.hours, person.objects, person.recall) == (54, 0.007, 36, 0.9)
    assert (person.precision, person.false_alarms, person.reason) == (0.8, 1, "")
    assert (vehicle.recall, vehicle.reason) == (None, "no object of this class: no choice")


def test_the_exported_model_gives_what_the_trained_one_gives(exported: Path) -> None:
    parity = json.loads((exported / "parity.json").read_bytes())
    assert parity["passed"]
    assert parity["detections_equal"]
    assert parity["frames"] == 4
    assert 0 <= parity["max_abs_difference"] < 1e-3
    assert [(run["target"], run["artifact"], run["batch"]) for run in parity["runs"]] == [
        ("cpu", "fp32", 4),
        ("cpu", "fp32", 1),
        ("cpu", "fp32-b1", 1),
        ("intel", "fp32", 4),
        ("intel", "fp32", 1),
    ]


def test_every_artifact_that_runs_here_finds_the_same_in_its_golden_pictures(exported: Path) -> None:
    for target in ("cpu", "intel"):
        golden = read_golden(exported / target / GOLDEN)
        for name in Contract.read(exported / target / CONTRACT).artifacts:
            assert check_golden(open_session(exported / target, name), golden)[1] == []


def test_the_same_weights_and_frames_give_the_same_bytes(exported: Path, world: Path) -> None:
    again = run_stage(world, "again")
    files = [path.relative_to(exported) for path in exported.rglob("*") if path.is_file()]
    assert [str(file) for file in files if (again / file).read_bytes() != (exported / file).read_bytes()] == []


def test_a_benchmark_frame_in_the_training_split_stops_the_export(world: Path, tmp_path: Path) -> None:
    both = [Assignment(f"{n:016x}", split, "clip") for n in range(0, 24, 3) for split in (Split.TRAIN, Split.BENCHMARK)]
    write_splits(tmp_path / "splits/splits.parquet", [Assignment(f"{1:016x}", Split.VAL, "clip"), *both])
    with pytest.raises(DataError, match="calibration set: 4 of its frames are in the benchmark split too"):
        run_stage(world, "none", splits=tmp_path / "splits")


def test_no_output_names_the_machine_or_its_code(exported: Path, world: Path) -> None:
    for path in (path for path in exported.rglob("*") if path.is_file()):
        data = path.read_bytes()
        words = (str(ROOT), str(world), "site-packages", "torch.nn", "forward(")
        assert not [word for word in words if word.encode() in data], path.name


def test_a_failure_leaves_the_last_export_whole(exported: Path, world: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()}
    broken = tmp_path / "operating.json"
    documents: list[Any] = [{"threshold": {"person": 0.5}}, {"threshold": 0.5}, []]
    for document in documents:
        broken.write_text(json.dumps(document))
        with pytest.raises(DataError, match="expected a threshold for each of person, vehicle"):
            run_stage(world, "export", operating=broken)
    assert {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("key", ["chosen_on", "calibration"])
def test_an_operating_point_of_another_version_is_refused(world: Path, tmp_path: Path, key: str) -> None:
    old = tmp_path / "operating.json"
    old.write_text(json.dumps({name: value for name, value in OPERATING.items() if name != key}))
    with pytest.raises(DataError, match="another version wrote it"):
        run_stage(world, "export", operating=old)


def test_without_validation_frames_there_is_no_parity(world: Path, tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    write_splits(tmp_path / "splits/splits.parquet", [Assignment(f"{0:016x}", Split.TRAIN, "clip")])
    with pytest.raises(DataError, match="no validation frame"):
        run_stage(world, "none", splits=tmp_path / "splits")
    assert not (world / "none").exists()
