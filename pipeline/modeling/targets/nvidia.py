"""The kit for TensorRT: half-precision and INT8 graphs that any version since 10 builds an engine of, on the device.

INT8 is explicit, as TensorRT wants it (its guide, "Working with Quantized Types"): symmetric int8, Q/DQ pairs before
the inputs and weights of convolutions, biases in float, ReLU beside its convolution. TensorRT 11 takes types from the
graph alone, so half precision is written into it. What can be checked without TensorRT is checked here.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import QuantType

from pipeline.core.errors import SightlineError
from pipeline.io.files import write_bytes
from pipeline.modeling.half import to_half
from pipeline.modeling.onnx_graph import body, serialised
from pipeline.modeling.quantise import Scheme, quantise
from pipeline.modeling.targets.material import Made, Material, artifact, cost

FP16, INT8 = "model-fp16.onnx", "model-int8.onnx"
SCHEME = Scheme(
    QuantType.QInt8,
    ("Conv", "Gemm", "MatMul", "Add"),
    {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "AddQDQPairToWeight": True,  # weights stay float behind a pair, which every version folds
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": ["Conv", "Gemm", "MatMul", "Add"],  # so that ReLU can join them
    },
)
OPSETS = range(13, 21)  # scales a channel came with 13; TensorRT 10 reads up to 20
# Of https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md, what detectors use.
SUPPORTED = frozenset({
    "Abs", "Add", "And", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat",
    "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "DequantizeLinear", "Div", "Elu", "Equal",
    "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gemm",
    "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "HardSigmoid", "HardSwish",
    "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul",
    "Max", "MaxPool", "Min", "Mod", "Mul", "Neg", "NonMaxSuppression", "Not", "Or", "Pad", "Pow", "PRelu",
    "QuantizeLinear", "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "Relu", "Reshape", "Resize", "RoiAlign", "Round", "ScatterElements", "ScatterND", "Shape", "Sigmoid", "Sign",
    "Sin", "Slice", "Softmax", "Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "TopK",
    "Transpose", "Unsqueeze", "Where", "Xor",
})  # fmt: skip


def make(folder: Path, it: Material) -> Made:
    """Write the target's files. Raises SightlineError where TensorRT could not take one."""
    graph = cast_first(it.graph)
    half = serialised(to_half(graph, body(graph)))
    int8 = quantise(graph, it.pictures(it.frames), SCHEME, it.judge, it.budget)
    for file, data in ((FP16, half), (INT8, int8.graph)):
        if problems := refusals(onnx.load_from_string(data)):
            raise SightlineError(f"export: TensorRT would not take {file}: {'; '.join(problems)}; choose export=cpu")
        write_bytes(folder / file, data)
    half_ap = it.judge.ap(it.judge.run(half))
    return Made(
        {
            "fp16": artifact(folder, (FP16,), "tensorrt", "fp16"),
            "int8": artifact(folder, (INT8,), "tensorrt", "int8"),
        },
        default="fp16",
        quantised={
            "fp16": cost(int8.float_ap, half_ap, it.budget, ()),
            "int8": cost(int8.float_ap, int8.ap, it.budget, int8.kept),
        },
        packages=("onnxruntime",),
        extra={"pairs": pairs(onnx.load_from_string(int8.graph))},
    )


def cast_first(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same computation, where everything but the cast to numbers takes the cast's output: a shape is the same."""
    found = onnx.ModelProto()
    found.CopyFrom(graph)
    (images,) = (value.name for value in graph.graph.input)
    casts = [node for node in graph.graph.node if node.op_type == "Cast" and node.input[0] == images]
    rest = [node for node in graph.graph.node if node not in casts]
    del found.graph.node[:]
    found.graph.node.extend([*casts, *rest])
    for node in found.graph.node[len(casts) :]:
        if casts and node.op_type == "Shape" and node.input[0] == images:
            node.input[0] = casts[0].output[0]
    return found


def refusals(graph: onnx.ModelProto) -> list[str]:
    """Why TensorRT could not take a graph, as far as that can be told without it; nothing where it can."""
    opset = next(o.version for o in graph.opset_import if not o.domain)
    domains = sorted({node.domain for node in graph.graph.node} - {""})
    unknown = sorted({node.op_type for node in graph.graph.node} - SUPPORTED)
    said = [
        (opset not in OPSETS, f"opset {opset} is not within {OPSETS[0]} to {OPSETS[-1]}"),
        (bool(domains), f"operators of {', '.join(domains)}"),
        (bool(unknown), f"operators {', '.join(unknown)}"),
    ]
    return [text for wrong, text in said if wrong] + _input_problems(graph) + _pair_problems(graph)


def _input_problems(graph: onnx.ModelProto) -> list[str]:
    """TensorRT reads bytes only to cast them."""
    names = {i.name for i in graph.graph.input if i.type.tensor_type.elem_type == TensorProto.UINT8}
    takers = [node for node in graph.graph.node if names.intersection(node.input)]
    return [f"{node.op_type} {node.name} takes bytes; only Cast may" for node in takers if node.op_type != "Cast"]


def _pair_problems(graph: onnx.ModelProto) -> list[str]:
    made = {name: node for node in graph.graph.node for name in node.output}
    taken = _takers(graph)
    held = {tensor.name: tensor for tensor in graph.graph.initializer}
    problems = []
    for node in graph.graph.node:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            problems += _scale_problems(node, held)
        if node.op_type == "QuantizeLinear" and {n.op_type for n in taken.get(node.output[0], [])} != {
            "DequantizeLinear"
        }:
            problems.append(f"{node.name} is not followed by its other half")
        if node.op_type == "Conv":
            problems += _conv_problems(node, made, taken)
    return problems


def _scale_problems(node: onnx.NodeProto, held: dict[str, TensorProto]) -> list[str]:
    if not all(name in held for name in node.input[1:3]):
        return [f"{node.name} has no constant scale and zero point"]
    scale, zero = (numpy_helper.to_array(held[name]) for name in node.input[1:3])
    said = [
        (zero.dtype != np.int8, f"{node.name} has zero points of {zero.dtype}, not int8"),
        (bool(np.any(zero)), f"{node.name} is not symmetric"),
        (bool(np.any(scale <= 0)), f"{node.name} has a scale that is not positive"),
    ]
    return [text for wrong, text in said if wrong]


def _conv_problems(node: onnx.NodeProto, made: dict[str, Any], taken: dict[str, list[Any]]) -> list[str]:
    before = [made[name].op_type == "DequantizeLinear" if name in made else False for name in node.input[:2]]
    after = Counter(taker.op_type for taker in taken.get(node.output[0], []))
    said = [
        (before[1] and not before[0], f"{node.name} has integer weights and a float input"),
        (after["QuantizeLinear"] and after["Relu"], f"{node.name} is cut off from its ReLU"),
    ]
    return [text for wrong, text in said if wrong]


def _takers(graph: onnx.ModelProto) -> dict[str, list[Any]]:
    """Tensor -> the nodes that take it."""
    taken: dict[str, list[Any]] = {}
    for node in graph.graph.node:
        for name in node.input:
            taken.setdefault(name, []).append(node)
    return taken


def pairs(graph: onnx.ModelProto) -> dict[str, int]:
    """How many Q/DQ pairs there are and what takes them, for export.json."""
    taken = _takers(graph)
    ends = [taker.op_type for n in graph.graph.node if n.op_type == "DequantizeLinear" for taker in taken[n.output[0]]]
    return dict(sorted(Counter(ends).items()))
