import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.params import ExportParams, Int8Params
from pipeline.modeling.detector import Detector
from pipeline.modeling.onnx_graph import serialised, to_onnx
from pipeline.modeling.parity import parity, same_detections
from pipeline.modeling.predict import candidates as infer
from pipeline.runtime.contract import CONTRACT, Artifact, Contract, InputContract, OutputContract
from pipeline.runtime.engines.engine import Candidates
from tests.detectors import SIZE, OneByOne, Tiny

PARAMS = ExportParams(
    targets=("cpu",), opset=18, parity_frames=4, golden_frames=1, calibration_frames=4, rtol=1e-3, atol=1e-3,
    int8=Int8Params(max_drop=1, frames=4, sensitivity=()),
)  # fmt: skip
CONTRACT_OF = Contract(
    model="tiny",
    classes=("person", "vehicle"),
    thresholds={"person": 0.011, "vehicle": 0.3},
    input=InputContract(
        name="images", width=SIZE[0], height=SIZE[1], layout="NCHW", dtype="uint8", color="RGB", letterbox="centre",
        fill=114,
    ),
    output=OutputContract(boxes="boxes", scores="scores", score_floor=0.01, nms_iou=0.6, max_detections=100),
    opset=18, target="cpu", default="fp32", weights="w", training_data="t", calibration="", producers={},
    artifacts={"fp32": Artifact(
        engine="onnxruntime", precision="fp32", batch=0, model="model.onnx", files={"model.onnx": "0" * 64}
    )},
)  # fmt: skip


def write_export(root: Path, model: Detector, **changes: object) -> dict[str, Contract]:
    """An export for one target whose one file is of this detector; the contracts by target."""
    data = serialised(to_onnx(model, SIZE, 18, dynamic=True))
    it = {"engine": "onnxruntime", "precision": "fp32", "batch": 0, "model": "model.onnx", **changes}
    document = CONTRACT_OF.model_dump(mode="json")
    document["artifacts"]["fp32"] = {**it, "files": {"model.onnx": hashlib.sha256(data).hexdigest()}}
    (root / "cpu").mkdir()
    (root / "cpu/model.onnx").write_bytes(data)
    (root / "cpu" / CONTRACT).write_text(json.dumps(document))
    return {"cpu": Contract.read(root / "cpu" / CONTRACT)}


def letterboxed(count: int) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8) for _ in range(count)]


def test_a_detector_agrees_with_its_own_graph(tmp_path: Path) -> None:
    model = Tiny().eval()
    found = parity(partial(infer, model), write_export(tmp_path, model), tmp_path, letterboxed(3), PARAMS)
    assert (found["passed"], found["detections_equal"], found["frames"]) == (True, True, 3)
    assert 0 <= found["max_abs_difference"] < 1e-3
    assert [(run["target"], run["artifact"], run["batch"]) for run in found["runs"]] == [
        ("cpu", "fp32", 3),
        ("cpu", "fp32", 1),
    ]


def test_other_weights_fail(tmp_path: Path) -> None:
    theirs = Tiny().eval()
    theirs.layer.weight.data.add_(0.01)
    found = parity(partial(infer, Tiny().eval()), write_export(tmp_path, theirs), tmp_path, letterboxed(3), PARAMS)
    assert not found["passed"]
    assert found["runs"][0]["reason"] == "candidates differ by more than the tolerance"


def test_a_batch_that_is_written_into_the_graph_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = OneByOne().eval()
    found = parity(partial(infer, model), write_export(tmp_path, model), tmp_path, letterboxed(2), PARAMS)
    assert not found["passed"]
    assert found["max_abs_difference"] is None
    assert found["runs"][1] == {
        **dict.fromkeys(("boxes", "scores")),
        **dict.fromkeys(("detections_equal", "passed"), False),
        "target": "cpu",
        "artifact": "fp32",
        "batch": 1,
        "reason": "the file does not run, or does not give what its contract says",
    }
    assert str(tmp_path) not in json.dumps(found)
    assert "does not run on 1 pictures" in capsys.readouterr().err


@pytest.mark.parametrize("changes", [{"precision": "int8"}, {"engine": "tensorrt"}], ids=["integers", "no engine yet"])
def test_what_cannot_agree_or_run_here_is_left_out(tmp_path: Path, changes: dict[str, str]) -> None:
    contracts = write_export(tmp_path, Tiny().eval(), **changes)
    found = parity(partial(infer, Tiny().eval()), contracts, tmp_path, letterboxed(1), PARAMS)
    assert (found["passed"], found["runs"], found["max_abs_difference"]) == (True, [], None)


LEFT, RIGHT, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]


def candidates(*rows: tuple[list[int], float, float]) -> Candidates:
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
def test_detections_are_compared(found: Candidates, same: bool) -> None:  # noqa: FBT001
    expected = candidates((LEFT, 0.9, 0), (RIGHT, 0.8, 0))
    assert same_detections(expected, found, CONTRACT_OF, PARAMS) is same


def test_which_of_two_equals_nms_keeps_is_no_difference() -> None:
    near = [1, 0, 11, 10]  # IoU 0.82 with LEFT
    one, other = candidates((LEFT, 0.9, 0), (near, 0.9001, 0)), candidates((LEFT, 0.9001, 0), (near, 0.9, 0))
    assert same_detections(one, other, CONTRACT_OF, PARAMS)
