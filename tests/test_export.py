import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import export
from pipeline.core.errors import DataError
from pipeline.core.params import ExportParams
from pipeline.core.types import Assignment, Frame, Split
from pipeline.io.files import file_sha256, sha256
from pipeline.io.shards import ShardWriter
from pipeline.io.tables import write_frames, write_splits
from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.state import save_tensors
from pipeline.modeling.zoo import build, load
from pipeline.runtime.contract import Contract
from pipeline.runtime.session import CONTRACT, DYNAMIC, SINGLE, OnnxSession

ROOT = Path(__file__).parents[1]
SIZE = (64, 32)  # width, height
PARAMS = ExportParams(opset=18, parity_frames=4, rtol=1e-3, atol=1e-3)
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


class Tiny(Detector):
    """A point every 16 pixels."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__(classes)
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4 + classes, 16, 16)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.layer(images.float() / 255).flatten(2).transpose(1, 2)
        corner, side = x[..., :2].sigmoid() * 16, x[..., 2:4].exp() * 8
        return torch.cat([corner, corner + side], -1), x[..., 4:].sigmoid()

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        raise NotImplementedError


class OneByOne(Tiny):
    """A loop over the pictures, which an exporter can only unroll."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = zip(*(super(OneByOne, self).forward(image[None]) for image in images), strict=True)
        return torch.cat(boxes), torch.cat(scores)


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
            data = cv2.imencode(".png", picture(number))[1].tobytes() if split is Split.VAL else b"never to be read"
            frames.append(frame(number, f"camera {number % 2}", number, writer.write(f"{number}.png", data)))
            assignments.append(Assignment(frames[-1].frame_id, split, "clip"))
    write_frames(root / "frames/frames.parquet", frames)
    write_splits(root / "splits/splits.parquet", assignments)
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
    paths = {name: world / name for name in ("frames", "splits")}
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


