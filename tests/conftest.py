"""What several test files share: an exported model whose answers can be worked out by hand, and an MLflow store."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

SIZE = 32  # pixels, both ways
BOX = (8.0, 8.0, 24.0, 24.0)  # the one candidate, input pixels


def brightness_graph(batch: str | int) -> onnx.ModelProto:
    """Scores of the one candidate: mean brightness of the picture for class 0, the rest up to 1 for class 1."""
    value, constant = helper.make_tensor_value_info, helper.make_tensor
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["flat"]),
        helper.make_node("Div", ["flat", "white"], ["bright"]),
        helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Concat", ["bright", "dark"], ["scores"], axis=2),
        helper.make_node("Mul", ["bright", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "box"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [value("images", TensorProto.UINT8, [batch, 3, SIZE, SIZE])],
        [value("boxes", TensorProto.FLOAT, [batch, 1, 4]), value("scores", TensorProto.FLOAT, [batch, 1, 2])],
        [
            constant("axes", TensorProto.INT64, [3], [1, 2, 3]),
            constant("shape", TensorProto.INT64, [3], [-1, 1, 1]),
            constant("white", TensorProto.FLOAT, [1], [255.0]),
            constant("one", TensorProto.FLOAT, [1], [1.0]),
            constant("zero", TensorProto.FLOAT, [1], [0.0]),
            constant("box", TensorProto.FLOAT, [1, 1, 4], BOX),
        ],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model


@pytest.fixture
def write_export() -> Callable[..., Path]:
    """Writes model.onnx, model-b1.onnx and contract.json into a folder; keywords replace keys of the contract."""

    def write(folder: Path, **changes: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        files = {"model.onnx": brightness_graph("batch"), "model-b1.onnx": brightness_graph(1)}
        for name, model in files.items():
            (folder / name).write_bytes(model.SerializeToString())
        contract = {
            "model": "brightness",
            "classes": ["person", "vehicle"],
            "thresholds": {"person": 0.5, "vehicle": 0.25},
            "input": {
                "name": "images",
                "width": SIZE,
                "height": SIZE,
                "layout": "NCHW",
                "dtype": "uint8",
                "color": "RGB",
                "letterbox": "centre",
                "fill": 114,
            },
            "output": {
                "boxes": "boxes",
                "scores": "scores",
                "score_floor": 0.1,
                "nms_iou": 0.6,
                "max_detections": 100,
            },
            "opset": 18,
            "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files},
            "weights": "w" * 64,
            "training_data": "t" * 64,
            "calibration": "",
            "producers": {"onnx": "1"},
        }
        (folder / "contract.json").write_text(json.dumps(contract | changes))
        return folder

    return write


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with its tables and nothing in them; making one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    code = "import sys; from pipeline.services.tracking import connect; connect().search_experiments()"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{path}"}
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], env=environment, check=True)
    return path


@pytest.fixture
def mlflow_store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a store of this test's own; the environment names it."""
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(sys, "path", sys.path[:])  # a loaded model puts its own copy of our code in front
    yield uri
    import mlflow  # noqa: PLC0415 - only the tests that use it pay for the import

    mlflow.set_tracking_uri("")
