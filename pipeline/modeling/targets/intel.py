"""OpenVINO on an Intel CPU: float32, the same file computed in bfloat16, and INT8 by NNCF with accuracy control.

Accuracy control (NNCF's `quantize_with_accuracy_control`) puts layers back to float, the most harmful first, while AP
on the validation frames falls by more than the budget.
"""

import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.core.errors import SightlineError
from pipeline.modeling.judge import Run
from pipeline.modeling.onnx_graph import BOXES, IMAGES, SCORES, body, serialised, silenced
from pipeline.modeling.targets.material import Made, Material, artifact, cost
from pipeline.runtime.engines.engine import Candidates

if TYPE_CHECKING:
    import openvino

FLOAT, INT8 = "model", "model-int8"
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}  # the same figures on every processor


def make(folder: Path, it: Material) -> Made:
    """Write the target's files. Raises SightlineError where OpenVINO or NNCF is not installed."""
    ov, nncf = _libraries()
    graph, layers = serialised(it.graph), body(it.graph)
    _save(ov.Core().read_model(graph, b""), folder / f"{FLOAT}.xml")
    with silenced():
        model = _quantise(_settle(ov.Core().read_model(graph, b""), layers), layers, it, nncf)
    kept = _in_float(model, layers)
    _save(model, folder / f"{INT8}.xml")
    float_ap, ap = (
        it.judge.ap(_run(ov.Core().compile_model(folder / f"{name}.xml", "CPU", EXACT))) for name in (FLOAT, INT8)
    )
    whole = f"{FLOAT}.xml", f"{FLOAT}.bin"
    return Made(
        {
            "fp32": artifact(folder, whole, "openvino", "fp32"),
            "bf16": artifact(folder, whole, "openvino", "bf16"),
            "int8": artifact(folder, (f"{INT8}.xml", f"{INT8}.bin"), "openvino", "int8"),
        },
        default="int8" if float_ap - ap <= it.budget else "fp32",
        quantised={"int8": cost(float_ap, ap, it.budget, kept)},
        packages=("openvino", "nncf"),
    )


def _libraries() -> tuple[Any, Any]:
    os.environ.setdefault("NNCF_CI", "1")  # else NNCF tells its makers of each use, unasked
    try:
        import nncf  # noqa: PLC0415 - an extra, and seconds that the other targets do not need
        import openvino  # noqa: PLC0415
    except ImportError as error:
        raise SightlineError(
            f"export: target intel needs {error.name}; run: pip install 'sightline[intel]', or choose export=cpu"
        ) from None
    return openvino, nncf


def _quantise(model: "openvino.Model", layers: Mapping[str, str], it: Material, nncf: Any) -> "openvino.Model":
    pictures = it.pictures(it.frames)
    whole = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX  # clipping outliers loses far objects
    return nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset([{IMAGES: picture[None]} for picture in pictures]),
        nncf.Dataset(range(len(it.judge.batch))),
        lambda compiled, frames: (it.judge.ap(_run(compiled), [int(i) for i in frames]) / 100, None),
        max_drop=it.budget / 100,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
        ignored_scope=nncf.IgnoredScope(names=_left_out(model, layers), validate=False),
        advanced_quantization_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=whole),
    )


def _settle(model: "openvino.Model", fixed: Container[str] = ()) -> "openvino.Model":
    """Replace names, which count what this process has made so far, by places in the graph; `fixed` ones stay."""
    for place, op in enumerate(model.get_ordered_ops()):
        if op.get_type_name() not in {"Parameter", "Result"} and _node(op) not in fixed:
            op.set_friendly_name(f"{op.get_type_name()}_{place}")
    return model


def _left_out(model: "openvino.Model", layers: Mapping[str, str]) -> list[str]:
    """Operations that stay float in any case."""
    ops = [op for op in model.get_ordered_ops() if op.get_type_name() not in {"Constant", "Parameter", "Result"}]
    return [op.get_friendly_name() for op in ops if _node(op) not in layers]


def _node(op: Any) -> str:
    """The ONNX node that an operation comes from."""
    name: str = op.get_friendly_name()
    return name.removesuffix("/WithoutBiases")


def _in_float(model: "openvino.Model", layers: Mapping[str, str]) -> tuple[str, ...]:
    """Layers that could have become integers and did not."""
    weighted = [
        op for op in model.get_ordered_ops() if op.get_type_name() in {"Convolution", "GroupConvolution", "MatMul"}
    ]
    first = [(op, op.input_value(0).get_node().get_type_name()) for op in weighted if _node(op) in layers]
    return tuple(layers[_node(op)] for op, before in first if before != "FakeQuantize")


def _run(compiled: "openvino.CompiledModel") -> Run:
    request = compiled.create_infer_request()

    def run(batch: np.ndarray[Any, np.dtype[np.uint8]]) -> Candidates:
        found = request.infer({IMAGES: batch})
        return found[BOXES].copy(), found[SCORES].copy()  # the request writes its next answer over this one

    return run


def _save(model: "openvino.Model", path: Path) -> None:
    """Write .xml and .bin."""
    import openvino  # noqa: PLC0415

    openvino.save_model(_settle(model), path, compress_to_fp16=False)
