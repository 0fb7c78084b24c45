"""A small exported model that sees colour, brightness and place: what golden pictures must notice when it changes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 64  # pixels, both ways
STEP = 16


def colour_graph(*, mean: float = 114.0, seed: int = 0, swap: bool = False) -> onnx.ModelProto:
    """One candidate a cell of 16 pixels: its scores are weighted means of the cell's colours.

    Args:
        mean: what is taken from each pixel first.
        seed: of the weights.
        swap: whether the weights of red and blue are exchanged.
    """
    weights = np.random.default_rng(seed).normal(0, 0.002, (6, 3, STEP, STEP)).astype(np.float32)
    weights = weights[:, ::-1] if swap else weights
    bias = np.array([0, 0, 0, 0, 1.5, -1.0], np.float32)  # four of the box, two of the scores
    value, node = helper.make_tensor_value_info, helper.make_node
    arrays = {
        "mean": np.float32(mean), "weights": np.ascontiguousarray(weights), "bias": bias,
        "flat": np.array([0, 6, -1]), "parts": np.array([4, 2]),
        "side": np.full((1, 1, 4), SIZE, np.float32),
        "base": np.array([[[0, 0, 0.5, 0.5]]], np.float32), "half": np.float32(0.5),
    }  # fmt: skip
    nodes = [
        node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        node("Sub", ["float", "mean"], ["centred"]),
        node("Conv", ["centred", "weights", "bias"], ["cells"], strides=[STEP, STEP]),
        node("Reshape", ["cells", "flat"], ["rows"]),
        node("Transpose", ["rows"], ["candidates"], perm=[0, 2, 1]),
        node("Sigmoid", ["candidates"], ["shares"]),
        node("Split", ["shares", "parts"], ["place", "scores"], axis=2),
        node("Mul", ["place", "half"], ["moved"]),
        node("Add", ["moved", "base"], ["corners"]),
        node("Mul", ["corners", "side"], ["boxes"]),
    ]
    count = (SIZE // STEP) ** 2
    graph = helper.make_graph(
        nodes,
        "colour",
        [value("images", TensorProto.UINT8, ["batch", 3, SIZE, SIZE])],
        [
            value("boxes", TensorProto.FLOAT, ["batch", count, 4]),
            value("scores", TensorProto.FLOAT, ["batch", count, 2]),
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_model(folder: Path, **changes: Any) -> Path:
    """An export of one artifact, `fp32`; keywords are those of `colour_graph`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = colour_graph(**changes).SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    files = {"model.onnx": hashlib.sha256(data).hexdigest()}
    artifact = {"engine": "onnxruntime", "precision": "fp32", "batch": 0, "model": "model.onnx", "files": files}
    contract = {
        "model": "colour", "classes": ["person", "vehicle"], "thresholds": {"person": 0.6, "vehicle": 0.3},
        "input": {
            "name": "images", "width": SIZE, "height": SIZE, "layout": "NCHW", "dtype": "uint8", "color": "RGB",
            "letterbox": "centre", "fill": 114,
        },
        "output": {"boxes": "boxes", "scores": "scores", "score_floor": 0.1, "nms_iou": 0.6, "max_detections": 100},
        "opset": 18, "target": "cpu", "artifacts": {"fp32": artifact}, "default": "fp32", "weights": "a" * 64,
        "training_data": "b" * 64, "calibration": "", "producers": {"onnx": "1.23.2"},
    }  # fmt: skip
    (folder / "contract.json").write_text(json.dumps(contract))
    return folder


def pictures(count: int = 3) -> list[NDArray[np.uint8]]:
    """Smooth coloured noise, wider than high, so that a letterbox has bars."""
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (6, 10, 3), np.uint8) for _ in range(count)]
    return [np.asarray(cv2.resize(it, (160, 96), interpolation=cv2.INTER_CUBIC), np.uint8) for it in noise]