def test_the_export_holds_what_ships(exported: Path, world: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [CONTRACT, SINGLE, DYNAMIC, "parity.json"]
    contract = Contract.read(exported / CONTRACT)
    assert contract.thresholds == THRESHOLDS
    assert (contract.input.width, contract.input.height) == SIZE
    assert contract.files == {name: file_sha256(exported / name) for name in (DYNAMIC, SINGLE)}
    assert contract.weights == file_sha256(world / "train/best.safetensors")
    train = sorted(f"{number:016x}" for number in range(0, 24, 3))
    assert contract.training_data == sha256("\n".join(train).encode())
    assert contract.calibration == ""


def test_the_contract_carries_what_evaluation_chose_and_on_what(exported: Path) -> None:
    contract = Contract.read(exported / CONTRACT)
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
    assert [(run["file"], run["batch"]) for run in parity["runs"]] == [(DYNAMIC, 4), (DYNAMIC, 1), (SINGLE, 1)]


def test_the_graph_takes_bytes_and_any_batch(exported: Path) -> None:
    for name, batch in ((DYNAMIC, 0), (SINGLE, 1)):
        model = onnx.load(exported / name)
        onnx.checker.check_model(model, full_check=True)
        assert [o.version for o in model.opset_import] == [18]
        (images,) = model.graph.input
        assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        assert [d.dim_value for d in images.type.tensor_type.shape.dim] == [batch, 3, SIZE[1], SIZE[0]]
    session = OnnxSession(exported)
    assert len(session.detect_batch([picture(number) for number in range(5)])) == 5


def test_the_same_weights_give_the_same_bytes(exported: Path, world: Path) -> None:
    again = export.to_onnx(load(world / "train"), SIZE, 18, dynamic=False)
    assert again.SerializeToString(deterministic=True) == (exported / SINGLE).read_bytes()


def test_no_output_names_the_machine_or_its_code(exported: Path, world: Path) -> None:
    for path in exported.iterdir():
        data = path.read_bytes()
        words = (str(ROOT), str(world), "site-packages", "torch.nn", "forward(")
        assert not [word for word in words if word.encode() in data], path.name


def test_a_failure_leaves_the_last_export_whole(exported: Path, world: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    broken = tmp_path / "operating.json"
    documents: list[Any] = [{"threshold": {"person": 0.5}}, {"threshold": 0.5}, []]
    for document in documents:
        broken.write_text(json.dumps(document))
        with pytest.raises(DataError, match="expected a threshold for each of person, vehicle"):
            run_stage(world, "export", operating=broken)
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before


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


def write_model(folder: Path, source: Path, model: Detector) -> Path:
    """A copy of an export whose dynamic file is of another detector, with the right hash."""
    shutil.copytree(source, folder)
    proto = export.to_onnx(model, SIZE, 18, dynamic=True)
    (folder / DYNAMIC).write_bytes(proto.SerializeToString())
    document = json.loads((folder / CONTRACT).read_bytes())
    document["files"][DYNAMIC] = file_sha256(folder / DYNAMIC)
    (folder / CONTRACT).write_text(json.dumps(document))
    return folder


def letterboxed(count: int) -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(picture(number)[: SIZE[1], : SIZE[0]]) for number in range(count)]


def test_other_weights_fail_parity(exported: Path, tmp_path: Path) -> None:
    ours, theirs = Tiny().eval(), Tiny().eval()
    with torch.no_grad():
        theirs.layer.weight.add_(0.01)
    folder = write_model(tmp_path / "export", exported, theirs)
    result = export.parity(ours, folder, letterboxed(3), PARAMS)
    assert not result["passed"]
    assert result["runs"][0]["reason"] == "candidates differ by more than the tolerance"
    assert result["runs"][2]["reason"] == "another number of candidates"  # the file of another network


def test_a_batch_that_is_written_into_the_graph_fails_parity(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = OneByOne().eval()
    folder = write_model(tmp_path / "export", exported, model)
    result = export.parity(model, folder, letterboxed(2), PARAMS)
    assert not result["passed"]
    assert result["runs"][1] == {
        **dict.fromkeys(("boxes", "scores")),
        **dict.fromkeys(("detections_equal", "passed"), False),
        "file": DYNAMIC,
        "batch": 1,
        "reason": "the file does not run, or does not give what its contract says",
    }
    assert str(tmp_path) not in json.dumps(result)
    assert "does not run on 1 pictures" in capsys.readouterr().err


LEFT, RIGHT, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]


def candidates(*rows: tuple[list[int], float, float]) -> export.Candidates:
    """Boxes and scores (person, vehicle) of one frame."""
    boxes, persons, vehicles = zip(*rows, strict=True)
    return np.array([boxes], np.float32), np.array([list(zip(persons, vehicles, strict=True))], np.float32)


@pytest.mark.parametrize(
    ("found", "same"),
    [
        pytest.param(candidates((LEFT, 0.9, 0), (RIGHT, 0.8, 0)), True, id="the same"),
        pytest.param(candidates((RIGHT, 0.8, 0), (LEFT, 0.9, 0)), True, id="in other places of the output"),
        pytest.param(candidates((LEFT, 0.9, 0), (RIGHT, 0.8, 0.2)), True, id="one more below its threshold"),
        pytest.param(candidates((LEFT, 0.9, 0), (RIGHT, 0.8, 0.4)), False, id="one more above its threshold"),
        pytest.param(candidates((LEFT, 0.9, 0), (RIGHT, 0, 0)), False, id="one is gone"),
        pytest.param(candidates((LEFT, 0.9, 0), (RIGHT, 0, 0.8)), False, id="other class"),
        pytest.param(candidates((LEFT, 0.9, 0), (FAR, 0.8, 0)), False, id="elsewhere"),
        pytest.param(candidates((LEFT, 0.9, 0), (RIGHT, 0.5, 0)), False, id="weaker"),
    ],
)
def test_detections_are_compared(exported: Path, found: export.Candidates, same: bool) -> None:  # noqa: FBT001
    expected = candidates((LEFT, 0.9, 0), (RIGHT, 0.8, 0))
    assert export.same_detections(expected, found, Contract.read(exported / CONTRACT), PARAMS) is same


def test_which_of_two_equals_nms_keeps_is_no_difference(exported: Path) -> None:
    near = [1, 0, 11, 10]  # IoU 0.82 with LEFT
    contract = Contract.read(exported / CONTRACT)
    one, other = candidates((LEFT, 0.9, 0), (near, 0.9001, 0)), candidates((LEFT, 0.9001, 0), (near, 0.9, 0))
    assert export.same_detections(one, other, contract, PARAMS)


@pytest.mark.parametrize(
    ("held", "count", "expected"),
    [
        pytest.param({"a": 4, "b": 4}, 4, {"a": [1, 3], "b": [1, 3]}, id="evenly"),
        pytest.param({"a": 9, "b": 1}, 4, {"a": [1, 4, 7], "b": [0]}, id="a camera with few frames"),
        pytest.param({"a": 2, "b": 1}, 9, {"a": [0, 1], "b": [0]}, id="fewer than asked for"),
        pytest.param({"a": 3, "b": 3, "c": 3}, 2, {"a": [1], "b": [1]}, id="fewer than cameras"),
    ],
)
def test_parity_frames_are_spread_over_cameras_and_time(
    held: dict[str, int], count: int, expected: dict[str, list[int]]
) -> None:
    frames = [frame(100 * ord(c) + i, c, i) for c, number in held.items() for i in reversed(range(number))]
    wanted = [f"{100 * ord(camera) + i:016x}" for camera, places in expected.items() for i in places]
    assert export.spread(frames, count) == wanted
