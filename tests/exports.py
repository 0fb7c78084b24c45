"""An exported model whose answers can be worked out by hand."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from pipeline.runtime.engine_file import EngineCard, Target
from pipeline.runtime.files import Model

SIZE = 32  # pixels, both ways
BOX = (8.0, 8.0, 24.0, 24.0)  # the one candidate, input pixels
HERE = Target(tensorrt="11.4.1", gpu="NVIDIA L4", driver="13.0")
ENGINE = b"what TensorRT has built"


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


def artifact(path: Path, batch: int) -> dict[str, Any]:
    """How a contract names one ONNX file."""
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    return {"engine": "onnxruntime", "precision": "fp32", "batch": batch, "model": path.name, "files": files}


def write_openvino(folder: Path, batch: str | int = "batch", changes: Mapping[str, Any] | None = None) -> Path:
    """The same model for OpenVINO; `changes` replace keys of its artifact."""
    import openvino  # noqa: PLC0415 - half a second that other tests do not need

    folder.mkdir(parents=True)
    core = openvino.Core()
    graph = core.read_model(brightness_graph(batch).SerializeToString())
    openvino.save_model(graph, folder / "model.xml", compress_to_fp16=False)
    names = ("model.xml", "model.bin")
    entry = {
        "engine": "openvino",
        "precision": "fp32",
        "batch": 0 if isinstance(batch, str) else batch,
        "model": names[0],
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names},
    }
    document = contract_of({"fp32": {**entry, **(changes or {})}}) | {"target": "intel"}
    (folder / "contract.json").write_text(json.dumps(document))
    return folder


def write_kit(folder: Path, precision: str = "fp16", batch: str | int = "batch", cut: int = 0) -> Path:
    """A kit with one graph, as the nvidia target has it; `cut` bytes of the graph are left away."""
    folder.mkdir()
    path = folder / f"{precision}.onnx"
    data = brightness_graph(batch).SerializeToString()
    path.write_bytes(data[: len(data) - cut])
    entry = artifact(path, batch if isinstance(batch, int) else 0) | {"engine": "tensorrt", "precision": precision}
    (folder / "contract.json").write_text(json.dumps(contract_of({precision: entry}) | {"target": "nvidia"}))
    return folder


def contract_of(artifacts: dict[str, Any]) -> dict[str, Any]:
    """The contract of the model in these forms; the first is the default."""
    return {
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
        "target": "cpu",
        "default": next(iter(artifacts)),
        "artifacts": artifacts,
        "weights": "w" * 64,
        "training_data": "t" * 64,
        "calibration": "",
        "producers": {"onnx": "1"},
    }


def card_of(model: Model, **changes: Any) -> EngineCard:
    """The card of an engine that was built `HERE`."""
    values = {
        "tensorrt": HERE.tensorrt,
        "gpu": HERE.gpu,
        "driver": HERE.driver,
        "graph": hashlib.sha256(model.graph).hexdigest(),
        "engine": hashlib.sha256(ENGINE).hexdigest(),
        "artifact": model.name,
        "precision": model.artifact.precision,
        "batch": (1, 8, 8),
        "workspace_mib": 64,
    }
    return EngineCard.model_validate(values | changes)
