"""ONNX Runtime on a CPU: float for any batch and for one picture, and INT8.

Activations are uint8 and weights int8 a channel: the order in which CPUs' dot products (VNNI, AMX) take them.
"""

from pathlib import Path

from onnxruntime.quantization import QuantType

from pipeline.io.files import write_bytes
from pipeline.modeling.onnx_graph import serialised
from pipeline.modeling.quantise import Scheme, quantise, sensitivity
from pipeline.modeling.targets.material import Made, Material, artifact, cost, points

DYNAMIC, SINGLE, INT8 = "model.onnx", "model-b1.onnx", "model-int8.onnx"
# All between two convolutions computes in integers or passes them on, so that nothing is converted on the way.
SCHEME = Scheme(QuantType.QUInt8, ("Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "Concat", "MaxPool", "Resize"))


def make(folder: Path, it: Material) -> Made:
    """Write the target's files."""
    write_bytes(folder / DYNAMIC, serialised(it.graph))
    write_bytes(folder / SINGLE, serialised(it.single()))
    int8 = quantise(it.graph, it.pictures(it.frames), SCHEME, it.judge, it.budget)
    write_bytes(folder / INT8, int8.graph)
    sizes = {len(found): found for found in map(it.pictures, it.sensitivity)}
    lost = sensitivity(it.graph, sizes, SCHEME, it.judge)
    told = cost(int8.float_ap, int8.ap, it.budget, int8.kept)
    told["damage"] = {name: float(f"{value:.3g}") for name, value in int8.damage.items()}
    told["drop_by_calibration_frames"] = {str(count): points(drop) for count, drop in lost.items()}
    return Made(
        {
            "fp32": artifact(folder, (DYNAMIC,), "onnxruntime", "fp32"),
            "fp32-b1": artifact(folder, (SINGLE,), "onnxruntime", "fp32", batch=1),
            "int8": artifact(folder, (INT8,), "onnxruntime", "int8"),
        },
        default="fp32",
        quantised={"int8": told},
        packages=("onnxruntime",),
    )
